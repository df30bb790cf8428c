//===- Quantization.cpp - QuantizeLinear, products of integers ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Conversion/QuantizedConstant.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// The parameter (scale or zero point) of the element at `indices`: per tensor, per slice along `axis`, or per block of it.
Value readParameter(ScalarBuilder &b, Value parameter, Indices indices, int64_t axis, int64_t blockSize) {
  RankedTensorType type = typeOf(parameter);
  if (type.getNumElements() == 1)
    return readElement(b, parameter, SmallVector<Value>(type.getRank(), indexConstant(b, 0)));
  if (type.getRank() == 1)
    return readElement(b, parameter, indices[axis]);
  SmallVector<Value> at(indices);
  at[axis] = arith::DivUIOp::create(b, indices[axis], indexConstant(b, std::max<int64_t>(blockSize, 1)));
  return readElement(b, parameter, at);
}

/// Rounds to nearest even, adds the zero point, and clamps to the range of the integer type `to`. Small floats have no zero point but 0.
Value quantize(ScalarBuilder &b, Value number, Value zeroPoint, Type zeroType, Type to, bool saturates = true) {
  if (isSmallFloat(to))
    return encodeSmallFloat(b, number, cast<FloatType>(to), saturates);
  Value rounded = math::RoundEvenOp::create(b, number);
  if (zeroPoint)
    rounded = arith::AddFOp::create(b, rounded, convert(b, zeroPoint, zeroType, number.getType()));
  unsigned width = to.getIntOrFloatBitWidth();
  bool isUnsigned = isUnsignedType(to);
  double low = isUnsigned ? 0.0 : -std::ldexp(1.0, width - 1), high = std::ldexp(1.0, isUnsigned ? width : width - 1) - 1;
  Value clamped = arith::MaximumFOp::create(b, rounded, constant(b, number.getType(), low));
  clamped = arith::MinimumFOp::create(b, clamped, constant(b, number.getType(), high));
  return convert(b, clamped, number.getType(), to);
}

LogicalResult verifyQuantized(PatternRewriter &rewriter, Operation *op, Type quantized) {
  if (!isSmallFloat(quantized) && (!isa<IntegerType>(quantized) || quantized.getIntOrFloatBitWidth() > 16))
    return rewriter.notifyMatchFailure(op, "only integers of up to 16 bits and floats of up to 8 are supported as quantized numbers");
  return success();
}

struct QuantizePattern : OpRewritePattern<onnx::QuantizeLinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::QuantizeLinearOp op, PatternRewriter &rewriter) const override {
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getY());
    Type to = resultType.getElementType(), scaleType = typeOf(op.getYScale()).getElementType();
    if (failed(verifyStatic(rewriter, op)) || failed(verifyQuantized(rewriter, op, to)))
      return failure();
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), std::max<int64_t>(type.getRank(), 1));
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), resultType, [&](ScalarBuilder &b, Indices indices) {
                         Type f32 = b.getF32Type();
                         Value x = convert(b, readElement(b, op.getX(), indices), type.getElementType(), f32);
                         Value scale = convert(b, readParameter(b, op.getYScale(), indices, axis, op.getBlockSize()), scaleType, f32);
                         bool hasZero = !isAbsent(op.getYZeroPoint());
                         Value zero = hasZero ? readParameter(b, op.getYZeroPoint(), indices, axis, op.getBlockSize()) : Value();
                         return quantize(b, arith::DivFOp::create(b, x, scale), zero,
                                         hasZero ? typeOf(op.getYZeroPoint()).getElementType() : Type(), to, op.getSaturate() != 0);
                       }));
    return success();
  }
};

struct DequantizePattern : OpRewritePattern<onnx::DequantizeLinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::DequantizeLinearOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getY());
    Type from = type.getElementType(), scaleType = typeOf(op.getXScale()).getElementType();
    if (isa<IntegerType>(from) && from.getIntOrFloatBitWidth() < 8 && getConstant(op.getX()))
      return foldDequantize(rewriter, op);
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), std::max<int64_t>(type.getRank(), 1));
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), resultType, [&](ScalarBuilder &b, Indices indices) {
                         Type f32 = b.getF32Type(), i32 = b.getI32Type();
                         Value x = readElement(b, op.getX(), indices);
                         Value scale = convert(b, readParameter(b, op.getXScale(), indices, axis, op.getBlockSize()), scaleType, f32);
                         if (!isAbsent(op.getXZeroPoint()) && isa<IntegerType>(from)) {
                           Value zero = readParameter(b, op.getXZeroPoint(), indices, axis, op.getBlockSize());
                           x = arith::SubIOp::create(b, convert(b, x, from, i32), convert(b, zero, from, i32));
                           x = convert(b, x, i32, f32);
                         } else {
                           x = convert(b, x, from, f32);
                         }
                         return convert(b, arith::MulFOp::create(b, x, scale), f32, resultType.getElementType());
                       }));
    return success();
  }
};

} // namespace

