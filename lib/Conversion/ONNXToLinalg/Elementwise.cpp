//===- Elementwise.cpp - Elementwise onnx ops to linalg -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

using Builder = ScalarBuilder;

/// x * Phi(x) by the error function.
Value geluErf(Builder &b, Value x) {
  Type type = x.getType();
  Value erf = math::ErfOp::create(b, arith::MulFOp::create(b, x, constant(b, type, 0.70710678118654752440)));
  Value twice = arith::AddFOp::create(b, erf, constant(b, type, 1.0));
  return arith::MulFOp::create(b, arith::MulFOp::create(b, x, constant(b, type, 0.5)), twice);
}

/// x * Phi(x) by the tanh approximation.
Value geluTanh(Builder &b, Value x) {
  Type type = x.getType();
  Value cube = arith::MulFOp::create(b, arith::MulFOp::create(b, x, x), x);
  Value inner = arith::AddFOp::create(b, x, arith::MulFOp::create(b, cube, constant(b, type, 0.044715)));
  Value tanh = math::TanhOp::create(b, arith::MulFOp::create(b, inner, constant(b, type, 0.79788456080286535588)));
  Value twice = arith::AddFOp::create(b, tanh, constant(b, type, 1.0));
  return arith::MulFOp::create(b, arith::MulFOp::create(b, x, constant(b, type, 0.5)), twice);
}

Value sigmoid(Builder &b, Value x) {
  Value one = constant(b, x.getType(), 1.0);
  Value exp = math::ExpOp::create(b, arith::NegFOp::create(b, x));
  return arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, exp));
}

/// Base and exponent may have different types: what is not a power of one float type is computed in f64.
Value power(Builder &b, Value base, Value exponent, Type baseType, Type exponentType) {
  if (isa<FloatType>(baseType) && baseType == exponentType)
    return math::PowFOp::create(b, base, exponent);
  Type wide = b.getF64Type();
  Value result = math::PowFOp::create(b, convert(b, base, baseType, wide), convert(b, exponent, exponentType, wide));
  return convert(b, result, wide, baseType);
}

template <arith::CmpFPredicate floatPredicate, arith::CmpIPredicate intPredicate, arith::CmpIPredicate unsignedPredicate = intPredicate>
Value compare(Builder &b, ValueRange args) {
  if (isFloat(args[0]))
    return arith::CmpFOp::create(b, floatPredicate, args[0], args[1]);
  return arith::CmpIOp::create(b, b.isUnsigned ? unsignedPredicate : intPredicate, args[0], args[1]);
}

/// x moved towards 0 by `bias` where it is further than `limit` from it, else 0.
Value shrink(Builder &b, Value x, double limit, double bias) {
  Type type = x.getType();
  Value zero = constant(b, type, 0.0), shift = constant(b, type, bias);
  Value below = compare<arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt>(b, {x, constant(b, type, -limit)});
  Value above = compare<arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt>(b, {x, constant(b, type, limit)});
  Value lowered = arith::SelectOp::create(b, above, arithmetic<arith::SubFOp, arith::SubIOp>(b, {x, shift}), zero);
  return arith::SelectOp::create(b, below, sum(b, {x, shift}), lowered);
}

/// The remainder with the sign of the dividend (C's fmod and %) or of the divisor (Python's %).
Value remainder(Builder &b, ValueRange args, bool ofDividend) {
  Value rest = arithmetic<arith::RemFOp, arith::RemSIOp, arith::RemUIOp>(b, args);
  if (ofDividend || b.isUnsigned)
    return rest;
  Value zero = constant(b, rest.getType(), 0.0);
  auto isNegative = [&](Value v) { return compare<arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt>(b, {v, zero}); };
  Value isRest = compare<arith::CmpFPredicate::ONE, arith::CmpIPredicate::ne>(b, {rest, zero});
  Value differs = arith::XOrIOp::create(b, isNegative(rest), isNegative(args[1]));
  return arith::SelectOp::create(b, arith::AndIOp::create(b, isRest, differs), sum(b, {rest, args[1]}), rest);
}

