//===- Elementwise.cpp - Elementwise onnx ops to linalg -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

using Builder = ImplicitLocOpBuilder;

bool isFloat(Value value) { return isa<FloatType>(value.getType()); }
bool isUnsigned(Type type) { return type.isUnsignedInteger(); }

template <typename Op>
Value make(Builder &b, ValueRange operands) {
  return Op::create(b, operands);
}

/// The float form or the signed integer form of a binary operation.
template <typename FloatOp, typename IntOp>
Value arithmetic(Builder &b, ValueRange args) {
  return isFloat(args[0]) ? make<FloatOp>(b, args) : make<IntOp>(b, args);
}

Value constant(Builder &b, Type type, double number) { return scalar(b, b.getLoc(), type, number); }

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

Value power(Builder &b, Value base, Value exponent) {
  Type type = base.getType();
  if (isa<FloatType>(type) && isa<FloatType>(exponent.getType()) && type == exponent.getType())
    return math::PowFOp::create(b, base, exponent);
  return math::FPowIOp::create(b, base, exponent);
}

template <arith::CmpFPredicate floatPredicate, arith::CmpIPredicate intPredicate>
Value compare(Builder &b, ValueRange args) {
  if (isFloat(args[0]))
    return arith::CmpFOp::create(b, floatPredicate, args[0], args[1]);
  return arith::CmpIOp::create(b, intPredicate, args[0], args[1]);
}

Value convert(Builder &b, Value x, Type to) {
  Type from = x.getType();
  if (from == to)
    return x;
  auto fromFloat = dyn_cast<FloatType>(from), toFloat = dyn_cast<FloatType>(to);
  if (fromFloat && toFloat) {
    if (fromFloat.getWidth() == toFloat.getWidth())
      return arith::TruncFOp::create(b, to, arith::ExtFOp::create(b, b.getF32Type(), x));
    return fromFloat.getWidth() < toFloat.getWidth() ? Value(arith::ExtFOp::create(b, to, x))
                                                     : Value(arith::TruncFOp::create(b, to, x));
  }
  if (fromFloat) {
    if (to.isInteger(1))
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x, constant(b, from, 0.0));
    return arith::FPToSIOp::create(b, to, x);
  }
  if (toFloat)
    return from.isInteger(1) ? Value(arith::UIToFPOp::create(b, to, x)) : Value(arith::SIToFPOp::create(b, to, x));
  if (to.isInteger(1))
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x, constant(b, from, 0.0));
  if (from.getIntOrFloatBitWidth() > to.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(b, to, x);
  return from.isInteger(1) ? Value(arith::ExtUIOp::create(b, to, x)) : Value(arith::ExtSIOp::create(b, to, x));
}

/// An operator of one result that is `body` of the elements of its operands.
template <typename OpTy>
struct ElementwisePattern : OpRewritePattern<OpTy> {
  using Body = Value (*)(Builder &, OpTy, ValueRange);
  ElementwisePattern(MLIRContext *context, Body body) : OpRewritePattern<OpTy>(context), body(body) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    for (Type type : op->getOperandTypes())
      if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && isUnsigned(tensor.getElementType()))
        return rewriter.notifyMatchFailure(op, "unsigned integers are not supported");
    SmallVector<Value> inputs;
    for (Value operand : op->getOperands())
      if (!isAbsent(operand))
        inputs.push_back(operand);
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    rewriter.replaceOp(op, elementwise(rewriter, op.getLoc(), inputs, type, [&](OpBuilder &nested, Location loc, ValueRange args) {
                         Builder b(loc, nested);
                         return body(b, op, args);
                       }));
    return success();
  }

private:
  Body body;
};

struct PowerPattern : OpRewritePattern<onnx::PowOp> {
  using OpRewritePattern::OpRewritePattern;

