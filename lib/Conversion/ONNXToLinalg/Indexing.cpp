//===- Indexing.cpp - Elements chosen by their indices --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

//
// Each element of a result is that of an operand, at indices that are computed from its own: Slice, Pad, Tile and the like. What says
// which (starts, pads, axes) may be computed by the graph; the shape of the result may not.
//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

Value add(ScalarBuilder &b, Value x, Value y) { return arith::AddIOp::create(b, x, y); }
Value subtract(ScalarBuilder &b, Value x, Value y) { return arith::SubIOp::create(b, x, y); }
Value multiply(ScalarBuilder &b, Value x, Value y) { return arith::MulIOp::create(b, x, y); }
Value select(ScalarBuilder &b, Value condition, Value x, Value y) { return arith::SelectOp::create(b, condition, x, y); }
Value compare(ScalarBuilder &b, arith::CmpIPredicate predicate, Value x, Value y) { return arith::CmpIOp::create(b, predicate, x, y); }

Value clamp(ScalarBuilder &b, Value x, int64_t low, int64_t high) {
  return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, x, indexConstant(b, low)), indexConstant(b, high));
}

/// For each dimension, the number of a list that stands for it; `axes` (absent: all in order) may be computed by the graph.
SmallVector<Value> spreadOverAxes(ScalarBuilder &b, Value numbers, Value axes, ArrayRef<int64_t> initial) {
  int64_t rank = initial.size(), count = typeOf(numbers).getNumElements();
  SmallVector<Value> result;
  for (int64_t number : initial)
    result.push_back(indexConstant(b, number));
  std::optional<SmallVector<int64_t>> constantAxes;
  if (!isAbsent(axes))
    constantAxes = getConstantInts(axes);
  for (int64_t k = 0; k < count; ++k) {
    Value number = readIndex(b, numbers, indexConstant(b, k));
    if (isAbsent(axes) || constantAxes) {
      result[isAbsent(axes) ? k : normalizeAxis((*constantAxes)[k], rank)] = number;
      continue;
    }
    Value axis = readIndex(b, axes, indexConstant(b, k), rank);
    for (int64_t i = 0; i < rank; ++i)
      result[i] = select(b, compare(b, arith::CmpIPredicate::eq, axis, indexConstant(b, i)), number, result[i]);
  }
  return result;
}

/// Slices whose bounds the graph computes, or that go backwards.
struct ComputedSlicePattern : OpRewritePattern<onnx::SliceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SliceOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getData());
    int64_t rank = type.getRank();
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), typeOf(op.getOutput()), [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> starts = spreadOverAxes(b, op.getStarts(), op.getAxes(), SmallVector<int64_t>(rank, 0));
                         SmallVector<Value> steps;
                         if (!isAbsent(op.getSteps()))
                           steps = spreadOverAxes(b, op.getSteps(), op.getAxes(), SmallVector<int64_t>(rank, 1));
                         SmallVector<Value> source;
                         for (int64_t i = 0; i < rank; ++i) {
                           int64_t size = type.getDimSize(i);
                           Value zero = indexConstant(b, 0);
                           Value start = select(b, compare(b, arith::CmpIPredicate::slt, starts[i], zero),
                                                add(b, starts[i], indexConstant(b, size)), starts[i]);
                           start = clamp(b, start, 0, steps.empty() ? size : size - 1);
                           source.push_back(add(b, start, steps.empty() ? indices[i] : multiply(b, indices[i], steps[i])));
                         }
                         return readElement(b, op.getData(), source);
                       }));
    return success();
  }
};

struct TilePattern : OpRewritePattern<onnx::TileOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TileOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), typeOf(op.getOutput()), [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> source;
                         for (auto [index, size] : llvm::zip_equal(indices, typeOf(op.getInput()).getShape()))
                           source.push_back(arith::RemUIOp::create(b, index, indexConstant(b, size)));
                         return readElement(b, op.getInput(), source);
                       }));
    return success();
  }
};