/// 1, 0 or -1, and NaN for NaN.
Value sign(Builder &b, Value x) {
  Value zero = constant(b, x.getType(), 0.0), one = constant(b, x.getType(), 1.0);
  Value isPositive = compare<arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt, arith::CmpIPredicate::ugt>(b, {x, zero});
  if (b.isUnsigned)
    return arith::SelectOp::create(b, isPositive, one, zero);
  Value isNegative = compare<arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt>(b, {x, zero});
  return arith::SelectOp::create(b, isPositive, one, arith::SelectOp::create(b, isNegative, constant(b, x.getType(), -1.0), x));
}

/// A shift by more bits than there are gives 0, or the sign where signed numbers go to the right.
Value shift(Builder &b, ValueRange args, bool left) {
  unsigned bits = args[0].getType().getIntOrFloatBitWidth();
  if (!left && !b.isUnsigned)
    return arith::ShRSIOp::create(b, args[0], arith::MinUIOp::create(b, args[1], constant(b, args[0].getType(), bits - 1)));
  Value width = constant(b, args[0].getType(), bits);
  Value shifted = left ? make<arith::ShLIOp>(b, args) : make<arith::ShRUIOp>(b, args);
  Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, args[1], width);
  return arith::SelectOp::create(b, isInside, shifted, constant(b, args[0].getType(), 0.0));
}

Value isInfinite(Builder &b, Value x, bool positive, bool negative) {
  Value infinity = scalar(b, b.getLoc(), getHighest(x.getType()));
  Value minus = scalar(b, b.getLoc(), getLowest(x.getType()));
  auto equals = [&](Value limit, bool wanted) -> Value {
    return wanted ? Value(arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, limit)) : constant(b, b.getI1Type(), 0.0);
  };
  return arith::OrIOp::create(b, equals(infinity, positive), equals(minus, negative));
}

/// An operator of one result that is `body` of the elements of its operands.
template <typename OpTy>
struct ElementwisePattern : OpRewritePattern<OpTy> {
  using Body = Value (*)(Builder &, OpTy, ValueRange);
  ElementwisePattern(MLIRContext *context, Body body) : OpRewritePattern<OpTy>(context), body(body) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    SmallVector<Value> inputs;
    for (Value operand : op->getOperands())
      if (!isAbsent(operand))
        inputs.push_back(operand);
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    rewriter.replaceOp(op, elementwiseScalars(rewriter, op.getLoc(), inputs, type, [&](Builder &b, ValueRange args) { return body(b, op, args); }));
    return success();
  }

private:
  Body body;
};

/// The element of a Cast or CastLike, with what their attributes say of small floats.
template <typename OpTy>
Value convertAs(Builder &b, OpTy op, Value x, Type from, Type to) {
  if (from == to || !isSmallFloat(to))
    return convert(b, x, from, to);
  Rounding rounding = op.getRoundMode() == "down" ? Rounding::Down : op.getRoundMode() == "nearest" ? Rounding::Nearest : Rounding::Up;
  return encodeSmallFloat(b, convert(b, x, from, b.getF32Type()), cast<FloatType>(to), op.getSaturate() != 0,
                          isa<Float8E8M0FNUType>(to) ? rounding : Rounding::Nearest);
}

/// The second operand has a type to say, and no elements.
struct CastLikePattern : OpRewritePattern<onnx::CastLikeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::CastLikeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto from = cast<RankedTensorType>(op.getInput().getType()), to = cast<RankedTensorType>(op.getType());
    rewriter.replaceOp(op, elementwiseScalars(rewriter, op.getLoc(), op.getInput(), to, [&](Builder &b, ValueRange v) {
                         return convertAs(b, op, v[0], from.getElementType(), to.getElementType());
                       }));
    return success();
  }
};

