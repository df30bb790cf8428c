//===- Scatter.cpp - Elements written one after the other -----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

//
// ScatterElements, ScatterND, TensorScatter, CumSum, CumProd, TopK, Compress: loops in which a step depends on those before it.
//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// What a scatter writes: the update, or that and what is there.
FailureOr<Value (*)(ScalarBuilder &, ValueRange)> getReduction(StringRef name) {
  using Combine = Value (*)(ScalarBuilder &, ValueRange);
  if (name == "none")
    return Combine(nullptr);
  if (name == "add")
    return Combine(sum);
  if (name == "mul")
    return Combine(product);
  if (name == "max")
    return Combine(maximum);
  if (name == "min")
    return Combine(minimum);
  return failure();
}

template <typename Combine>
Value scatter(ScalarBuilder &b, Value update, Value state, Indices target, Combine combine) {
  if (combine)
    update = combine(b, {readElement(b, state, target), update});
  return writeElement(b, update, state, target);
}

struct ScatterElementsPattern : OpRewritePattern<onnx::ScatterElementsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ScatterElementsOp op, PatternRewriter &rewriter) const override {
    auto combine = getReduction(op.getReduction());
    if (failed(verifyStatic(rewriter, op)) || failed(combine))
      return failure();
    RankedTensorType type = typeOf(op.getData());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank());
    rewriter.replaceOp(op, loop(rewriter, op.getLoc(), typeOf(op.getIndices()).getShape(), op.getData(),
                                [&](ScalarBuilder &b, Indices indices, Value state) {
                                  SmallVector<Value> target(indices);
                                  target[axis] = readIndex(b, op.getIndices(), indices, type.getDimSize(axis));
                                  return scatter(b, readElement(b, op.getUpdates(), indices), state, target, *combine);
                                }));
    return success();
  }
};

struct ScatterNDPattern : OpRewritePattern<onnx::ScatterNDOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ScatterNDOp op, PatternRewriter &rewriter) const override {
    auto combine = getReduction(op.getReduction());
    if (failed(verifyStatic(rewriter, op)) || failed(combine))
      return failure();
    RankedTensorType type = typeOf(op.getData()), indexType = typeOf(op.getIndices());
    int64_t outer = indexType.getRank() - 1, depth = indexType.getShape().back();
    rewriter.replaceOp(op, loop(rewriter, op.getLoc(), typeOf(op.getUpdates()).getShape(), op.getData(),
                                [&](ScalarBuilder &b, Indices indices, Value state) {
                                  SmallVector<Value> target, at(indices.take_front(outer));
                                  at.push_back(nullptr);
                                  for (int64_t i = 0; i < depth; ++i) {
                                    at.back() = indexConstant(b, i);
                                    target.push_back(readIndex(b, op.getIndices(), at, type.getDimSize(i)));
                                  }
                                  llvm::append_range(target, indices.drop_front(outer));
                                  return scatter(b, readElement(b, op.getUpdates(), indices), state, target, *combine);
                                }));
    return success();
  }
};

/// Writes `update` into the cache from `write_indices[batch]` on (0 where absent), round in a ring if `circular`.
struct TensorScatterPattern : OpRewritePattern<onnx::TensorScatterOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TensorScatterOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getPastCache());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank()), size = type.getDimSize(axis);
    if (axis == 0)
      return rewriter.notifyMatchFailure(op, "the axis must not be that of the batch");
    bool isRing = op.getMode() == "circular";
    rewriter.replaceOp(op, loop(rewriter, op.getLoc(), typeOf(op.getUpdate()).getShape(), op.getPastCache(),
                                [&](ScalarBuilder &b, Indices indices, Value state) {
                                  SmallVector<Value> target(indices);
                                  if (!isAbsent(op.getWriteIndices())) {
                                    Value first = readIndex(b, op.getWriteIndices(), indices[0]);
                                    target[axis] = arith::AddIOp::create(b, first, indices[axis]);
                                  }
                                  // Beyond the end is an error of the caller; it must not write elsewhere.
                                  target[axis] = isRing ? Value(arith::RemUIOp::create(b, target[axis], indexConstant(b, size)))
                                                        : Value(arith::MinUIOp::create(b, target[axis], indexConstant(b, size - 1)));
                                  return writeElement(b, readElement(b, op.getUpdate(), indices), state, target);
                                }));
    return success();
  }
};

