//===- AttentionToVector.cpp - lm.attention on vectors --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// One row of one head at a time, 16 keys at a time. The running maximum and sum are carried in registers; the weighted sum
// of values is kept in the result row itself, which stays in the L1 cache: a head of 256 does not fit into registers.
//
//===----------------------------------------------------------------------===//

#include "LMLowering.h"

using namespace mlir;
using namespace elutq::lm;

namespace {

/// Emits the loops for one op; fields are the values that all parts need.
struct AttentionEmitter : Emitter {
  AttentionOp op;
  VectorType vector;
  int64_t headSize;
  Value m, h, kvHead;

  AttentionEmitter(OpBuilder &builder, AttentionOp op)
      : Emitter{builder, op.getLoc()}, op(op), vector(VectorType::get({kLanes}, builder.getF32Type())),
        headSize(cast<MemRefType>(op.getQuery().getType()).getDimSize(2)) {}

  /// Lanes `2i` plus `2i + 1` of `x`, then of `y`. Four such steps turn 16 vectors into one of their 16 sums.
  Value addPairs(Value x, Value y) {
    SmallVector<int64_t> even, odd;
    for (int64_t i = 0; i < kLanes; ++i) {
      even.push_back(2 * i);
      odd.push_back(2 * i + 1);
    }
    return addf(vector::ShuffleOp::create(b, loc, x, y, even), vector::ShuffleOp::create(b, loc, x, y, odd));
  }

  /// Reduces the lanes of `x` in a fixed tree.
  Value reduce(Value x, llvm::function_ref<Value(Value, Value)> combine) {
    for (int64_t lanes = kLanes / 2; lanes > 0; lanes /= 2) {
      auto half = [&](int64_t offset) -> Value {
        if (lanes == 1)
          return vector::ExtractOp::create(b, loc, x, offset);
        return vector::ExtractStridedSliceOp::create(b, loc, x, ArrayRef<int64_t>{offset}, ArrayRef<int64_t>{lanes},
                                                     ArrayRef<int64_t>{1});
      };
      Value low = half(0), high = half(lanes);
      x = combine(low, high);
    }
    return x;
  }

  /// The dot products of the query row with the 16 keys from slot `slot` on.
  Value emitScores(Value slot) {
    // Four keys at a time: enough independent sums to hide the latency of fma, few enough for 16 registers.
    constexpr int64_t kKeys = 4;
    SmallVector<Value> sums;
    for (int64_t first = 0; first < kLanes; first += kKeys) {
      SmallVector<Value> slots;
      for (int64_t i = 0; i < kKeys; ++i)
        slots.push_back(add(slot, index(first + i)));
      SmallVector<Value> zeros(kKeys, splat(vector, 0.0f));
      llvm::append_range(sums, fold(index(0), index(headSize), kLanes, zeros, [&](Value d, ValueRange partial) {
                           Value query = load(vector, op.getQuery(), {m, h, d});
                           SmallVector<Value> next;
                           for (int64_t i = 0; i < kKeys; ++i)
                             next.push_back(fma(query, load(vector, op.getKey(), {kvHead, slots[i], d}), partial[i]));
                           return next;
                         }));
    }
    while (sums.size() > 1) {
      SmallVector<Value> pairs;
      for (size_t i = 0; i < sums.size(); i += 2)
        pairs.push_back(addPairs(sums[i], sums[i + 1]));
      sums = std::move(pairs);
    }
    Value scores = mulf(sums.front(), splat(vector, op.getScale().convertToFloat()));
    float softcap = op.getSoftcap().convertToFloat();
    if (softcap > 0) {
      Value scaled = divf(scores, splat(vector, softcap));
      scores = mulf(math::TanhOp::create(b, loc, scaled), splat(vector, softcap));
    }
    return scores;
  }

  /// Replaces the scores of positions outside [lower, upper) by minus infinity.
  Value emitMask(Value scores, Value start, Value lower, Value upper) {
    auto indices = VectorType::get({kLanes}, b.getIndexType());
    Value lanes = vector::StepOp::create(b, loc, indices);
    auto compare = [&](arith::CmpIPredicate predicate, Value bound) -> Value {
      return arith::CmpIOp::create(b, loc, predicate, lanes, broadcast(indices, sub(bound, start)));
    };
    Value visible = arith::AndIOp::create(b, loc, compare(arith::CmpIPredicate::sge, lower),
                                          compare(arith::CmpIPredicate::slt, upper));
    return arith::SelectOp::create(b, loc, visible, scores, splat(vector, -std::numeric_limits<float>::infinity()));
  }