Value centreIntegers(OpBuilder &builder, Location loc, Value value, Value zeroPoint, int64_t innerDims) {
  RankedTensorType type = typeOf(value);
  Type from = type.getElementType(), i32 = builder.getI32Type();
  SmallVector<Value> inputs{value};
  if (!isAbsent(zeroPoint)) {
    RankedTensorType zeroType = typeOf(zeroPoint);
    SmallVector<int64_t> shape;
    if (zeroType.getNumElements() != 1) {
      shape.assign(zeroType.getShape().begin(), zeroType.getShape().end());
      if (zeroType.getRank() == 1)
        shape.append(innerDims, 1);
    }
    inputs.push_back(reshape(builder, loc, zeroPoint, shape));
  }
  return elementwiseScalars(builder, loc, inputs, RankedTensorType::get(type.getShape(), i32), [&](ScalarBuilder &b, ValueRange args) {
    Value x = convert(b, args[0], from, i32);
    return args.size() < 2 ? x : Value(arith::SubIOp::create(b, x, convert(b, args[1], from, i32)));
  });
}

namespace {

struct MatMulIntegerPattern : OpRewritePattern<onnx::MatMulIntegerOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::MatMulIntegerOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    Value a = centreIntegers(rewriter, loc, op.getA(), op.getAZeroPoint(), 1), b = centreIntegers(rewriter, loc, op.getB(), op.getBZeroPoint(), 0);
    rewriter.replaceOp(op, multiplyMatrices(rewriter, loc, a, b, typeOf(op.getY())));
    return success();
  }
};

/// Products of the centred integers, scaled and rounded once.
struct QLinearMatMulPattern : OpRewritePattern<onnx::QLinearMatMulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::QLinearMatMulOp op, PatternRewriter &rewriter) const override {
    RankedTensorType type = typeOf(op.getY());
    if (failed(verifyStatic(rewriter, op)) || failed(verifyQuantized(rewriter, op, type.getElementType())))
      return failure();
    Location loc = op.getLoc();
    Value a = centreIntegers(rewriter, loc, op.getA(), op.getAZeroPoint(), 1), b = centreIntegers(rewriter, loc, op.getB(), op.getBZeroPoint(), 0);
    Value sums = multiplyMatrices(rewriter, loc, a, b, RankedTensorType::get(type.getShape(), rewriter.getI32Type()));
    auto column = [&](Value scale) {
      int64_t count = typeOf(scale).getNumElements();
      return count == 1 ? reshape(rewriter, loc, scale, {}) : reshape(rewriter, loc, scale, {count, 1});
    };
    auto row = [&](Value value) { return typeOf(value).getNumElements() == 1 ? reshape(rewriter, loc, value, {}) : value; };
    SmallVector<Value> inputs{sums, column(op.getAScale()), row(op.getBScale()), row(op.getYScale()), row(op.getYZeroPoint())};
    SmallVector<Type> types;
    for (Value input : inputs)
      types.push_back(typeOf(input).getElementType());
    rewriter.replaceOp(op, elementwiseScalars(rewriter, loc, inputs, type, [&](ScalarBuilder &s, ValueRange args) {
                         Type f32 = s.getF32Type();
                         Value scale = arith::MulFOp::create(s, convert(s, args[1], types[1], f32), convert(s, args[2], types[2], f32));
                         scale = arith::DivFOp::create(s, scale, convert(s, args[3], types[3], f32));
                         Value scaled = arith::MulFOp::create(s, convert(s, args[0], types[0], f32), scale);
                         return quantize(s, scaled, args[4], types[4], type.getElementType());
                       }));
    return success();
  }
};

} // namespace

void populateQuantizationPatterns(RewritePatternSet &patterns) {
  patterns.add<QuantizePattern, DequantizePattern, MatMulIntegerPattern, QLinearMatMulPattern>(patterns.getContext());
}

} // namespace elutq::normalize
