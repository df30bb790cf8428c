//===- LMToVector.cpp - Lower lm ops to vectors or scalar loops -----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LMLowering.h"
#include "elutq/Conversion/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace elutq {
#define GEN_PASS_DEF_CONVERTLMTOVECTORPASS
#define GEN_PASS_DEF_CONVERTLMTOLOOPSPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::lm;

namespace {

/// Copies row `source` of `from` to row `target` of `to`, whose last dimension has a static size.
void copyRow(Emitter &emit, bool vectors, Value from, ValueRange source, Value to, ValueRange target) {
  auto type = cast<MemRefType>(from.getType());
  int64_t size = type.getShape().back();
  auto copy = [&](Value offset, Type chunk) {
    SmallVector<Value> read(source), write(target);
    read.push_back(offset);
    write.push_back(offset);
    emit.store(emit.load(chunk, from, read), to, write);
  };
  if (vectors)
    emit.forEachChunk(size, type.getElementType(), copy);
  else
    emit.loop(emit.index(size), [&](Value offset) { copy(offset, type.getElementType()); });
}

/// Scale of a row that is stored as i8, and its reciprocal: 0 where the scale is not a normal number.
std::pair<Value, Value> emitRowScale(Emitter &emit, bool vectors, Value update, Value m, Value h) {
  Type f32 = emit.b.getF32Type();
  int64_t size = cast<MemRefType>(update.getType()).getDimSize(2);
  auto absolute = [&](Value x) -> Value { return math::AbsFOp::create(emit.b, emit.loc, x); };
  auto largestOf = [&](Value lower, Value upper, int64_t step, Type type) {
    return emit.fold(lower, upper, step, emit.splat(type, 0.0f), [&](Value d, ValueRange state) {
      return SmallVector<Value>{emit.maxf(absolute(emit.load(type, update, {m, h, d})), state[0])};
    })[0];
  };
  int64_t whole = vectors ? size - size % kLanes : 0;
  Value largest = largestOf(emit.index(whole), emit.index(size), 1, f32);
  if (whole) {
    Value lanes = largestOf(emit.index(0), emit.index(whole), kLanes, VectorType::get({kLanes}, f32));
    largest = emit.maxf(vector::ReductionOp::create(emit.b, emit.loc, vector::CombiningKind::MAXNUMF, lanes), largest);
  }
  Value scale = emit.mulf(largest, emit.f32(1.0f / 127.0f));
  Value normal = arith::CmpFOp::create(emit.b, emit.loc, arith::CmpFPredicate::OGE, scale,
                                       emit.f32(std::numeric_limits<float>::min()));
  return {scale, emit.select(normal, emit.divf(emit.f32(1.0f), scale), emit.f32(0.0f))};
}

/// `round_half_even(value * factor)` as i8.
Value emitRounded(Emitter &emit, Value value, Value factor) {
  Type type = value.getType(), i8 = emit.b.getI8Type();
  if (auto vector = dyn_cast<VectorType>(type))
    i8 = vector.clone(i8);
  Value rounded = math::RoundEvenOp::create(emit.b, emit.loc, emit.mulf(value, emit.broadcast(type, factor)));
  return arith::FPToSIOp::create(emit.b, emit.loc, i8, rounded);
}

struct LowerCacheAppend : OpRewritePattern<CacheAppendOp> {
  LowerCacheAppend(MLIRContext *context, bool vectors) : OpRewritePattern(context), vectors(vectors) {}