/// CumSum and CumProd along an axis that the graph may compute.
template <typename OpTy>
struct CumulativePattern : OpRewritePattern<OpTy> {
  using Combine = Value (*)(ScalarBuilder &, ValueRange);
  CumulativePattern(MLIRContext *context, double initial, Combine combine)
      : OpRewritePattern<OpTy>(context), initial(initial), combine(combine) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getX());
    int64_t rank = type.getRank();
    if (std::optional<double> given = getConstantNumber(op.getAxis())) {
      rewriter.replaceOp(op, accumulate(rewriter, op, normalizeAxis(static_cast<int64_t>(*given), rank)));
      return success();
    }
    // The graph computes the axis: the result for each, of which one is taken.
    SmallVector<Value> results;
    for (int64_t axis = 0; axis < rank; ++axis)
      results.push_back(accumulate(rewriter, op, axis));
    Value number = reshape(rewriter, op.getLoc(), op.getAxis(), {});
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) {
                         Value axis = readIndex(b, number, {}, rank), element = readElement(b, results[0], indices);
                         for (int64_t i = 1; i < rank; ++i) {
                           Value isOwn = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, axis, indexConstant(b, i));
                           element = arith::SelectOp::create(b, isOwn, readElement(b, results[i], indices), element);
                         }
                         return element;
                       }));
    return success();
  }

private:
  Value accumulate(OpBuilder &builder, OpTy op, int64_t axis) const {
    RankedTensorType type = typeOf(op.getX());
    int64_t size = type.getDimSize(axis);
    bool reverse = op.getReverse() != 0, exclusive = op.getExclusive() != 0;
    Value init = fill(builder, op.getLoc(), type, initial);
    return loop(builder, op.getLoc(), type.getShape(), init, [&](ScalarBuilder &b, Indices indices, Value state) {
      Value last = indexConstant(b, size - 1), one = indexConstant(b, 1);
      SmallVector<Value> target(indices), before(indices), source(indices);
      if (reverse)
        target[axis] = arith::SubIOp::create(b, last, indices[axis]);
      before[axis] = reverse ? Value(arith::AddIOp::create(b, target[axis], one)) : Value(arith::SubIOp::create(b, target[axis], one));
      Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, indices[axis], indexConstant(b, 0));
      before[axis] = arith::SelectOp::create(b, isFirst, target[axis], before[axis]);
      source = exclusive ? before : target;
      Value start = constant(b, type.getElementType(), initial);
      Value sumSoFar = arith::SelectOp::create(b, isFirst, start, readElement(b, state, before));
      Value element = readElement(b, op.getX(), source);
      if (exclusive)
        element = arith::SelectOp::create(b, isFirst, start, element);
      return writeElement(b, combine(b, {sumSoFar, element}), state, target);
    });
  }

  double initial;
  Combine combine;
};

