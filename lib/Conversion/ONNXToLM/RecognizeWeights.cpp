//===- RecognizeWeights.cpp - DequantizeLinear of constant matrices -------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/QuantizedConstant.h"
#include "llvm/Support/FormatVariadic.h"
#include <cstring>

using namespace mlir;

namespace elutq::normalize {

namespace {

/// An operation that reads the floats. `byRows`: the stored matrix is `[N, K]`, else `[K, N]`; a Gather takes rows of `[N, K]`.
struct Reader {
  Operation *op;
  bool byRows;
};

/// The constants of MatMulNBits or GatherBlockQuantized.
struct BlockConstants {
  Value codes, scales, zeroPoints;
  int64_t n, k, block;
};

/// One matrix that a model stores quantized.
class QuantizedMatrix {
public:
  QuantizedMatrix(onnx::DequantizeLinearOp op, const QuantizedConstant &constant) : op(op), constant(constant) {}

  /// Readers of `value`, which is the matrix, transposed where `isTransposed`.
  void findReaders(Value value, bool isTransposed, SmallVectorImpl<Reader> &readers);

  /// The number of columns that share a scale, as `hlq.linear` takes it; 0 where there is none.
  int64_t getBlock(bool byRows) const;

  FailureOr<BlockConstants> build(OpBuilder &builder, bool byRows, bool isGather);

private:
  int64_t getN(bool byRows) const { return constant.getType().getDimSize(byRows ? 0 : 1); }
  int64_t getK(bool byRows) const { return constant.getType().getDimSize(byRows ? 1 : 0); }

  onnx::DequantizeLinearOp op;
  const QuantizedConstant &constant;
};

bool swapsMatrix(onnx::TransposeOp op) {
  std::optional<ArrayRef<int64_t>> perm = op.getPerm();
  return !perm || *perm == ArrayRef<int64_t>{1, 0};
}

bool isFloatMatrix(Value value) { return cast<ShapedType>(value.getType()).getElementType().isF32(); }

void QuantizedMatrix::findReaders(Value value, bool isTransposed, SmallVectorImpl<Reader> &readers) {
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    int64_t operand = use.getOperandNumber();
    if (isa<onnx::CastOp, onnx::IdentityOp>(user))
      findReaders(user->getResult(0), isTransposed, readers);
    else if (auto transpose = dyn_cast<onnx::TransposeOp>(user); transpose && swapsMatrix(transpose))
      findReaders(transpose.getTransposed(), !isTransposed, readers);
    if (!isFloatMatrix(value))
      continue;
    if (isa<onnx::MatMulOp>(user) && operand == 1 && user->getOperand(0) != value)
      readers.push_back({user, isTransposed});
    if (auto gemm = dyn_cast<onnx::GemmOp>(user); gemm && operand == 1 && gemm.getA() != value && !gemm.getTransA() &&
                                                  gemm.getAlpha().convertToFloat() == 1 && gemm.getBeta().convertToFloat() == 1) {
      bool byRows = isTransposed != (gemm.getTransB() != 0);
      auto bias = isAbsent(gemm.getC()) ? RankedTensorType() : getStaticType(gemm.getC());
      if (isAbsent(gemm.getC()) || (bias && bias.getShape() == ArrayRef(getN(byRows))))
        readers.push_back({user, byRows});
    }
    if (auto gather = dyn_cast<onnx::GatherOp>(user); gather && operand == 0 && gather.getAxis() == 0)
      readers.push_back({user, !isTransposed});
  }
}

int64_t QuantizedMatrix::getBlock(bool byRows) const {
  constexpr int64_t kSmallest = 16, kLargest = 256;
  int64_t k = getK(byRows), columnAxis = byRows ? 1 : 0;
  bool isAlongColumns = constant.getAxis() == columnAxis;
  if (!constant.getAxis() || (!isAlongColumns && !constant.isBlocked()))
    return llvm::alignTo(k, 32);
  // A scale for each column, or for each block of rows, is none for a group of columns.
  if (!isAlongColumns || !constant.isBlocked())
    return 0;
  for (int64_t block = kLargest; block >= kSmallest; block /= 2)
    if (constant.getBlock() % block == 0)
      return block;
  return constant.getBlock() >= k ? llvm::alignTo(k, 32) : 0;
}

FailureOr<BlockConstants> QuantizedMatrix::build(OpBuilder &builder, bool byRows, bool isGather) {
  Location loc = op.getLoc();
  BlockConstants result;
  int64_t n = result.n = getN(byRows), k = result.k = getK(byRows), block = result.block = getBlock(byRows);
  int64_t bits = constant.getBits(), groups = llvm::divideCeil(k, block);
  auto indexOf = [&](int64_t row, int64_t column) { return byRows ? row * k + column : column * n + row; };
  auto derive = [&](Value source, StringRef what, ArrayRef<int64_t> shape, Type element, function_ref<void(char *)> write) -> FailureOr<Value> {
    // Constants are shared by what they are made of: another axis or block makes others.
    std::string suffix = llvm::formatv(".{0}.{1}x{2}{3}.{4}.{5}.{6}", what, n, k, byRows ? "" : "t", block, constant.getAxis().value_or(-1),
                                       constant.getBlock()).str();
    llvm::Expected<Value> derived = deriveConstant(builder, loc, source, suffix, RankedTensorType::get(shape, element), write);
    if (!derived) {
      emitError(loc) << "no memory for quantized weights: " << llvm::toString(derived.takeError());
      return failure();
    }
    return *derived;
  };

  Type u8 = builder.getIntegerType(8, /*isSigned=*/false);
  // Rows of an embedding end with their last column, those of a product with their last block.
  int64_t rowBytes = isGather ? k * bits / 8 : groups * block * bits / 8;
  FailureOr<Value> codes = derive(op.getX(), "codes" + std::to_string(rowBytes), {n, rowBytes}, u8, [&](char *to) {
    for (int64_t row = 0; row < n; ++row)
      for (int64_t column = 0; column < k; ++column) {
        int64_t bit = column * bits;
        to[row * rowBytes + bit / 8] |= static_cast<char>(constant.getCode(indexOf(row, column)) << bit % 8);
      }
  });
  FailureOr<Value> scales = derive(op.getXScale(), "scales", {n, groups}, builder.getF32Type(), [&](char *to) {
    for (int64_t row = 0; row < n; ++row)
      for (int64_t group = 0; group < groups; ++group) {
        float scale = constant.getScale(indexOf(row, group * block));
        std::memcpy(to + 4 * (row * groups + group), &scale, 4);
      }
  });
  if (failed(codes) || failed(scales))
    return failure();
  result.codes = isGather ? *codes : reshape(builder, loc, *codes, {n, groups, block * bits / 8});
  result.scales = *scales;
  result.zeroPoints = onnx::NoneOp::create(builder, loc, builder.getNoneType());
  // Without zero points both mean the middle of signed numbers; unsigned ones are 0 then.
  if (!constant.hasZeroPoints() && constant.getZeroPoint(0) != 0)
    return result;
  int64_t pointBytes = llvm::divideCeil(groups * bits, 8);
  FailureOr<Value> points =
      derive(constant.hasZeroPoints() ? op.getXZeroPoint() : op.getX(), "points", {n, pointBytes}, u8, [&](char *to) {
        for (int64_t row = 0; row < n; ++row)
          for (int64_t group = 0; group < groups; ++group) {
            int64_t bit = group * bits;
            to[row * pointBytes + bit / 8] |= static_cast<char>(constant.getZeroPoint(indexOf(row, group * block)) << bit % 8);
          }
      });
  if (failed(points))
    return failure();
  result.zeroPoints = *points;
  return result;
}

/// Puts one operator in the place of a reader.
LogicalResult rewriteReader(IRRewriter &rewriter, const Reader &reader, QuantizedMatrix &matrix, int64_t bits) {
  Operation *op = reader.op;
  rewriter.setInsertionPoint(op);
  auto gather = dyn_cast<onnx::GatherOp>(op);
  FailureOr<BlockConstants> constants = matrix.build(rewriter, reader.byRows, /*isGather=*/gather != nullptr);
  if (failed(constants))
    return failure();
  auto integer = [&](int64_t number) { return rewriter.getI64IntegerAttr(number); };
  if (gather) {
    rewriter.replaceOpWithNewOp<onnx::ContribGatherBlockQuantizedOp>(op, op->getResult(0).getType(), constants->codes, gather.getIndices(),
                                                                     constants->scales, constants->zeroPoints, integer(bits),
                                                                     integer(constants->block));
    return success();
  }
  Value none = onnx::NoneOp::create(rewriter, op->getLoc(), rewriter.getNoneType());
  auto gemm = dyn_cast<onnx::GemmOp>(op);
  rewriter.replaceOpWithNewOp<onnx::ContribMatMulNBitsOp>(op, op->getResult(0).getType(), op->getOperand(0), constants->codes, constants->scales,
                                                          constants->zeroPoints, none, gemm ? gemm.getC() : none, integer(constants->k),
                                                          integer(constants->n), integer(bits), integer(constants->block));
  return success();
}

} // namespace