  /// `init[m, h, :] = init[m, h, :] * correction + sum over the visible keys i of weights[i] * value[i, :]`.
  void emitValues(Value correction, Value weights, Value slot, Value firstKey, Value endKey) {
    int64_t chunks = headSize / kLanes, unroll = chunks % 4 == 0 ? 4 : chunks % 2 == 0 ? 2 : 1;
    Value factor = broadcast(vector, correction);
    loop(index(0), index(headSize), unroll * kLanes, [&](Value d) {
      SmallVector<Value> offsets, sums;
      for (int64_t u = 0; u < unroll; ++u) {
        offsets.push_back(add(d, index(u * kLanes)));
        sums.push_back(mulf(load(vector, op.getInit(), {m, h, offsets[u]}), factor));
      }
      // Masked keys are not read: a slot that was never written may hold anything, and 0 * NaN is NaN.
      sums = fold(firstKey, endKey, 1, sums, [&](Value i, ValueRange partial) {
        Value weight = broadcast(vector, memref::LoadOp::create(b, loc, weights, i));
        Value row = add(slot, i);
        SmallVector<Value> next;
        for (int64_t u = 0; u < unroll; ++u)
          next.push_back(fma(weight, load(vector, op.getValue(), {kvHead, row, offsets[u]}), partial[u]));
        return next;
      });
      for (int64_t u = 0; u < unroll; ++u)
        store(sums[u], op.getInit(), {m, h, offsets[u]});
    });
  }

  /// All keys of row `m` of head `h`. `weights` is scratch space for 16 floats.
  void emitRow(Value weights) {
    Value position = add(op.getPosition(), m), upper = add(position, index(1)), lower = index(0);
    if (op.getWindow() > 0)
      lower = maximum(sub(upper, index(op.getWindow())), index(0));
    loop(index(0), index(headSize), kLanes,
         [&](Value d) { store(splat(vector, 0.0f), op.getInit(), {m, h, d}); });

    Value capacity = dim(op.getKey(), 1), lanes = index(kLanes);
    // A finite start: -inf less -inf would be NaN, and the first correction has to be 0.
    SmallVector<Value> state{f32(-1.0e30f), f32(0.0f)};
    state = fold(sub(lower, rem(lower, lanes)), upper, kLanes, state, [&](Value start, ValueRange state) {
      Value slot = rem(start, capacity);
      Value scores = emitMask(emitScores(slot), start, lower, upper);
      Value blockMax = reduce(scores, [&](Value x, Value y) { return maxf(x, y); });
      Value maximumScore = maxf(state[0], blockMax);
      Value correction = exp(subf(state[0], maximumScore));
      Value powers = exp(subf(scores, broadcast(vector, maximumScore)));
      vector::StoreOp::create(b, loc, powers, weights, ValueRange{index(0)});
      Value sum = fma(state[1], correction, reduce(powers, [&](Value x, Value y) { return addf(x, y); }));
      emitValues(correction, weights, slot, maximum(sub(lower, start), index(0)), minimum(sub(upper, start), lanes));
      return SmallVector<Value>{maximumScore, sum};
    });

    Value inverse = broadcast(vector, divf(f32(1.0f), state[1]));
    loop(index(0), index(headSize), kLanes, [&](Value d) {
      store(mulf(load(vector, op.getInit(), {m, h, d}), inverse), op.getInit(), {m, h, d});
    });
  }
};

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    auto query = dyn_cast<MemRefType>(op.getQuery().getType()), key = dyn_cast<MemRefType>(op.getKey().getType());
    if (!query || !key)
      return rewriter.notifyMatchFailure(op, "not bufferized");
    if (op.getBlock() != kLanes || query.getDimSize(2) % kLanes != 0)
      return rewriter.notifyMatchFailure(op, "head size or block does not fit 16 lanes");
    if (query.isDynamicDim(1) || key.isDynamicDim(0))
      return rewriter.notifyMatchFailure(op, "dynamic number of heads");

    Value weights;
    {
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPointToStart(&op->getParentOfType<FunctionOpInterface>().getFunctionBody().front());
      weights = memref::AllocaOp::create(rewriter, op.getLoc(), MemRefType::get({kLanes}, rewriter.getF32Type()),
                                         rewriter.getI64IntegerAttr(64));
    }
    AttentionEmitter emit(rewriter, op);
    Value group = emit.index(query.getDimSize(1) / key.getDimSize(0));
    emit.loop(emit.dim(op.getQuery(), 1), [&](Value h) {
      emit.h = h;
      emit.kvHead = arith::DivUIOp::create(rewriter, op.getLoc(), h, group);
      emit.loop(emit.dim(op.getQuery(), 0), [&](Value m) {
        emit.m = m;
        emit.emitRow(weights);
      });
    });
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void elutq::lm::populateAttentionToVectorPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<LowerAttention>(patterns.getContext(), benefit);
}