/// The rank of each element among those of its row says where it goes; equal ones keep their order.
struct TopKPattern : OpRewritePattern<onnx::TopKOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TopKOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    RankedTensorType type = typeOf(op.getX()), resultType = typeOf(op.getValues());
    Type element = type.getElementType(), i64 = rewriter.getI64Type();
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank()), size = type.getDimSize(axis), k = resultType.getDimSize(axis);
    bool largest = op.getLargest() != 0;
    SmallVector<int64_t> counts(type.getShape());
    counts.push_back(size);
    Value ranks = loop(rewriter, loc, counts, fill(rewriter, loc, RankedTensorType::get(type.getShape(), i64), 0),
                       [&](ScalarBuilder &b, Indices indices, Value state) {
                         Indices own = indices.drop_back();
                         SmallVector<Value> other(own);
                         other[axis] = indices.back();
                         Value x = readElement(b, op.getX(), own), y = readElement(b, op.getX(), other);
                         Value before, equal;
                         if (isFloat(x)) {
                           before = arith::CmpFOp::create(b, largest ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, y, x);
                           equal = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, y, x);
                         } else {
                           bool isUnsigned = isUnsignedType(element);
                           auto greater = isUnsigned ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::sgt;
                           auto less = isUnsigned ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt;
                           before = arith::CmpIOp::create(b, largest ? greater : less, y, x);
                           equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, y, x);
                         }
                         Value isEarlier = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, indices.back(), own[axis]);
                         before = arith::OrIOp::create(b, before, arith::AndIOp::create(b, equal, isEarlier));
                         Value count = arith::AddIOp::create(b, readElement(b, state, own), arith::ExtUIOp::create(b, i64, before));
                         return writeElement(b, count, state, own);
                       });
    auto collect = [&](Value init, function_ref<Value(ScalarBuilder &, Indices)> element) {
      return loop(rewriter, loc, type.getShape(), init, [&](ScalarBuilder &b, Indices indices, Value state) {
        Value rank = readIndex(b, ranks, indices);
        Value isTop = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, rank, indexConstant(b, k));
        SmallVector<Value> target(indices);
        target[axis] = arith::MinUIOp::create(b, rank, indexConstant(b, std::max<int64_t>(k - 1, 0)));
        Value number = arith::SelectOp::create(b, isTop, element(b, indices), readElement(b, state, target));
        return writeElement(b, number, state, target);
      });
    };
    if (k == 0)
      return rewriter.notifyMatchFailure(op, "k must not be 0");
    Value values = collect(fill(rewriter, loc, resultType, 0), [&](ScalarBuilder &b, Indices indices) { return readElement(b, op.getX(), indices); });
    Value indices = collect(fill(rewriter, loc, typeOf(op.getIndices()), 0), [&](ScalarBuilder &b, Indices at) -> Value {
      return arith::IndexCastOp::create(b, i64, at[axis]);
    });
    rewriter.replaceOp(op, {values, indices});
    return success();
  }
};

/// Slices (or, without an axis, elements) for which the condition holds; their number has to be known.
struct CompressPattern : OpRewritePattern<onnx::CompressOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::CompressOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    RankedTensorType type = typeOf(op.getInput()), resultType = typeOf(op.getOutput());
    Value input = op.getInput();
    int64_t axis = 0;
    if (std::optional<uint64_t> given = op.getAxis()) {
      axis = normalizeAxis(static_cast<int64_t>(*given), type.getRank());
    } else {
      input = reshape(rewriter, loc, input, {type.getNumElements()});
    }
    int64_t count = std::min(typeOf(op.getCondition()).getNumElements(), typeOf(input).getDimSize(axis)), kept = resultType.getDimSize(axis);
    if (kept == 0)
      return rewriter.notifyMatchFailure(op, "the result must not be empty");
    // chosen[j] is the index of the j-th slice; the last element counts them.
    auto chosenType = RankedTensorType::get({kept + 1}, rewriter.getI64Type());
    Value chosen = loop(rewriter, loc, {count}, fill(rewriter, loc, chosenType, 0), [&](ScalarBuilder &b, Indices indices, Value state) {
      Value counter = indexConstant(b, kept), found = readIndex(b, state, counter);
      Value isChosen = readElement(b, op.getCondition(), indices);
      Value fits = arith::AndIOp::create(b, isChosen, arith::CmpIOp::create(b, arith::CmpIPredicate::ult, found, counter));
      Value target = arith::MinUIOp::create(b, found, indexConstant(b, kept - 1));
      Value own = arith::IndexCastOp::create(b, b.getI64Type(), indices[0]);
      state = writeElement(b, arith::SelectOp::create(b, fits, own, readElement(b, state, target)), state, target);
      Value next = arith::AddIOp::create(b, readElement(b, state, counter), arith::ExtUIOp::create(b, b.getI64Type(), fits));
      return writeElement(b, next, state, counter);
    });
    rewriter.replaceOp(op, generate(rewriter, loc, resultType, [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> source(indices);
                         source[axis] = readIndex(b, chosen, indices[axis]);
                         return readElement(b, input, source);
                       }));
    return success();
  }
};

} // namespace

void populateScatterPatterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add<ScatterElementsPattern, ScatterNDPattern, TensorScatterPattern, TopKPattern, CompressPattern>(context);
  patterns.add(std::make_unique<CumulativePattern<onnx::CumSumOp>>(context, 0.0, sum));
  patterns.add(std::make_unique<CumulativePattern<onnx::CumProdOp>>(context, 1.0, product));
}

} // namespace elutq::normalize
