//===- MergeParts.cpp - lm.merge_parts on vectors or scalars --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AttentionLowering.h"

using namespace mlir;
using namespace elutq::lm;

namespace {

struct LowerMergeParts : OpRewritePattern<MergePartsOp> {
  LowerMergeParts(MLIRContext *context, bool vectors) : OpRewritePattern(context), vectors(vectors) {}

  LogicalResult matchAndRewrite(MergePartsOp op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<MemRefType>(op.getSums().getType());
    if (!type)
      return rewriter.notifyMatchFailure(op, "not bufferized");
    Emitter emit{rewriter, op.getLoc()};
    Type f32 = rewriter.getF32Type();
    int64_t slots = type.getDimSize(1);
    Value sums = op.getSums(), stats = op.getStats(), init = op.getInit(), zero = emit.index(0);
    auto eachChunk = [&](llvm::function_ref<void(Value, Type)> body) {
      if (vectors)
        emit.forEachChunk(type.getDimSize(3), f32, body);
      else
        emit.loop(emit.index(type.getDimSize(3)), [&](Value d) { body(d, f32); });
    };

    Value upper = emit.add(op.getPosition(), emit.index(1));
    auto [first, end] = emitParts(emit, emitLower(emit, upper, op.getWindow()), upper, op.getPart());
    Value parts = emit.sub(end, first);
    emit.loop(emit.dim(sums, 0), [&](Value h) {
      eachChunk([&](Value d, Type chunk) { emit.store(emit.splat(chunk, 0.0f), init, {zero, h, d}); });
      SmallVector<Value> state{emitLowestScore(emit), emit.f32(0.0f)};
      state = emit.fold(zero, emit.index(slots), 1, state, [&](Value slot, ValueRange before) {
        auto [begin, end] = emitRun(emit, slot, slots, parts);
        return emit.fold(zero, emit.sub(end, begin), 1, before, [&](Value place, ValueRange state) {
          Merged merged = emitMerge(emit, state[0], state[1], emit.load(f32, stats, {h, slot, place, zero}),
                                    emit.load(f32, stats, {h, slot, place, emit.index(1)}));
          eachChunk([&](Value d, Type chunk) {
            Value old = emit.mulf(emit.load(chunk, init, {zero, h, d}), emit.broadcast(chunk, merged.oldFactor));
            Value sum = emit.load(chunk, sums, {h, slot, place, d});
            emit.store(emit.fma(sum, emit.broadcast(chunk, merged.partFactor), old), init, {zero, h, d});
          });
          return SmallVector<Value>{merged.max, merged.sum};
        });
      });
      Value inverse = emit.divf(emit.f32(1.0f), state[1]);
      eachChunk([&](Value d, Type chunk) {
        Value result = emit.fma(emit.load(chunk, init, {zero, h, d}), emit.broadcast(chunk, inverse), emit.splat(chunk, 0.0f));
        emit.store(result, init, {zero, h, d});
      });
    });
    rewriter.eraseOp(op);
    return success();
  }

  bool vectors;
};

} // namespace

void elutq::lm::populateMergePartsPatterns(RewritePatternSet &patterns, bool vectors) {
  patterns.add<LowerMergeParts>(patterns.getContext(), vectors);
}