struct PowerPattern : OpRewritePattern<onnx::PowOp> {
  using OpRewritePattern::OpRewritePattern;

  /// Squares, cubes and square roots are what norms and activations use; the rest calls powf.
  LogicalResult matchAndRewrite(onnx::PowOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getType());
    bool isFloat = isa<FloatType>(type.getElementType());
    std::optional<double> exponent = isFloat ? getConstantNumber(op.getY()) : std::nullopt;
    SmallVector<Value> inputs{op.getX()};
    if (!exponent)
      inputs.push_back(op.getY());
    Type exponentType = cast<RankedTensorType>(op.getY().getType()).getElementType();
    rewriter.replaceOp(op, elementwiseScalars(rewriter, op.getLoc(), inputs, type, [&](Builder &b, ValueRange args) -> Value {
                         if (!exponent)
                           return power(b, args[0], args[1], type.getElementType(), exponentType);
                         if (*exponent == 1.0)
                           return args[0];
                         if (*exponent == 2.0)
                           return arith::MulFOp::create(b, args[0], args[0]);
                         if (*exponent == 3.0)
                           return arith::MulFOp::create(b, arith::MulFOp::create(b, args[0], args[0]), args[0]);
                         if (*exponent == 0.5)
                           return math::SqrtOp::create(b, args[0]);
                         return math::PowFOp::create(b, args[0], constant(b, args[0].getType(), *exponent));
                       }));
    return success();
  }
};

/// Clip has optional bounds.
struct ClipPattern : OpRewritePattern<onnx::ClipOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ClipOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getType());
    Value result = op.getInput();
    auto bound = [&](Value limit, bool isLower) {
      if (isAbsent(limit))
        return;
      result = elementwiseScalars(rewriter, op.getLoc(), {result, limit}, type,
                                  [&](Builder &b, ValueRange args) { return isLower ? maximum(b, args) : minimum(b, args); });
    };
    bound(op.getMin(), true);
    bound(op.getMax(), false);
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// Max, Min, Sum and Mean take any number of operands.
template <typename OpTy>
struct VariadicPattern : OpRewritePattern<OpTy> {
  using Body = Value (*)(Builder &, ValueRange);
  VariadicPattern(MLIRContext *context, Body body, bool isMean = false) : OpRewritePattern<OpTy>(context), body(body), isMean(isMean) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    rewriter.replaceOp(op, elementwiseScalars(rewriter, op.getLoc(), op->getOperands(), type, [&](Builder &b, ValueRange args) {
                         Value result = args[0];
                         for (Value arg : args.drop_front())
                           result = body(b, {result, arg});
                         if (isMean)
                           result = arith::DivFOp::create(b, result, constant(b, result.getType(), args.size()));
                         return result;
                       }));
    return success();
  }

private:
  Body body;
  bool isMean;
};

} // namespace

template <typename OpTy>
static void add(RewritePatternSet &patterns, typename ElementwisePattern<OpTy>::Body body) {
  patterns.add(std::make_unique<ElementwisePattern<OpTy>>(patterns.getContext(), body));
}