struct PadPattern : OpRewritePattern<onnx::PadOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::PadOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    StringRef mode = op.getMode();
    RankedTensorType type = typeOf(op.getData());
    int64_t rank = type.getRank();
    if (mode != "constant" && type.getNumElements() == 0)
      return rewriter.notifyMatchFailure(op, "there is nothing to pad with");
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), typeOf(op.getOutput()), [&](ScalarBuilder &b, Indices indices) -> Value {
                         // The first half of the pads are those before.
                         Value before = slice(b, b.getLoc(), op.getPads(), 0, b.getIndexAttr(0), typeOf(op.getPads()).getNumElements() / 2);
                         SmallVector<Value> pads = spreadOverAxes(b, before, op.getAxes(), SmallVector<int64_t>(rank, 0));
                         Value isInside = scalar(b, b.getLoc(), b.getI1Type(), 1);
                         SmallVector<Value> source;
                         for (int64_t i = 0; i < rank; ++i) {
                           int64_t size = type.getDimSize(i);
                           Value index = subtract(b, indices[i], pads[i]);
                           if (mode == "constant") {
                             Value fits = compare(b, arith::CmpIPredicate::ult, index, indexConstant(b, size));
                             isInside = arith::AndIOp::create(b, isInside, fits);
                           }
                           source.push_back(mode == "reflect" ? reflect(b, index, size)
                                            : mode == "wrap"  ? wrap(b, index, size)
                                                              : clamp(b, index, 0, std::max<int64_t>(size - 1, 0)));
                         }
                         if (mode != "constant")
                           return readElement(b, op.getData(), source);
                         Value filler = isAbsent(op.getConstantValue()) ? constant(b, type.getElementType(), 0)
                                                                        : readElement(b, reshape(b, b.getLoc(), op.getConstantValue(), {}), {});
                         if (type.getNumElements() == 0)
                           return filler;
                         return select(b, isInside, readElement(b, op.getData(), source), filler);
                       }));
    return success();
  }

private:
  static Value wrap(ScalarBuilder &b, Value index, int64_t size) {
    Value count = indexConstant(b, size);
    Value rest = arith::RemSIOp::create(b, index, count);
    return select(b, compare(b, arith::CmpIPredicate::slt, rest, indexConstant(b, 0)), add(b, rest, count), rest);
  }

  /// There and back again: 0 1 2 1 0 1 2 ...
  static Value reflect(ScalarBuilder &b, Value index, int64_t size) {
    int64_t period = std::max<int64_t>(2 * size - 2, 1);
    Value phase = wrap(b, index, period);
    return arith::MinUIOp::create(b, phase, subtract(b, indexConstant(b, period), phase));
  }
};

struct GatherElementsPattern : OpRewritePattern<onnx::GatherElementsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherElementsOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getData());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank());
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), typeOf(op.getOutput()), [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> source(indices);
                         source[axis] = readIndex(b, op.getIndices(), indices, type.getDimSize(axis));
                         return readElement(b, op.getData(), source);
                       }));
    return success();
  }
};

struct GatherNDPattern : OpRewritePattern<onnx::GatherNDOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherNDOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getData()), indexType = typeOf(op.getIndices());
    int64_t batch = op.getBatchDims(), depth = indexType.getShape().back(), outer = indexType.getRank() - 1;
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), typeOf(op.getOutput()), [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> source(indices.take_front(batch)), at(indices.take_front(outer));
                         at.push_back(nullptr);
                         for (int64_t i = 0; i < depth; ++i) {
                           at.back() = indexConstant(b, i);
                           source.push_back(readIndex(b, op.getIndices(), at, type.getDimSize(batch + i)));
                         }
                         llvm::append_range(source, indices.drop_front(outer));
                         return readElement(b, op.getData(), source);
                       }));
    return success();
  }
};

struct TriluPattern : OpRewritePattern<onnx::TriluOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TriluOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getOutput());
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) {
                         Value k = isAbsent(op.getK()) ? indexConstant(b, 0) : readIndex(b, reshape(b, b.getLoc(), op.getK(), {}), {});
                         Value diagonal = subtract(b, indices.back(), indices[indices.size() - 2]);
                         Value kept = compare(b, op.getUpper() ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle, diagonal, k);
                         return select(b, kept, readElement(b, op.getInput(), indices), constant(b, type.getElementType(), 0));
                       }));
    return success();
  }
};

struct EyeLikePattern : OpRewritePattern<onnx::EyeLikeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::EyeLikeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getOutput());
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) {
                         Value isOne = compare(b, arith::CmpIPredicate::eq, subtract(b, indices[1], indices[0]), indexConstant(b, op.getK()));
                         return select(b, isOne, constant(b, type.getElementType(), 1), constant(b, type.getElementType(), 0));
                       }));
    return success();
  }
};

