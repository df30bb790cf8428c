//===- AttentionToLoops.cpp - Attention on scalars, the reference ---------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AttentionLowering.h"

using namespace mlir;
using namespace elutq::lm;

namespace {

/// One part of one row at a time, one number at a time, in the order that the ops document.
struct ScalarEmitter : AttentionEmitter {
  Type f32Type;
  Value weights, values, lanes;

  template <typename OpTy>
  ScalarEmitter(OpBuilder &builder, OpTy op)
      : AttentionEmitter(builder, op), f32Type(builder.getF32Type()), weights(emitScratch(op, {part})),
        values(emitScratch(op, {headSize})), lanes(emitScratch(op, {kLanes})) {}

  /// The dot product of the scaled query with the key at `position`, scaled and capped.
  Value emitScoreAt(Value m, Value h, Value kvHead, Value at) {
    Value slot = rem(at, index(capacity)), block = div(slot, index(kKeyBlock)), lane = rem(slot, index(kKeyBlock));
    Value dot = fold(index(0), index(headSize), 1, f32(0.0f), [&](Value d, ValueRange sum) {
      Value scaled = mulf(load(f32Type, query, {m, h, d}), f32(scale));
      return SmallVector<Value>{fma(scaled, load(f32Type, key, {kvHead, block, d, lane}), sum[0])};
    })[0];
    return emitScore(dot, keyScales ? load(f32Type, keyScales, {kvHead, slot}) : Value());
  }

  /// Leaves the weighted sum of part `number` in `values`; gives its largest score and sum of exponentials.
  std::pair<Value, Value> emitPart(Value m, Value h, Value number) {
    Value kvHead = div(h, index(group)), start = mul(number, index(part));
    Value upper = emitUpper(m);
    Value first = maximum(emitLower(*this, upper, window), start), end = minimum(upper, add(start, index(part)));
    Value max = fold(first, end, 1, emitLowestScore(*this), [&](Value at, ValueRange state) {
      Value score = emitScoreAt(m, h, kvHead, at);
      store(score, weights, sub(at, start));
      return SmallVector<Value>{maxf(state[0], score)};
    })[0];
    loop(index(kLanes), [&](Value i) { store(f32(0.0f), lanes, i); });
    loop(first, end, 1, [&](Value at) {
      Value weight = exp(subf(load(f32Type, weights, sub(at, start)), max)), lane = rem(at, index(kLanes));
      store(addf(load(f32Type, lanes, lane), weight), lanes, lane);
      if (valueScales)
        weight = mulf(weight, load(f32Type, valueScales, {kvHead, rem(at, index(capacity))}));
      store(weight, weights, sub(at, start));
    });
    for (int64_t half = kLanes / 2; half > 0; half /= 2)
      loop(index(half), [&](Value i) {
        store(addf(load(f32Type, lanes, i), load(f32Type, lanes, add(i, index(half)))), lanes, i);
      });
    loop(index(headSize), [&](Value d) {
      Value sum = fold(first, end, 1, f32(0.0f), [&](Value at, ValueRange partial) {
        Value element = load(f32Type, value, {kvHead, rem(at, index(capacity)), d});
        return SmallVector<Value>{fma(load(f32Type, weights, sub(at, start)), element, partial[0])};
      })[0];
      store(sum, values, d);
    });
    return {max, load(f32Type, lanes, index(0))};
  }

  void emitAttention(Value init) {
    loop(dim(query, 0), [&](Value m) {
      loop(index(kvHeads * group), [&](Value h) {
        loop(index(headSize), [&](Value d) { store(f32(0.0f), init, {m, h, d}); });
        Value upper = emitUpper(m);
        auto [first, end] = emitParts(*this, emitLower(*this, upper, window), upper, part);
        SmallVector<Value> state{emitLowestScore(*this), f32(0.0f)};
        state = fold(first, end, 1, state, [&](Value number, ValueRange state) {
          auto [max, sum] = emitPart(m, h, number);
          Merged merged = emitMerge(*this, state[0], state[1], max, sum);
          loop(index(headSize), [&](Value d) {
            Value old = mulf(load(f32Type, init, {m, h, d}), merged.oldFactor);
            store(fma(load(f32Type, values, d), merged.partFactor, old), init, {m, h, d});
          });
          return SmallVector<Value>{merged.max, merged.sum};
        });
        Value inverse = divf(f32(1.0f), state[1]);
        loop(index(headSize), [&](Value d) {
          store(fma(load(f32Type, init, {m, h, d}), inverse, f32(0.0f)), init, {m, h, d});
        });
      });
    });
  }

  void emitAttentionParts(Value slot, int64_t slots, Value sums, Value stats) {
    Value upper = emitUpper(index(0));
    auto [first, end] = emitParts(*this, emitLower(*this, upper, window), upper, part);
    Value parts = sub(end, first), firstPart = first;
    loop(dim(sums, 0), [&](Value h) {
      loop(dim(sums, 1), [&](Value s) {
        auto [begin, end] = emitRun(*this, add(slot, s), slots, parts);
        Value start = begin;
        loop(start, end, 1, [&](Value i) {
          Value place = sub(i, start);
          auto [max, sum] = emitPart(index(0), h, add(firstPart, i));
          store(max, stats, {h, s, place, index(0)});
          store(sum, stats, {h, s, place, index(1)});
          loop(index(headSize), [&](Value d) { store(load(f32Type, values, d), sums, {h, s, place, d}); });
        });
      });
    });
  }
};

template <typename OpTy>
LogicalResult matchMemRefs(OpTy op, PatternRewriter &rewriter) {
  if (!isa<MemRefType>(op.getQuery().getType()))
    return rewriter.notifyMatchFailure(op, "not bufferized");
  return success();
}

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    if (failed(matchMemRefs(op, rewriter)))
      return failure();
    ScalarEmitter(rewriter, op).emitAttention(op.getInit());
    rewriter.eraseOp(op);
    return success();
  }
};

struct LowerAttentionParts : OpRewritePattern<AttentionPartsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionPartsOp op, PatternRewriter &rewriter) const override {
    if (failed(matchMemRefs(op, rewriter)))
      return failure();
    ScalarEmitter(rewriter, op).emitAttentionParts(op.getSlot(), op.getSlots(), op.getSums(), op.getStats());
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void elutq::lm::populateAttentionToLoopsPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerAttention, LowerAttentionParts>(patterns.getContext());
}
