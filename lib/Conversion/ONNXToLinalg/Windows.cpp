//===- Windows.cpp - Convolutions and pooling as loops --------------------------===//
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

/// A window over the spatial dimensions of an input `[batch, channels, spatial...]`.
struct Window {
  SmallVector<int64_t> kernel, strides, dilations, before, after;

  int64_t rank() const { return kernel.size(); }
};

/// The attributes that convolutions and pooling share; `sizes` are the input's, `results` the output's spatial dimensions.
template <typename OpTy>
Window readWindow(OpTy op, ArrayRef<int64_t> kernel, ArrayRef<int64_t> sizes, ArrayRef<int64_t> results) {
  Window window;
  int64_t rank = kernel.size();
  window.kernel.assign(kernel.begin(), kernel.end());
  auto numbers = [&](std::optional<ArrayRef<int64_t>> given, int64_t initial) {
    return given && !given->empty() ? SmallVector<int64_t>(*given) : SmallVector<int64_t>(rank, initial);
  };
  window.strides = numbers(op.getStrides(), 1);
  window.dilations = numbers(op.getDilations(), 1);
  SmallVector<int64_t> pads(2 * rank, 0);
  if (std::optional<ArrayRef<int64_t>> given = op.getPads(); given && !given->empty())
    pads.assign(given->begin(), given->end());
  StringRef mode = op.getAutoPad();
  for (int64_t i = 0; i < rank; ++i) {
    int64_t extent = (window.kernel[i] - 1) * window.dilations[i] + 1;
    int64_t total = std::max<int64_t>((results[i] - 1) * window.strides[i] + extent - sizes[i], 0);
    bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
    int64_t smaller = total / 2, larger = total - smaller;
    window.before.push_back(same ? (mode == "SAME_UPPER" ? smaller : larger) : mode == "VALID" ? 0 : pads[i]);
    window.after.push_back(same ? (mode == "SAME_UPPER" ? larger : smaller) : mode == "VALID" ? 0 : pads[rank + i]);
  }
  return window;
}

/// Where a place of a window is in the input.
struct Place {
  /// Indices of the spatial dimensions, moved inside where they are not.
  SmallVector<Value> source;
  /// Whether they were inside, and whether they were inside of the padded input.
  Value isInside, isPadded;
};

Place locate(ScalarBuilder &b, const Window &window, ArrayRef<int64_t> sizes, Indices results, Indices offsets) {
  Place place;
  place.isInside = place.isPadded = scalar(b, b.getLoc(), b.getI1Type(), 1);
  for (int64_t i = 0; i < window.rank(); ++i) {
    Value start = arith::MulIOp::create(b, results[i], indexConstant(b, window.strides[i]));
    Value step = arith::MulIOp::create(b, offsets[i], indexConstant(b, window.dilations[i]));
    Value padded = arith::AddIOp::create(b, start, step);
    Value index = arith::SubIOp::create(b, padded, indexConstant(b, window.before[i]));
    auto isBelow = [&](Value value, int64_t limit) -> Value {
      return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, value, indexConstant(b, limit));
    };
    place.isInside = arith::AndIOp::create(b, place.isInside, isBelow(index, sizes[i]));
    place.isPadded = arith::AndIOp::create(b, place.isPadded, isBelow(padded, sizes[i] + window.before[i] + window.after[i]));
    Value low = arith::MaxSIOp::create(b, index, indexConstant(b, 0));
    place.source.push_back(arith::MinSIOp::create(b, low, indexConstant(b, sizes[i] - 1)));
  }
  return place;
}

/// Folds the windows of `[batch, channels, ...]`: `step` gets the element, where it is, and what was found so far.
Value foldWindows(OpBuilder &builder, Location loc, Value input, Value init, const Window &window,
                  function_ref<Value(ScalarBuilder &, Value, const Place &, Value)> step) {
  SmallVector<int64_t> counts(typeOf(init).getShape());
  llvm::append_range(counts, window.kernel);
  int64_t rank = window.rank();
  return loop(builder, loc, counts, init, [&](ScalarBuilder &b, Indices indices, Value state) {
    Indices target = indices.drop_back(rank);
    Place place = locate(b, window, typeOf(input).getShape().drop_front(2), target.drop_front(2), indices.take_back(rank));
    SmallVector<Value> source(target.take_front(2));
    llvm::append_range(source, place.source);
    Value next = step(b, readElement(b, input, source), place, readElement(b, state, target));
    return writeElement(b, next, state, target);
  });
}

Value select(ScalarBuilder &b, Value condition, Value x, Value y) { return arith::SelectOp::create(b, condition, x, y); }

