//===- AttentionToLoops.cpp - lm.attention on scalars, the reference ------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LMLowering.h"

using namespace mlir;
using namespace elutq::lm;

namespace {

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    auto query = dyn_cast<MemRefType>(op.getQuery().getType()), key = dyn_cast<MemRefType>(op.getKey().getType());
    if (!query || !key)
      return rewriter.notifyMatchFailure(op, "not bufferized");
    if (query.isDynamicDim(1) || key.isDynamicDim(0))
      return rewriter.notifyMatchFailure(op, "dynamic number of heads");

    Emitter emit{rewriter, op.getLoc()};
    Type f32 = rewriter.getF32Type();
    Value group = emit.index(query.getDimSize(1) / key.getDimSize(0));
    Value capacity = emit.dim(op.getKey(), 1), headSize = emit.dim(op.getQuery(), 2);
    float softcap = op.getSoftcap().convertToFloat();

    emit.loop(emit.dim(op.getQuery(), 0), [&](Value m) {
      emit.loop(emit.dim(op.getQuery(), 1), [&](Value h) {
        Value kvHead = arith::DivUIOp::create(rewriter, op.getLoc(), h, group);
        Value upper = emit.add(emit.add(op.getPosition(), m), emit.index(1)), lower = emit.index(0);
        if (op.getWindow() > 0)
          lower = emit.maximum(emit.sub(upper, emit.index(op.getWindow())), lower);

        auto score = [&](Value position) {
          Value slot = emit.rem(position, capacity);
          Value dot = emit.fold(emit.index(0), headSize, 1, emit.f32(0.0f), [&](Value d, ValueRange sum) {
                            return SmallVector<Value>{emit.fma(emit.load(f32, op.getQuery(), {m, h, d}),
                                                               emit.load(f32, op.getKey(), {kvHead, slot, d}), sum[0])};
                          })[0];
          Value scaled = emit.mulf(dot, emit.f32(op.getScale().convertToFloat()));
          if (softcap <= 0)
            return scaled;
          Value bounded = math::TanhOp::create(rewriter, op.getLoc(), emit.divf(scaled, emit.f32(softcap)));
          return emit.mulf(bounded, emit.f32(softcap));
        };

        Value largest = emit.fold(lower, upper, 1, emit.f32(-1.0e30f), [&](Value position, ValueRange state) {
                              return SmallVector<Value>{emit.maxf(state[0], score(position))};
                            })[0];
        emit.loop(headSize, [&](Value d) { emit.store(emit.f32(0.0f), op.getInit(), {m, h, d}); });
        Value sum = emit.fold(lower, upper, 1, emit.f32(0.0f), [&](Value position, ValueRange state) {
                          Value weight = emit.exp(emit.subf(score(position), largest));
                          Value slot = emit.rem(position, capacity);
                          emit.loop(headSize, [&](Value d) {
                            Value value = emit.load(f32, op.getValue(), {kvHead, slot, d});
                            Value old = emit.load(f32, op.getInit(), {m, h, d});
                            emit.store(emit.fma(weight, value, old), op.getInit(), {m, h, d});
                          });
                          return SmallVector<Value>{emit.addf(state[0], weight)};
                        })[0];
        emit.loop(headSize, [&](Value d) {
          emit.store(emit.divf(emit.load(f32, op.getInit(), {m, h, d}), sum), op.getInit(), {m, h, d});
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void elutq::lm::populateAttentionToLoopsPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerAttention>(patterns.getContext());
}
