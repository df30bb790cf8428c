//===- ONNXToLM.cpp - convert-onnx-to-lm ----------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "elutq/Support/ConstantData.h"
#include "elutq/Support/ReleasePages.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include <cstring>

namespace elutq {
#define GEN_PASS_DEF_CONVERTONNXTOLMPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

namespace {

/// Writes the transpose of a `rows x columns` matrix of `Element`s, a strip of columns at a time: only that much of either is in memory.
template <typename Element>
void transposeMatrix(ArrayRef<char> from, char *to, int64_t rows, int64_t columns) {
  constexpr int64_t kStrip = 4096, kTile = 16, kSize = sizeof(Element);
  for (int64_t begin = 0; begin < columns; begin += kStrip) {
    int64_t end = std::min(begin + kStrip, columns);
    // In tiles, so that neither matrix is walked down a column.
    for (int64_t i = 0; i < rows; i += kTile)
      for (int64_t j = begin; j < end; j += kTile)
        for (int64_t row = i; row < std::min(i + kTile, rows); ++row)
          for (int64_t column = j; column < std::min(j + kTile, end); ++column)
            std::memcpy(to + (column * rows + row) * kSize, from.data() + (row * columns + column) * kSize, kSize);
    releasePages(from);
    releasePages(ArrayRef(to + begin * rows * kSize, (end - begin) * rows * kSize));
  }
}

/// A table that is stored as `[K, N]`, since the output head multiplies by it, but gathered from as `[N, K]`: store it as the latter, and
/// let the head transpose it, which costs nothing.
LogicalResult storeTableByRows(IRRewriter &rewriter, onnx::TransposeOp op) {
  Value matrix = getTransposedMatrix(op.getTransposed());
  auto isTable = [&](OpOperand &use) { return isa<onnx::GatherOp>(use.getOwner()) && use.getOperandNumber() == 0; };
  if (!matrix || !llvm::any_of(op->getUses(), isTable))
    return success();
  std::optional<ConstantData> data = getConstantData(matrix);
  int64_t bytes = data ? data->getType().getElementTypeBitWidth() / 8 : 0;
  if (!data || data->isSplat || (bytes != 2 && bytes != 4))
    return success();
  int64_t rows = data->getType().getDimSize(0), columns = data->getType().getDimSize(1);
  rewriter.setInsertionPointAfterValue(matrix);
  llvm::Expected<Value> table =
      deriveConstant(rewriter, matrix.getLoc(), matrix, ".transposed", cast<RankedTensorType>(op.getType()), [&](char *to) {
        auto *transposed = bytes == 2 ? transposeMatrix<uint16_t> : transposeMatrix<uint32_t>;
        transposed(data->bytes, to, rows, columns);
      });
  if (!table)
    return emitError(op.getLoc()) << "cannot transpose a table: " << llvm::toString(table.takeError());
  rewriter.replaceAllOpUsesWith(op, *table);
  rewriter.eraseOp(op);
  Value back = onnx::TransposeOp::create(rewriter, matrix.getLoc(), matrix.getType(), *table, rewriter.getDenseI64ArrayAttr({1, 0}));
  rewriter.replaceAllUsesWith(matrix, back);
  return success();
}

/// Rows of a constant matrix become `lm.gather`.
struct GatherPattern : OpRewritePattern<onnx::GatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherOp op, PatternRewriter &rewriter) const override {
    auto table = getStaticType(op.getData()), indices = getStaticType(op.getIndices()), type = getStaticType(op.getOutput());
    if (!table || !indices || !type || table.getRank() != 2 || op.getAxis() != 0 || !isa<FloatType>(table.getElementType()))
      return rewriter.notifyMatchFailure(op, "not rows of a float matrix");
    if (!getConstant(op.getData()) || getConstant(op.getIndices()))
      return rewriter.notifyMatchFailure(op, "not rows of a constant chosen at run time");
    Location loc = op.getLoc();
    int64_t rows = indices.getNumElements();
    Value flat = reshape(rewriter, loc, op.getIndices(), {rows});
    Type i64 = rewriter.getI64Type();
    if (indices.getElementType() != i64)
      flat = elementwise(rewriter, loc, flat, RankedTensorType::get({rows}, i64), [&](OpBuilder &b, Location l, ValueRange args) -> Value {
        return arith::ExtSIOp::create(b, l, i64, args[0]);
      });
    Value init = tensor::EmptyOp::create(rewriter, loc, {rows, table.getDimSize(1)}, table.getElementType());
    Value result = lm::GatherOp::create(rewriter, loc, TypeRange{init.getType()}, flat, op.getData(), init)->getResult(0);
    rewriter.replaceOp(op, reshape(rewriter, loc, result, type.getShape()));
    return success();
  }
};

struct ConvertONNXToLMPass : elutq::impl::ConvertONNXToLMPassBase<ConvertONNXToLMPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<onnx::TransposeOp> transposes;
    getOperation()->walk([&](onnx::TransposeOp op) { transposes.push_back(op); });
    for (onnx::TransposeOp op : transposes)
      if (failed(storeTableByRows(rewriter, op)))
        return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    patterns.add<GatherPattern>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    getOperation()->walk([&](lm::GatherOp) { ++numGathers; });
  }
};

} // namespace