Value maxPool(OpBuilder &builder, Location loc, Value input, const Window &window, RankedTensorType type) {
  Type element = type.getElementType();
  return foldWindows(builder, loc, input, fill(builder, loc, type, getLowest(element)), window,
                     [&](ScalarBuilder &b, Value x, const Place &place, Value state) {
                       Value lowest = castSign(b, b.getLoc(), scalar(b, b.getLoc(), getLowest(element)), getSignless(element));
                       return maximum(b, {state, select(b, place.isInside, x, lowest)});
                     });
}

/// The linear index in the input of each maximum, the first one's.
Value findMaxima(OpBuilder &builder, Location loc, Value input, Value maxima, const Window &window, bool columnMajor) {
  ArrayRef<int64_t> shape = typeOf(input).getShape();
  auto type = RankedTensorType::get(typeOf(maxima).getShape(), builder.getI64Type());
  SmallVector<int64_t> counts(type.getShape());
  llvm::append_range(counts, window.kernel);
  int64_t rank = window.rank();
  return loop(builder, loc, counts, fill(builder, loc, type, -1), [&](ScalarBuilder &b, Indices indices, Value state) {
    Indices target = indices.drop_back(rank);
    Place place = locate(b, window, shape.drop_front(2), target.drop_front(2), indices.take_back(rank));
    SmallVector<Value> source(target.take_front(2));
    llvm::append_range(source, place.source);
    Value offset = indexConstant(b, 0);
    for (int64_t i = 0; i < rank + 2; ++i) {
      // The order concerns the spatial dimensions alone.
      int64_t axis = columnMajor && i >= 2 ? rank + 3 - i : i;
      Value scaled = arith::MulIOp::create(b, offset, indexConstant(b, shape[axis]));
      offset = arith::AddIOp::create(b, scaled, source[axis]);
    }
    Value x = readElement(b, input, source), top = readElement(b, maxima, target), known = readElement(b, state, target);
    Value isTop = isFloat(x) ? Value(arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, top))
                             : Value(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, top));
    Value isOpen = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, known, constant(b, b.getI64Type(), 0));
    Value found = arith::AndIOp::create(b, arith::AndIOp::create(b, isTop, place.isInside), isOpen);
    Value own = arith::IndexCastOp::create(b, b.getI64Type(), offset);
    return writeElement(b, select(b, found, own, known), state, target);
  });
}

struct MaxPoolPattern : OpRewritePattern<onnx::MaxPoolOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::MaxPoolOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getY());
    Window window = readWindow(op, op.getKernelShape(), type.getShape().drop_front(2), resultType.getShape().drop_front(2));
    Value result = maxPool(rewriter, loc, op.getX(), window, resultType);
    if (!isAbsent(op.getIndices()))
      rewriter.replaceAllUsesWith(op.getIndices(), findMaxima(rewriter, loc, op.getX(), result, window, op.getStorageOrder() != 0));
    rewriter.replaceAllUsesWith(op.getY(), result);
    rewriter.eraseOp(op);
    return success();
  }
};

/// The mean of each window; the padding counts if `includePad`, but what is beyond it (ceil_mode) never does.
Value averagePool(OpBuilder &builder, Location loc, Value input, const Window &window, RankedTensorType type, bool includePad) {
  Value init = fill(builder, loc, type, 0);
  Value sums = foldWindows(builder, loc, input, init, window, [](ScalarBuilder &b, Value x, const Place &place, Value state) {
    return sum(b, {state, select(b, place.isInside, x, constant(b, x.getType(), 0))});
  });
  Value counts = foldWindows(builder, loc, input, init, window, [&](ScalarBuilder &b, Value x, const Place &place, Value state) {
    Value one = constant(b, x.getType(), 1), zero = constant(b, x.getType(), 0);
    return sum(b, {state, select(b, includePad ? place.isPadded : place.isInside, one, zero)});
  });
  return elementwiseScalars(builder, loc, {sums, counts}, type,
                            [](ScalarBuilder &b, ValueRange args) -> Value { return arith::DivFOp::create(b, args[0], args[1]); });
}

struct AveragePoolPattern : OpRewritePattern<onnx::AveragePoolOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::AveragePoolOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getY());
    Window window = readWindow(op, op.getKernelShape(), type.getShape().drop_front(2), resultType.getShape().drop_front(2));
    rewriter.replaceOp(op, averagePool(rewriter, op.getLoc(), op.getX(), window, resultType, op.getCountIncludePad() != 0));
    return success();
  }
};