  /// Squares, cubes and square roots are what norms and activations use; the rest calls powf.
  LogicalResult matchAndRewrite(onnx::PowOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getType());
    if (!isa<FloatType>(type.getElementType()))
      return rewriter.notifyMatchFailure(op, "powers of integers are not supported");
    std::optional<double> exponent = getConstantNumber(op.getY());
    SmallVector<Value> inputs{op.getX()};
    if (!exponent)
      inputs.push_back(op.getY());
    rewriter.replaceOp(op, elementwise(rewriter, op.getLoc(), inputs, type, [&](OpBuilder &nested, Location loc, ValueRange args) -> Value {
                         Builder b(loc, nested);
                         if (!exponent)
                           return power(b, args[0], args[1]);
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
      result = elementwise(rewriter, op.getLoc(), {result, limit}, type, [&](OpBuilder &nested, Location loc, ValueRange args) {
        Builder b(loc, nested);
        return isLower ? arithmetic<arith::MaximumFOp, arith::MaxSIOp>(b, args) : arithmetic<arith::MinimumFOp, arith::MinSIOp>(b, args);
      });
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
  VariadicPattern(MLIRContext *context, Body body) : OpRewritePattern<OpTy>(context), body(body) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    rewriter.replaceOp(op, elementwise(rewriter, op.getLoc(), op->getOperands(), type,
                                       [&](OpBuilder &nested, Location loc, ValueRange args) {
                                         Builder b(loc, nested);
                                         Value result = args[0];
                                         for (Value arg : args.drop_front())
                                           result = body(b, {result, arg});
                                         return result;
                                       }));
    return success();
  }

private:
  Body body;
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
  add<onnx::DivOp>(patterns, [](Builder &b, onnx::DivOp, ValueRange v) { return arithmetic<arith::DivFOp, arith::DivSIOp>(b, v); });
  add<onnx::AndOp>(patterns, [](Builder &b, onnx::AndOp, ValueRange v) { return make<arith::AndIOp>(b, v); });
  add<onnx::OrOp>(patterns, [](Builder &b, onnx::OrOp, ValueRange v) { return make<arith::OrIOp>(b, v); });
  add<onnx::XorOp>(patterns, [](Builder &b, onnx::XorOp, ValueRange v) { return make<arith::XOrIOp>(b, v); });
  add<onnx::NotOp>(patterns, [](Builder &b, onnx::NotOp, ValueRange v) -> Value {
    return arith::XOrIOp::create(b, v[0], constant(b, v[0].getType(), 1.0));
  });
  add<onnx::EqualOp>(patterns, [](Builder &b, onnx::EqualOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq>(b, v);
  });
  add<onnx::LessOp>(patterns, [](Builder &b, onnx::LessOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt>(b, v);
  });
  add<onnx::LessOrEqualOp>(patterns, [](Builder &b, onnx::LessOrEqualOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle>(b, v);
  });
  add<onnx::GreaterOp>(patterns, [](Builder &b, onnx::GreaterOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt>(b, v);
  });
  add<onnx::GreaterOrEqualOp>(patterns, [](Builder &b, onnx::GreaterOrEqualOp, ValueRange v) {
    return compare<arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge>(b, v);
  });
  add<onnx::WhereOp>(patterns, [](Builder &b, onnx::WhereOp, ValueRange v) { return make<arith::SelectOp>(b, v); });
}

static void populateUnaryPatterns(RewritePatternSet &patterns) {
  add<onnx::NegOp>(patterns, [](Builder &b, onnx::NegOp, ValueRange v) -> Value {
    if (isFloat(v[0]))
      return arith::NegFOp::create(b, v[0]);
    return arith::SubIOp::create(b, constant(b, v[0].getType(), 0.0), v[0]);
  });
  add<onnx::AbsOp>(patterns, [](Builder &b, onnx::AbsOp, ValueRange v) { return arithmetic<math::AbsFOp, math::AbsIOp>(b, v); });
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
    return convert(b, v[0], cast<RankedTensorType>(op.getType()).getElementType());
  });
}

static void populateActivationPatterns(RewritePatternSet &patterns) {
  add<onnx::ReluOp>(patterns, [](Builder &b, onnx::ReluOp, ValueRange v) -> Value {
    return arith::MaximumFOp::create(b, v[0], constant(b, v[0].getType(), 0.0));
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
  patterns.add<PowerPattern, ClipPattern>(patterns.getContext());
  patterns.add(std::make_unique<VariadicPattern<onnx::MaxOp>>(patterns.getContext(), arithmetic<arith::MaximumFOp, arith::MaxSIOp>));
  patterns.add(std::make_unique<VariadicPattern<onnx::MinOp>>(patterns.getContext(), arithmetic<arith::MinimumFOp, arith::MinSIOp>));
  patterns.add(std::make_unique<VariadicPattern<onnx::SumOp>>(patterns.getContext(), arithmetic<arith::AddFOp, arith::AddIOp>));
}

} // namespace elutq::normalize
