//===- Resize.cpp - Resize to linalg --------------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

bool isGiven(Value value) { return !isAbsent(value) && typeOf(value).getNumElements() > 0; }

/// Elements of the input along one dimension, and what each counts.
struct Taps {
  SmallVector<Value> indices, weights;
};

/// Arithmetic on f32.
struct Floats {
  ScalarBuilder &b;

  Value number(double value) const { return constant(b, b.getF32Type(), value); }
  Value add(Value x, Value y) const { return arith::AddFOp::create(b, x, y); }
  Value subtract(Value x, Value y) const { return arith::SubFOp::create(b, x, y); }
  Value multiply(Value x, Value y) const { return arith::MulFOp::create(b, x, y); }
  Value divide(Value x, Value y) const { return arith::DivFOp::create(b, x, y); }
  Value floor(Value x) const { return math::FloorOp::create(b, x); }
  Value ceil(Value x) const { return math::CeilOp::create(b, x); }
  Value ofIndex(Value index) const {
    return arith::SIToFPOp::create(b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI64Type(), index));
  }
  Value toIndex(Value x) const {
    return arith::IndexCastOp::create(b, b.getIndexType(), arith::FPToSIOp::create(b, b.getI64Type(), x));
  }
};

struct ResizePattern : OpRewritePattern<onnx::ResizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ResizeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    if (op.getAntialias() != 0)
      return rewriter.notifyMatchFailure(op, "antialias is not supported");
    if (op.getCoordinateTransformationMode() == "tf_crop_and_resize")
      return rewriter.notifyMatchFailure(op, "tf_crop_and_resize is not supported");
    if (op.getKeepAspectRatioPolicy() != "stretch" && op.getMode() != "nearest")
      return rewriter.notifyMatchFailure(op, "keep_aspect_ratio_policy is supported for the mode nearest only");
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getY());
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), resultType, [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Taps> taps;
                         for (int64_t i = 0; i < type.getRank(); ++i)
                           taps.push_back(type.getDimSize(i) == resultType.getDimSize(i)
                                              ? Taps{{indices[i]}, {}}
                                              : locate(b, op, i, indices[i], type.getDimSize(i), resultType.getDimSize(i)));
                         SmallVector<Value> source;
                         return collect(b, op.getX(), taps, source, Value());
                       }));
    return success();
  }