struct LpPoolPattern : OpRewritePattern<onnx::LpPoolOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::LpPoolOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getY());
    double p = op.getP();
    Window window = readWindow(op, op.getKernelShape(), type.getShape().drop_front(2), resultType.getShape().drop_front(2));
    Value sums = foldWindows(rewriter, loc, op.getX(), fill(rewriter, loc, resultType, 0), window,
                             [&](ScalarBuilder &b, Value x, const Place &place, Value state) {
                               Value power = math::PowFOp::create(b, math::AbsFOp::create(b, x), constant(b, x.getType(), p));
                               return sum(b, {state, select(b, place.isInside, power, constant(b, x.getType(), 0))});
                             });
    rewriter.replaceOp(op, elementwiseScalars(rewriter, loc, sums, resultType, [&](ScalarBuilder &b, ValueRange args) -> Value {
                         return math::PowFOp::create(b, args[0], constant(b, args[0].getType(), 1.0 / p));
                       }));
    return success();
  }
};

/// One window that is the whole input.
template <typename OpTy, bool isMax>
struct GlobalPoolPattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    ArrayRef<int64_t> sizes = typeOf(op.getX()).getShape().drop_front(2);
    SmallVector<int64_t> ones(sizes.size(), 1), zeros(sizes.size(), 0);
    Window window{SmallVector<int64_t>(sizes), ones, ones, zeros, zeros};
    RankedTensorType type = typeOf(op.getY());
    rewriter.replaceOp(op, isMax ? maxPool(rewriter, op.getLoc(), op.getX(), window, type)
                                 : averagePool(rewriter, op.getLoc(), op.getX(), window, type, false));
    return success();
  }
};

/// Adds the products of an input `[N, C, ...]` and weights `[M, C / group, ...]` to `init` `[N, M, ...]`.
Value convolve(OpBuilder &builder, Location loc, Value input, Value weights, Value init, const Window &window, int64_t group) {
  RankedTensorType type = typeOf(input), weightType = typeOf(weights);
  int64_t rank = window.rank(), channels = weightType.getDimSize(1), perGroup = weightType.getDimSize(0) / group;
  SmallVector<int64_t> counts(typeOf(init).getShape());
  counts.push_back(channels);
  llvm::append_range(counts, window.kernel);
  return loop(builder, loc, counts, init, [&](ScalarBuilder &b, Indices indices, Value state) {
    Indices target = indices.take_front(rank + 2), offsets = indices.take_back(rank);
    Value channel = indices[rank + 2];
    Place place = locate(b, window, type.getShape().drop_front(2), target.drop_front(2), offsets);
    Value first = arith::MulIOp::create(b, arith::DivUIOp::create(b, target[1], indexConstant(b, perGroup)), indexConstant(b, channels));
    SmallVector<Value> source{target[0], arith::AddIOp::create(b, first, channel)}, weight{target[1], channel};
    llvm::append_range(source, place.source);
    llvm::append_range(weight, offsets);
    Value x = readElement(b, input, source);
    Value term = product(b, {select(b, place.isInside, x, constant(b, x.getType(), 0)), readElement(b, weights, weight)});
    return writeElement(b, sum(b, {readElement(b, state, target), term}), state, target);
  });
}

/// The bias of each channel, or zeros, as `[N, M, ...]`.
Value spreadBias(OpBuilder &builder, Location loc, Value bias, RankedTensorType type) {
  if (isAbsent(bias))
    return fill(builder, loc, type, 0);
  return generate(builder, loc, type, [&](ScalarBuilder &b, Indices indices) { return readElement(b, bias, indices[1]); });
}

struct ConvPattern : OpRewritePattern<onnx::ConvOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConvOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getY());
    Window window = readWindow(op, typeOf(op.getW()).getShape().drop_front(2), typeOf(op.getX()).getShape().drop_front(2),
                               type.getShape().drop_front(2));
    Value init = spreadBias(rewriter, op.getLoc(), op.getB(), type);
    rewriter.replaceOp(op, convolve(rewriter, op.getLoc(), op.getX(), op.getW(), init, window, op.getGroup()));
    return success();
  }
};

struct ConvIntegerPattern : OpRewritePattern<onnx::ConvIntegerOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConvIntegerOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    RankedTensorType type = typeOf(op.getY());
    Window window = readWindow(op, typeOf(op.getW()).getShape().drop_front(2), typeOf(op.getX()).getShape().drop_front(2),
                               type.getShape().drop_front(2));
    Value input = centreIntegers(rewriter, loc, op.getX(), op.getXZeroPoint(), 0);
    Value weights = centreIntegers(rewriter, loc, op.getW(), op.getWZeroPoint(), typeOf(op.getW()).getRank() - 1);
    rewriter.replaceOp(op, convolve(rewriter, loc, input, weights, fill(rewriter, loc, type, 0), window, op.getGroup()));
    return success();
  }
};

