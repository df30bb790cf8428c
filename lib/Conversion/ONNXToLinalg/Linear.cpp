//===- Linear.cpp - MatMul and Gemm to linalg -----------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

/// The matrix behind a 2-D operand: through a transposition of a constant, also where it is linalg already.
Value lookThroughTranspose(Value value, bool &transposed) {
  transposed = false;
  Value source;
  if (auto transposeOp = value.getDefiningOp<linalg::TransposeOp>())
    source = transposeOp.getInput();
  else if (auto onnxOp = value.getDefiningOp<onnx::TransposeOp>())
    source = onnxOp.getData();
  if (!source || !getConstant(source) || cast<RankedTensorType>(source.getType()).getRank() != 2)
    return value;
  transposed = true;
  return source;
}

/// A product with a matrix becomes `linalg.matmul` on two dimensions, other products `linalg.batch_matmul`.
struct MatMulPattern : OpRewritePattern<onnx::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::MatMulOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto lhsType = cast<RankedTensorType>(op.getA().getType()), rhsType = cast<RankedTensorType>(op.getB().getType());
    auto type = cast<RankedTensorType>(op.getType());
    if (!isa<FloatType>(type.getElementType()))
      return rewriter.notifyMatchFailure(op, "products of integers are not supported");
    if (isNarrowFloat(type.getElementType()) && !getConstant(op.getA()) && !getConstant(op.getB()))
      return rewriter.notifyMatchFailure(op, "products of activations in half precision are summed in f32");
    if (lhsType.getRank() < 2 || rhsType.getRank() < 2)
      return rewriter.notifyMatchFailure(op, "products with vectors are not supported");
    Location loc = op.getLoc();
    int64_t inner = rhsType.getDimSize(rhsType.getRank() - 2), columns = rhsType.getDimSize(rhsType.getRank() - 1);
    if (rhsType.getNumElements() == inner * columns) {
      bool transposed;
      Value rhs = lookThroughTranspose(op.getB(), transposed);
      if (!transposed)
        rhs = reshape(rewriter, loc, rhs, {inner, columns});
      Value lhs = reshape(rewriter, loc, op.getA(), {lhsType.getNumElements() / inner, inner});
      rewriter.replaceOp(op, reshape(rewriter, loc, matmul(rewriter, loc, lhs, rhs, transposed), type.getShape()));
      return success();
    }
    return rewriteBatched(op, rewriter);
  }

private:
  static LogicalResult rewriteBatched(onnx::MatMulOp op, PatternRewriter &rewriter) {
    Location loc = op.getLoc();
    auto type = cast<RankedTensorType>(op.getType());
    ArrayRef<int64_t> batch = type.getShape().drop_back(2);
    auto flatten = [&](Value value) -> Value {
      auto valueType = cast<RankedTensorType>(value.getType());
      SmallVector<int64_t> shape(batch);
      llvm::append_range(shape, valueType.getShape().take_back(2));
      auto broadcast = RankedTensorType::get(shape, valueType.getElementType());
      if (valueType.getNumElements() != broadcast.getNumElements())
        value = elementwise(rewriter, loc, value, broadcast, [](OpBuilder &, Location, ValueRange args) { return args[0]; });
      return reshape(rewriter, loc, value, {ShapedType::getNumElements(batch), shape[shape.size() - 2], shape.back()});
    };
    Value lhs = flatten(op.getA()), rhs = flatten(op.getB());
    Value init = fill(rewriter, loc,
                      RankedTensorType::get({ShapedType::getNumElements(batch), type.getShape()[type.getRank() - 2], type.getShape().back()},
                                            type.getElementType()),
                      0.0);
    Value product = linalg::BatchMatmulOp::create(rewriter, loc, ValueRange{lhs, rhs}, ValueRange{init}).getResult(0);
    rewriter.replaceOp(op, reshape(rewriter, loc, product, type.getShape()));
    return success();
  }
};

struct GemmPattern : OpRewritePattern<onnx::GemmOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GemmOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getType());
    if (!isa<FloatType>(type.getElementType()))
      return rewriter.notifyMatchFailure(op, "products of integers are not supported");
    Location loc = op.getLoc();
    Value lhs = op.getA();
    if (op.getTransA())
      lhs = transpose(rewriter, loc, lhs, {1, 0});
    Value result = matmul(rewriter, loc, lhs, op.getB(), op.getTransB());
    double alpha = op.getAlpha().convertToFloat(), beta = op.getBeta().convertToFloat();
    auto scaled = [&](OpBuilder &b, Location l, Value value, double factor) -> Value {
      return factor == 1.0 ? value : Value(arith::MulFOp::create(b, l, value, scalar(b, l, value.getType(), factor)));
    };
    if (!isAbsent(op.getC()))
      result = elementwise(rewriter, loc, {result, op.getC()}, type, [&](OpBuilder &b, Location l, ValueRange args) -> Value {
        return arith::AddFOp::create(b, l, scaled(b, l, args[0], alpha), scaled(b, l, args[1], beta));
      });
    else if (alpha != 1.0)
      result = elementwise(rewriter, loc, result, type,
                           [&](OpBuilder &b, Location l, ValueRange args) { return scaled(b, l, args[0], alpha); });
    rewriter.replaceOp(op, result);
    return success();
  }
};

} // namespace

void populateLinearPatterns(RewritePatternSet &patterns) {
  patterns.add<MatMulPattern, GemmPattern>(patterns.getContext());
}

} // namespace elutq::normalize
