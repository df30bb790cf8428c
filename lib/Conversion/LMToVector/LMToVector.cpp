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

struct LowerCacheAppend : OpRewritePattern<CacheAppendOp> {
  LowerCacheAppend(MLIRContext *context, bool vectors) : OpRewritePattern(context), vectors(vectors) {}

  LogicalResult matchAndRewrite(CacheAppendOp op, PatternRewriter &rewriter) const override {
    auto cache = dyn_cast<MemRefType>(op.getInit().getType());
    if (!cache)
      return rewriter.notifyMatchFailure(op, "not bufferized");
    Emitter emit{rewriter, op.getLoc()};
    Value capacity = emit.dim(op.getInit(), 1);
    emit.loop(op.getCount(), [&](Value m) {
      Value slot = emit.rem(emit.add(op.getPosition(), m), capacity);
      emit.loop(emit.dim(op.getInit(), 0),
                [&](Value h) { copyRow(emit, vectors, op.getUpdate(), {m, h}, op.getInit(), {h, slot}); });
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
    populateAttentionToVectorPatterns(patterns, /*benefit=*/2);
    populateAttentionToLoopsPatterns(patterns);
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
    populateCopyPatterns(patterns, /*vectors=*/false);
    if (failed(lowerAll(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

void elutq::lm::populateCopyPatterns(RewritePatternSet &patterns, bool vectors) {
  patterns.add<LowerCacheAppend, LowerGather>(patterns.getContext(), vectors);
}