/// Each element of the input adds its products with the weights `[C, M / group, ...]` to the result.
struct ConvTransposePattern : OpRewritePattern<onnx::ConvTransposeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConvTransposeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getX()), weightType = typeOf(op.getW()), resultType = typeOf(op.getY());
    int64_t rank = type.getRank() - 2, group = op.getGroup(), perGroup = type.getDimSize(1) / group, columns = weightType.getDimSize(1);
    Window window = readWindow(op, weightType.getShape().drop_front(2), type.getShape().drop_front(2), resultType.getShape().drop_front(2));
    placeResult(op, window, type, resultType);
    SmallVector<int64_t> counts(type.getShape());
    counts.push_back(columns);
    llvm::append_range(counts, window.kernel);
    Value init = spreadBias(rewriter, op.getLoc(), op.getB(), resultType);
    rewriter.replaceOp(op, loop(rewriter, op.getLoc(), counts, init, [&](ScalarBuilder &b, Indices indices, Value state) {
                         Indices source = indices.take_front(rank + 2), offsets = indices.take_back(rank);
                         Value column = indices[rank + 2];
                         SmallVector<Value> weight{source[1], column};
                         llvm::append_range(weight, offsets);
                         Value groupIndex = arith::DivUIOp::create(b, source[1], indexConstant(b, perGroup));
                         Value first = arith::MulIOp::create(b, groupIndex, indexConstant(b, columns));
                         SmallVector<Value> target{source[0], arith::AddIOp::create(b, first, column)};
                         Value isInside = scalar(b, b.getLoc(), b.getI1Type(), 1);
                         for (int64_t i = 0; i < rank; ++i) {
                           Value start = arith::MulIOp::create(b, source[i + 2], indexConstant(b, window.strides[i]));
                           Value step = arith::MulIOp::create(b, offsets[i], indexConstant(b, window.dilations[i]));
                           Value index = arith::SubIOp::create(b, arith::AddIOp::create(b, start, step), indexConstant(b, window.before[i]));
                           int64_t size = resultType.getDimSize(i + 2);
                           isInside = arith::AndIOp::create(b, isInside, arith::CmpIOp::create(b, arith::CmpIPredicate::ult, index, indexConstant(b, size)));
                           Value low = arith::MaxSIOp::create(b, index, indexConstant(b, 0));
                           target.push_back(arith::MinSIOp::create(b, low, indexConstant(b, size - 1)));
                         }
                         Value term = product(b, {readElement(b, op.getX(), source), readElement(b, op.getW(), weight)});
                         Value known = readElement(b, state, target);
                         return writeElement(b, select(b, isInside, sum(b, {known, term}), known), state, target);
                       }));
    return success();
  }

private:
  /// How much of what the windows cover is cut off before the result.
  static void placeResult(onnx::ConvTransposeOp op, Window &window, RankedTensorType type, RankedTensorType resultType) {
    StringRef mode = op.getAutoPad();
    bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
    if (!same && !(op.getOutputShape() && !op.getOutputShape()->empty()))
      return;
    for (int64_t i = 0; i < window.rank(); ++i) {
      int64_t extra = op.getOutputPadding() && !op.getOutputPadding()->empty() ? (*op.getOutputPadding())[i] : 0;
      int64_t extent = (window.kernel[i] - 1) * window.dilations[i] + 1;
      int64_t covered = window.strides[i] * (type.getDimSize(i + 2) - 1) + extra + extent;
      int64_t total = std::max<int64_t>(covered - resultType.getDimSize(i + 2), 0);
      window.before[i] = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
    }
  }
};

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` with the parameters of a channel.
struct BatchNormalizationPattern : OpRewritePattern<onnx::BatchNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::BatchNormalizationOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    if (op.getTrainingMode() != 0)
      return rewriter.notifyMatchFailure(op, "training is not supported");
    RankedTensorType type = typeOf(op.getX());
    double epsilon = op.getEpsilon().convertToFloat();
    Value result = generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) -> Value {
      auto parameter = [&](Value value) {
        return convert(b, readElement(b, value, indices[1]), typeOf(value).getElementType(), type.getElementType());
      };
      Value variance = arith::AddFOp::create(b, parameter(op.getInputVar()), constant(b, type.getElementType(), epsilon));
      Value centred = arith::SubFOp::create(b, readElement(b, op.getX(), indices), parameter(op.getInputMean()));
      Value normal = arith::DivFOp::create(b, centred, math::SqrtOp::create(b, variance));
      return arith::AddFOp::create(b, arith::MulFOp::create(b, normal, parameter(op.getScale())), parameter(op.getB()));
    });
    rewriter.replaceAllUsesWith(op.getY(), result);
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void populateWindowPatterns(RewritePatternSet &patterns) {
  patterns.add<MaxPoolPattern, AveragePoolPattern, LpPoolPattern, GlobalPoolPattern<onnx::GlobalMaxPoolOp, true>,
               GlobalPoolPattern<onnx::GlobalAveragePoolOp, false>, ConvPattern, ConvIntegerPattern, ConvTransposePattern,
               BatchNormalizationPattern>(patterns.getContext());
}

} // namespace elutq::normalize
