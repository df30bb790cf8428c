//===- AttentionLowering.cpp - Shared by the lowerings of attention -------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AttentionLowering.h"

using namespace mlir;
using namespace elutq::lm;

Merged elutq::lm::emitMerge(Emitter &emit, Value max, Value sum, Value partMax, Value partSum) {
  Merged result;
  result.max = emit.maxf(max, partMax);
  result.oldFactor = emit.exp(emit.subf(max, result.max));
  result.partFactor = emit.exp(emit.subf(partMax, result.max));
  result.sum = emit.fma(partSum, result.partFactor, emit.mulf(sum, result.oldFactor));
  return result;
}

Value elutq::lm::emitLowestScore(Emitter &emit) { return emit.f32(std::numeric_limits<float>::lowest()); }

std::pair<Value, Value> elutq::lm::emitRun(Emitter &emit, Value slot, int64_t slots, Value parts) {
  auto begin = [&](Value number) { return emit.div(emit.mul(number, parts), emit.index(slots)); };
  Value first = begin(slot);
  return {first, begin(emit.add(slot, emit.index(1)))};
}

Value elutq::lm::emitLower(Emitter &emit, Value upper, int64_t window) {
  Value zero = emit.index(0);
  return window > 0 ? emit.maximum(emit.sub(upper, emit.index(window)), zero) : zero;
}

std::pair<Value, Value> elutq::lm::emitParts(Emitter &emit, Value lower, Value upper, int64_t part) {
  return {emit.div(lower, emit.index(part)), emit.div(emit.add(upper, emit.index(part - 1)), emit.index(part))};
}

Value AttentionEmitter::emitScore(Value dot, Value scales) {
  Value score = scales ? mulf(dot, scales) : dot;
  if (softcap <= 0)
    return score;
  Value bound = splat(score.getType(), softcap);
  return mulf(math::TanhOp::create(b, loc, divf(score, bound)), bound);
}