static void populateBinaryPatterns(RewritePatternSet &patterns) {
  add<onnx::AddOp>(patterns, [](Builder &b, onnx::AddOp, ValueRange v) { return arithmetic<arith::AddFOp, arith::AddIOp>(b, v); });
  add<onnx::SubOp>(patterns, [](Builder &b, onnx::SubOp, ValueRange v) { return arithmetic<arith::SubFOp, arith::SubIOp>(b, v); });
  add<onnx::MulOp>(patterns, [](Builder &b, onnx::MulOp, ValueRange v) { return arithmetic<arith::MulFOp, arith::MulIOp>(b, v); });
  add<onnx::DivOp>(patterns, [](Builder &b, onnx::DivOp, ValueRange v) { return arithmetic<arith::DivFOp, arith::DivSIOp, arith::DivUIOp>(b, v); });
  add<onnx::AndOp>(patterns, [](Builder &b, onnx::AndOp, ValueRange v) { return make<arith::AndIOp>(b, v); });
  add<onnx::OrOp>(patterns, [](Builder &b, onnx::OrOp, ValueRange v) { return make<arith::OrIOp>(b, v); });
  add<onnx::XorOp>(patterns, [](Builder &b, onnx::XorOp, ValueRange v) { return make<arith::XOrIOp>(b, v); });
  add<onnx::NotOp>(patterns, [](Builder &b, onnx::NotOp, ValueRange v) -> Value {
    return arith::XOrIOp::create(b, v[0], constant(b, v[0].getType(), 1.0));
  });
  add<onnx::BitwiseAndOp>(patterns, [](Builder &b, onnx::BitwiseAndOp, ValueRange v) { return make<arith::AndIOp>(b, v); });
  add<onnx::BitwiseOrOp>(patterns, [](Builder &b, onnx::BitwiseOrOp, ValueRange v) { return make<arith::OrIOp>(b, v); });
  add<onnx::BitwiseXorOp>(patterns, [](Builder &b, onnx::BitwiseXorOp, ValueRange v) { return make<arith::XOrIOp>(b, v); });
  add<onnx::BitShiftOp>(patterns, [](Builder &b, onnx::BitShiftOp op, ValueRange v) { return shift(b, v, op.getDirection() == "LEFT"); });
  add<onnx::ModOp>(patterns, [](Builder &b, onnx::ModOp op, ValueRange v) { return remainder(b, v, op.getFmod() != 0); });
  add<onnx::EqualOp>(patterns, [](Builder &b, onnx::EqualOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq>(b, v);
  });
  add<onnx::LessOp>(patterns, [](Builder &b, onnx::LessOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt, arith::CmpIPredicate::ult>(b, v);
  });
  add<onnx::LessOrEqualOp>(patterns, [](Builder &b, onnx::LessOrEqualOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle, arith::CmpIPredicate::ule>(b, v);
  });
  add<onnx::GreaterOp>(patterns, [](Builder &b, onnx::GreaterOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt, arith::CmpIPredicate::ugt>(b, v);
  });
  add<onnx::GreaterOrEqualOp>(patterns, [](Builder &b, onnx::GreaterOrEqualOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge, arith::CmpIPredicate::uge>(b, v);
  });
  add<onnx::WhereOp>(patterns, [](Builder &b, onnx::WhereOp, ValueRange v) { return make<arith::SelectOp>(b, v); });
}