  LogicalResult matchAndRewrite(CacheAppendOp op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<MemRefType>(op.getCache().getType());
    if (!type)
      return rewriter.notifyMatchFailure(op, "not bufferized");
    Emitter emit{rewriter, op.getLoc()};
    Value cache = op.getCache(), scales = op.getScales(), update = op.getUpdate();
    bool keys = type.getRank() == 4;
    Value capacity = keys ? emit.mul(emit.dim(cache, 1), emit.index(kKeyBlock)) : emit.dim(cache, 1);
    auto slotOf = [&](Value m) { return emit.rem(emit.add(op.getPosition(), m), capacity); };
    auto convert = [&](Value m, Value h, Value d, Type chunk, Value inverse) {
      Value value = emit.load(chunk, update, {m, h, d});
      return inverse ? emitRounded(emit, value, inverse) : value;
    };
    emit.loop(emit.dim(cache, 0), [&](Value h) {
      // The elements of a key lie a line apart: 16 of them for all rows, whose lines stay in the cache, then the next 16.
      Value size = emit.dim(cache, 2), step = keys ? emit.index(kLanes) : size;
      emit.loop(emit.index(0), size, keys ? kLanes : type.getDimSize(2), [&](Value first) {
        emit.loop(op.getCount(), [&](Value m) {
          Value slot = slotOf(m), inverse;
          if (scales) {
            auto [scale, reciprocal] = emitRowScale(emit, vectors, update, m, h);
            emit.store(scale, scales, {h, slot});
            inverse = reciprocal;
          }
          if (keys) {
            Value block = emit.div(slot, emit.index(kKeyBlock)), lane = emit.rem(slot, emit.index(kKeyBlock));
            emit.loop(first, emit.minimum(emit.add(first, step), size), 1, [&](Value d) {
              emit.store(convert(m, h, d, rewriter.getF32Type(), inverse), cache, {h, block, d, lane});
            });
            return;
          }
          auto copy = [&](Value d, Type chunk) { emit.store(convert(m, h, d, chunk, inverse), cache, {h, slot, d}); };
          if (vectors)
            emit.forEachChunk(type.getDimSize(2), rewriter.getF32Type(), copy);
          else
            emit.loop(size, [&](Value d) { copy(d, rewriter.getF32Type()); });
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }

  bool vectors;
};

struct LowerGather : OpRewritePattern<GatherOp> {
  LowerGather(MLIRContext *context, bool vectors) : OpRewritePattern(context), vectors(vectors) {}

  LogicalResult matchAndRewrite(GatherOp op, PatternRewriter &rewriter) const override {
    if (!isa<MemRefType>(op.getInit().getType()))
      return rewriter.notifyMatchFailure(op, "not bufferized");
    Emitter emit{rewriter, op.getLoc()};
    emit.loop(emit.dim(op.getInit(), 0), [&](Value m) {
      Value id = memref::LoadOp::create(rewriter, op.getLoc(), op.getIndices(), m);
      Value row = arith::IndexCastOp::create(rewriter, op.getLoc(), rewriter.getIndexType(), id);
      copyRow(emit, vectors, op.getTable(), row, op.getInit(), m);
    });
    rewriter.eraseOp(op);
    return success();
  }

  bool vectors;
};

/// Applies the patterns once to each op, and fails where an lm op is left.
LogicalResult lowerAll(Operation *function, RewritePatternSet &&patterns) {
  walkAndApplyPatterns(function, std::move(patterns));
  WalkResult left = function->walk([](Operation *op) {
    if (!isa_and_nonnull<LMDialect>(op->getDialect()))
      return WalkResult::advance();
    op->emitOpError("cannot be lowered: expected memrefs with static heads");
    return WalkResult::interrupt();
  });
  return failure(left.wasInterrupted());
}

struct ConvertLMToVector : elutq::impl::ConvertLMToVectorPassBase<ConvertLMToVector> {
  using ConvertLMToVectorPassBase::ConvertLMToVectorPassBase;

  void runOnOperation() override {
    getOperation()->walk([&](Operation *op) { numVectorized += isa_and_nonnull<LMDialect>(op->getDialect()); });
    RewritePatternSet patterns(&getContext());
    populateAttentionToVectorPatterns(patterns, accumulators, /*benefit=*/2);
    populateAttentionToLoopsPatterns(patterns);
    populateMergePartsPatterns(patterns, /*vectors=*/true);
    populateCopyPatterns(patterns, /*vectors=*/true);
    if (failed(lowerAll(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

struct ConvertLMToLoops : elutq::impl::ConvertLMToLoopsPassBase<ConvertLMToLoops> {
  using ConvertLMToLoopsPassBase::ConvertLMToLoopsPassBase;

  void runOnOperation() override {
    getOperation()->walk([&](Operation *op) { numLowered += isa_and_nonnull<LMDialect>(op->getDialect()); });
    RewritePatternSet patterns(&getContext());
    populateAttentionToLoopsPatterns(patterns);
    populateMergePartsPatterns(patterns, /*vectors=*/false);
    populateCopyPatterns(patterns, /*vectors=*/false);
    if (failed(lowerAll(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void elutq::lm::populateCopyPatterns(RewritePatternSet &patterns, bool vectors) {
  patterns.add<LowerCacheAppend, LowerGather>(patterns.getContext(), vectors);
}
