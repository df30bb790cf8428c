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
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace elutq {
#define GEN_PASS_DEF_CONVERTONNXTOLMPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

namespace {

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
    RewritePatternSet patterns(&getContext());
    patterns.add<GatherPattern>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    getOperation()->walk([&](lm::GatherOp) { ++numGathers; });
  }
};

} // namespace