private:
  /// By what the dimension grows.
  static Value readScale(ScalarBuilder &b, onnx::ResizeOp op, int64_t dim, int64_t size, int64_t resultSize) {
    Floats f{b};
    int64_t position = dim;
    SmallVector<int64_t> axes;
    if (std::optional<ArrayRef<int64_t>> given = op.getAxes(); given && !given->empty()) {
      for (int64_t axis : *given)
        axes.push_back(normalizeAxis(axis, typeOf(op.getX()).getRank()));
      position = llvm::find(axes, dim) - axes.begin();
    }
    if (isGiven(op.getScales()))
      return readElement(b, op.getScales(), indexConstant(b, position));
    if (op.getKeepAspectRatioPolicy() == "stretch")
      return f.number(static_cast<double>(resultSize) / size);
    // One scale for all dimensions: the least or the greatest that the sizes ask for.
    bool isLeast = op.getKeepAspectRatioPolicy() == "not_larger";
    Value scale;
    for (int64_t k = 0, count = typeOf(op.getSizes()).getNumElements(); k < count; ++k) {
      int64_t axis = axes.empty() ? k : axes[k];
      Value wanted = f.ofIndex(readIndex(b, op.getSizes(), indexConstant(b, k)));
      Value own = f.divide(wanted, f.number(typeOf(op.getX()).getDimSize(axis)));
      scale = !scale ? own : isLeast ? Value(arith::MinimumFOp::create(b, scale, own)) : Value(arith::MaximumFOp::create(b, scale, own));
    }
    return scale;
  }

  /// Where an index of the result is in the input.
  static Value transform(const Floats &f, StringRef mode, Value x, Value scale, int64_t size, int64_t resultSize) {
    Value half = f.number(0.5);
    Value halfPixel = f.subtract(f.divide(f.add(x, half), scale), half);
    Value length = f.multiply(scale, f.number(size));
    if (mode == "asymmetric")
      return f.divide(x, scale);
    if (mode == "align_corners")
      return resultSize == 1 ? f.number(0) : f.divide(f.multiply(x, f.number(size - 1)), f.subtract(length, f.number(1)));
    if (mode == "pytorch_half_pixel" && resultSize == 1)
      return f.number(0);
    if (mode == "half_pixel_symmetric") {
      Value adjustment = f.divide(f.number(resultSize), length);
      Value offset = f.multiply(f.number(size / 2.0), f.subtract(f.number(1), adjustment));
      return f.add(offset, halfPixel);
    }
    return halfPixel;
  }

  static Taps locate(ScalarBuilder &b, onnx::ResizeOp op, int64_t dim, Value index, int64_t size, int64_t resultSize) {
    Floats f{b};
    Value scale = readScale(b, op, dim, size, resultSize);
    Value x = transform(f, op.getCoordinateTransformationMode(), f.ofIndex(index), scale, size, resultSize);
    auto clamp = [&](Value i) -> Value {
      return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, i, indexConstant(b, 0)), indexConstant(b, size - 1));
    };
    if (op.getMode() == "nearest") {
      StringRef mode = op.getNearestMode();
      Value half = f.number(0.5);
      Value rounded = mode == "floor"               ? f.floor(x)
                      : mode == "ceil"              ? f.ceil(x)
                      : mode == "round_prefer_ceil" ? f.floor(f.add(x, half))
                                                    : f.ceil(f.subtract(x, half));
      return {{clamp(f.toIndex(rounded))}, {}};
    }
    Value low = f.floor(x), ratio = f.subtract(x, low), first = f.toIndex(low);
    bool isCubic = op.getMode() == "cubic";
    SmallVector<Value> weights = isCubic ? cubicWeights(f, ratio, op.getCubicCoeffA().convertToFloat())
                                         : SmallVector<Value>{f.subtract(f.number(1), ratio), ratio};
    Taps taps;
    Value total = f.number(0);
    for (auto [i, weight] : llvm::enumerate(weights)) {
      Value at = arith::AddIOp::create(b, first, indexConstant(b, static_cast<int64_t>(i) - (isCubic ? 1 : 0)));
      if (op.getExcludeOutside() != 0) {
        Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, at, indexConstant(b, size));
        weight = arith::SelectOp::create(b, isInside, weight, f.number(0));
        total = f.add(total, weight);
      }
      taps.indices.push_back(clamp(at));
      taps.weights.push_back(weight);
    }
    if (op.getExcludeOutside() != 0)
      for (Value &weight : taps.weights)
        weight = f.divide(weight, total);
    return taps;
  }

  /// Keys' cubic convolution with the parameter a, at the distances 1 + r, r, 1 - r and 2 - r.
  static SmallVector<Value> cubicWeights(const Floats &f, Value ratio, double a) {
    auto polynomial = [&](Value x, ArrayRef<double> coefficients) {
      Value result = f.number(coefficients[0]);
      for (double coefficient : coefficients.drop_front())
        result = f.add(f.multiply(result, x), f.number(coefficient));
      return result;
    };
    double inner[] = {a + 2, -(a + 3), 0, 1}, outer[] = {a, -5 * a, 8 * a, -4 * a};
    Value rest = f.subtract(f.number(1), ratio);
    return {polynomial(f.add(ratio, f.number(1)), outer), polynomial(ratio, inner), polynomial(rest, inner),
            polynomial(f.add(rest, f.number(1)), outer)};
  }

  /// The sum of the elements that the dimensions choose, each times the product of its weights.
  static Value collect(ScalarBuilder &b, Value input, ArrayRef<Taps> taps, SmallVectorImpl<Value> &source, Value weight) {
    Type element = typeOf(input).getElementType(), f32 = b.getF32Type();
    Floats f{b};
    if (taps.empty()) {
      Value x = readElement(b, input, source);
      return weight ? f.multiply(convert(b, x, element, f32), weight) : x;
    }
    Value total;
    for (auto [i, index] : llvm::enumerate(taps[0].indices)) {
      Value next = taps[0].weights.empty() ? weight : weight ? f.multiply(weight, taps[0].weights[i]) : taps[0].weights[i];
      source.push_back(index);
      Value term = collect(b, input, taps.drop_front(), source, next);
      source.pop_back();
      total = total ? f.add(total, term) : term;
    }
    // Back to the type of the elements once, outside of all sums.
    return source.empty() && total.getType() != getSignless(element) ? convert(b, total, f32, element) : total;
  }
};

} // namespace

void populateResizePatterns(RewritePatternSet &patterns) { patterns.add<ResizePattern>(patterns.getContext()); }

} // namespace elutq::normalize