FailureOr<int64_t> recognizeWeights(IRRewriter &rewriter, func::FuncOp function) {
  SmallVector<onnx::DequantizeLinearOp> ops;
  function->walk([&](onnx::DequantizeLinearOp op) { ops.push_back(op); });
  int64_t numRecognized = 0;
  for (onnx::DequantizeLinearOp op : ops) {
    std::optional<QuantizedConstant> constant = QuantizedConstant::get(op);
    if (!constant)
      continue;
    QuantizedMatrix matrix(op, *constant);
    SmallVector<Reader> readers;
    if (constant->getType().getRank() == 2)
      matrix.findReaders(op.getY(), /*isTransposed=*/false, readers);
    int64_t bits = constant->getBits();
    for (const Reader &reader : readers) {
      int64_t columns = constant->getType().getDimSize(reader.byRows ? 1 : 0);
      bool fillsBytes = columns * bits % 8 == 0;
      if (matrix.getBlock(reader.byRows) == 0 || (isa<onnx::GatherOp>(reader.op) && !fillsBytes))
        continue;
      if (failed(rewriteReader(rewriter, reader, matrix, bits)))
        return failure();
      ++numRecognized;
    }
    // Backwards: a Cast or Transpose whose readers are gone goes, too.
    SmallVector<Operation *> chain{op};
    for (size_t i = 0; i < chain.size(); ++i)
      for (Operation *user : chain[i]->getResult(0).getUsers())
        if (isa<onnx::CastOp, onnx::IdentityOp, onnx::TransposeOp>(user))
          chain.push_back(user);
    for (Operation *link : llvm::reverse(chain))
      if (link != op && link->use_empty())
        rewriter.eraseOp(link);
    rewriter.setInsertionPoint(op);
    if (op->use_empty())
      rewriter.eraseOp(op);
    else
      (void)foldDequantize(rewriter, op);
  }
  return numRecognized;
}

} // namespace elutq::normalize