static void populateUnaryPatterns(RewritePatternSet &patterns) {
  add<onnx::NegOp>(patterns, [](Builder &b, onnx::NegOp, ValueRange v) -> Value {
    if (isFloat(v[0]))
      return arith::NegFOp::create(b, v[0]);
    return arith::SubIOp::create(b, constant(b, v[0].getType(), 0.0), v[0]);
  });
  add<onnx::AbsOp>(patterns, [](Builder &b, onnx::AbsOp, ValueRange v) {
    return b.isUnsigned ? v[0] : arithmetic<math::AbsFOp, math::AbsIOp>(b, v);
  });
  add<onnx::SqrtOp>(patterns, [](Builder &b, onnx::SqrtOp, ValueRange v) { return make<math::SqrtOp>(b, v); });
  add<onnx::ExpOp>(patterns, [](Builder &b, onnx::ExpOp, ValueRange v) { return make<math::ExpOp>(b, v); });
  add<onnx::LogOp>(patterns, [](Builder &b, onnx::LogOp, ValueRange v) { return make<math::LogOp>(b, v); });
  add<onnx::SinOp>(patterns, [](Builder &b, onnx::SinOp, ValueRange v) { return make<math::SinOp>(b, v); });
  add<onnx::CosOp>(patterns, [](Builder &b, onnx::CosOp, ValueRange v) { return make<math::CosOp>(b, v); });
  add<onnx::TanhOp>(patterns, [](Builder &b, onnx::TanhOp, ValueRange v) { return make<math::TanhOp>(b, v); });
  add<onnx::ErfOp>(patterns, [](Builder &b, onnx::ErfOp, ValueRange v) { return make<math::ErfOp>(b, v); });
  add<onnx::FloorOp>(patterns, [](Builder &b, onnx::FloorOp, ValueRange v) { return make<math::FloorOp>(b, v); });
  add<onnx::CeilOp>(patterns, [](Builder &b, onnx::CeilOp, ValueRange v) { return make<math::CeilOp>(b, v); });
  add<onnx::RoundOp>(patterns, [](Builder &b, onnx::RoundOp, ValueRange v) { return make<math::RoundEvenOp>(b, v); });
  add<onnx::ReciprocalOp>(patterns, [](Builder &b, onnx::ReciprocalOp, ValueRange v) -> Value {
    return arith::DivFOp::create(b, constant(b, v[0].getType(), 1.0), v[0]);
  });
  add<onnx::IsNaNOp>(patterns, [](Builder &b, onnx::IsNaNOp, ValueRange v) -> Value {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, v[0], v[0]);
  });
  add<onnx::CastOp>(patterns, [](Builder &b, onnx::CastOp op, ValueRange v) {
    return convertAs(b, op, v[0], cast<RankedTensorType>(op.getInput().getType()).getElementType(),
                     cast<RankedTensorType>(op.getType()).getElementType());
  });
  add<onnx::BitCastOp>(patterns, [](Builder &b, onnx::BitCastOp op, ValueRange v) -> Value {
    Type type = getSignless(cast<RankedTensorType>(op.getType()).getElementType());
    if (v[0].getType() == type)
      return v[0];
    // A boolean is a byte, 0 or 1.
    if (type.isInteger(1))
      return arith::TruncIOp::create(b, type, v[0]);
    return v[0].getType().isInteger(1) ? Value(arith::ExtUIOp::create(b, type, v[0])) : Value(arith::BitcastOp::create(b, type, v[0]));
  });
  add<onnx::SignOp>(patterns, [](Builder &b, onnx::SignOp, ValueRange v) { return sign(b, v[0]); });
  add<onnx::IsInfOp>(patterns, [](Builder &b, onnx::IsInfOp op, ValueRange v) {
    return isInfinite(b, v[0], op.getDetectPositive() != 0, op.getDetectNegative() != 0);
  });
  add<onnx::BitwiseNotOp>(patterns, [](Builder &b, onnx::BitwiseNotOp, ValueRange v) -> Value {
    return arith::XOrIOp::create(b, v[0], constant(b, v[0].getType(), -1.0));
  });
  add<onnx::TanOp>(patterns, [](Builder &b, onnx::TanOp, ValueRange v) { return make<math::TanOp>(b, v); });
  add<onnx::SinhOp>(patterns, [](Builder &b, onnx::SinhOp, ValueRange v) { return make<math::SinhOp>(b, v); });
  add<onnx::CoshOp>(patterns, [](Builder &b, onnx::CoshOp, ValueRange v) { return make<math::CoshOp>(b, v); });
  add<onnx::AsinOp>(patterns, [](Builder &b, onnx::AsinOp, ValueRange v) { return make<math::AsinOp>(b, v); });
  add<onnx::AcosOp>(patterns, [](Builder &b, onnx::AcosOp, ValueRange v) { return make<math::AcosOp>(b, v); });
  add<onnx::AtanOp>(patterns, [](Builder &b, onnx::AtanOp, ValueRange v) { return make<math::AtanOp>(b, v); });
  add<onnx::AsinhOp>(patterns, [](Builder &b, onnx::AsinhOp, ValueRange v) { return make<math::AsinhOp>(b, v); });
  add<onnx::AcoshOp>(patterns, [](Builder &b, onnx::AcoshOp, ValueRange v) { return make<math::AcoshOp>(b, v); });
  add<onnx::AtanhOp>(patterns, [](Builder &b, onnx::AtanhOp, ValueRange v) { return make<math::AtanhOp>(b, v); });
}