struct OneHotPattern : OpRewritePattern<onnx::OneHotOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::OneHotOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getOutput());
    Type indexType = typeOf(op.getIndices()).getElementType();
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank());
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> at(indices);
                         at.erase(at.begin() + axis);
                         Value hot = convert(b, readElement(b, op.getIndices(), at), indexType, b.getI64Type());
                         Value depth = constant(b, b.getI64Type(), type.getDimSize(axis));
                         Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, hot, constant(b, b.getI64Type(), 0));
                         hot = select(b, negative, add(b, hot, depth), hot);
                         Value own = arith::IndexCastOp::create(b, b.getI64Type(), indices[axis]);
                         Value isHot = compare(b, arith::CmpIPredicate::eq, own, hot);
                         return readElement(b, op.getValues(), select(b, isHot, indexConstant(b, 1), indexConstant(b, 0)));
                       }));
    return success();
  }
};

/// `start + i * delta`, in the type of the result.
struct RangePattern : OpRewritePattern<onnx::RangeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::RangeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getOutput());
    Type element = type.getElementType();
    bool isNarrow = isa<FloatType>(element) && element.getIntOrFloatBitWidth() < 32;
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) {
                         Type wide = isNarrow ? Type(b.getF32Type()) : element;
                         auto read = [&](Value value) {
                           return convert(b, readElement(b, reshape(b, b.getLoc(), value, {}), {}), element, wide);
                         };
                         Value i = arith::IndexCastOp::create(b, b.getI64Type(), indices[0]);
                         Value offset = product(b, {convert(b, i, b.getI64Type(), wide), read(op.getDelta())});
                         return convert(b, sum(b, {read(op.getStart()), offset}), wide, element);
                       }));
    return success();
  }
};

struct ReverseSequencePattern : OpRewritePattern<onnx::ReverseSequenceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ReverseSequenceOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    int64_t time = op.getTimeAxis(), batch = op.getBatchAxis();
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), typeOf(op.getY()), [&](ScalarBuilder &b, Indices indices) {
                         Value length = readIndex(b, op.getSequenceLens(), indices[batch]);
                         Value mirrored = subtract(b, subtract(b, length, indexConstant(b, 1)), indices[time]);
                         SmallVector<Value> source(indices);
                         source[time] = select(b, compare(b, arith::CmpIPredicate::slt, indices[time], length), mirrored, indices[time]);
                         return readElement(b, op.getInput(), source);
                       }));
    return success();
  }
};

/// The shape is known from elsewhere where the operand is not constant.
struct ConstantOfShapePattern : OpRewritePattern<onnx::ConstantOfShapeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConstantOfShapeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getOutput());
    TypedAttr number = cast<TypedAttr>(rewriter.getZeroAttr(type.getElementType()));
    if (std::optional<ElementsAttr> value = op.getValue()) {
      auto dense = dyn_cast<DenseElementsAttr>(*value);
      if (!dense || dense.getNumElements() != 1)
        return rewriter.notifyMatchFailure(op, "expected one value");
      number = cast<TypedAttr>(*dense.value_begin<Attribute>());
    }
    rewriter.replaceOp(op, fill(rewriter, op.getLoc(), type, number));
    return success();
  }
};

/// In inference, the data as they are, and a mask of ones.
struct DropoutPattern : OpRewritePattern<onnx::DropoutOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::DropoutOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    bool mayTrain = !isAbsent(op.getTrainingMode()) && getConstantNumber(op.getTrainingMode()).value_or(1) != 0;
    if (mayTrain && getConstantNumber(op.getRatio()).value_or(1) != 0)
      return rewriter.notifyMatchFailure(op, "training is not supported");
    Value mask = isAbsent(op.getMask()) ? op.getMask() : fill(rewriter, op.getLoc(), typeOf(op.getMask()), 1);
    rewriter.replaceAllUsesWith(op.getOutput(), op.getData());
    if (!isAbsent(op.getMask()))
      rewriter.replaceAllUsesWith(op.getMask(), mask);
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void populateIndexingPatterns(RewritePatternSet &patterns) {
  // Slices with known bounds move no data.
  patterns.add<ComputedSlicePattern>(patterns.getContext(), /*benefit=*/0);
  patterns.add<TilePattern, PadPattern, GatherElementsPattern, GatherNDPattern, TriluPattern, EyeLikePattern, OneHotPattern,
               RangePattern, ReverseSequencePattern, ConstantOfShapePattern, DropoutPattern>(patterns.getContext());
}

} // namespace elutq::normalize