static void populateActivationPatterns(RewritePatternSet &patterns) {
  add<onnx::ReluOp>(patterns, [](Builder &b, onnx::ReluOp, ValueRange v) {
    return maximum(b, {v[0], constant(b, v[0].getType(), 0.0)});
  });
  add<onnx::ShrinkOp>(patterns, [](Builder &b, onnx::ShrinkOp op, ValueRange v) {
    return shrink(b, v[0], op.getLambd().convertToFloat(), op.getBias().convertToFloat());
  });
  add<onnx::SigmoidOp>(patterns, [](Builder &b, onnx::SigmoidOp, ValueRange v) { return sigmoid(b, v[0]); });
  add<onnx::SoftplusOp>(patterns, [](Builder &b, onnx::SoftplusOp, ValueRange v) -> Value {
    return math::Log1pOp::create(b, math::ExpOp::create(b, v[0]));
  });
  add<onnx::SwishOp>(patterns, [](Builder &b, onnx::SwishOp op, ValueRange v) -> Value {
    Value scaled = v[0];
    if (float alpha = op.getAlpha().convertToFloat(); alpha != 1.0f)
      scaled = arith::MulFOp::create(b, scaled, constant(b, scaled.getType(), alpha));
    return arith::MulFOp::create(b, v[0], sigmoid(b, scaled));
  });
  add<onnx::GeluOp>(patterns, [](Builder &b, onnx::GeluOp op, ValueRange v) {
    return op.getApproximate() == "tanh" ? geluTanh(b, v[0]) : geluErf(b, v[0]);
  });
  add<onnx::ContribGeluOp>(patterns, [](Builder &b, onnx::ContribGeluOp, ValueRange v) { return geluErf(b, v[0]); });
  add<onnx::ContribBiasGeluOp>(patterns, [](Builder &b, onnx::ContribBiasGeluOp, ValueRange v) {
    return geluErf(b, arith::AddFOp::create(b, v[0], v[1]));
  });
  add<onnx::ContribFastGeluOp>(patterns, [](Builder &b, onnx::ContribFastGeluOp, ValueRange v) {
    return geluTanh(b, v.size() > 1 ? Value(arith::AddFOp::create(b, v[0], v[1])) : v[0]);
  });
  add<onnx::ContribQuickGeluOp>(patterns, [](Builder &b, onnx::ContribQuickGeluOp op, ValueRange v) -> Value {
    Value scaled = arith::MulFOp::create(b, v[0], constant(b, v[0].getType(), op.getAlpha().convertToFloat()));
    return arith::MulFOp::create(b, v[0], sigmoid(b, scaled));
  });
}

void populateElementwisePatterns(RewritePatternSet &patterns) {
  populateBinaryPatterns(patterns);
  populateUnaryPatterns(patterns);
  populateActivationPatterns(patterns);
  patterns.add<PowerPattern, ClipPattern, CastLikePattern>(patterns.getContext());
  patterns.add(std::make_unique<VariadicPattern<onnx::MaxOp>>(patterns.getContext(), maximum));
  patterns.add(std::make_unique<VariadicPattern<onnx::MinOp>>(patterns.getContext(), minimum));
  patterns.add(std::make_unique<VariadicPattern<onnx::SumOp>>(patterns.getContext(), sum));
  patterns.add(std::make_unique<VariadicPattern<onnx::MeanOp>>(patterns.getContext(), sum, /*isMean=*/true));
}

} // namespace elutq::normalize
