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

/// `round_half_even(value * factor)`.
Value emitRounded(Emitter &emit, Value value, Value factor) {
  return math::RoundEvenOp::create(emit.b, emit.loc, emit.mulf(value, emit.broadcast(value.getType(), factor)));
}

/// Stores whole numbers as i8.
void storeRounded(Emitter &emit, Value rounded, Value memref, ValueRange indices) {
  Type i8 = emit.b.getI8Type();
  if (auto vector = dyn_cast<VectorType>(rounded.getType()))
    i8 = vector.clone(i8);
  emit.store(arith::FPToSIOp::create(emit.b, emit.loc, i8, rounded), memref, indices);
}

/// The columns of a square of as many vectors as each has lanes, a power of two. Interleaving the two halves of the rows rotates the
/// bits of an element's place, those of the row before those of the lane, by one.
SmallVector<Value> transpose(Emitter &emit, SmallVector<Value> rows) {
  int64_t size = rows.size();
  SmallVector<int64_t> low, high;
  for (int64_t lane = 0; lane < size / 2; ++lane) {
    low.append({lane, lane + size});
    high.append({lane + size / 2, lane + size / 2 + size});
  }
  for (int64_t turned = 1; turned < size; turned *= 2) {
    SmallVector<Value> next;
    for (int64_t i = 0; i < size / 2; ++i)
      for (ArrayRef<int64_t> half : {ArrayRef<int64_t>(low), ArrayRef<int64_t>(high)})
        next.push_back(vector::ShuffleOp::create(emit.b, emit.loc, rows[i], rows[i + size / 2], half));
    rows = std::move(next);
  }
  return rows;
}

/// Writes rows of keys or values of one head into a cache.
struct AppendEmitter : Emitter {
  Value cache, scales, update, position, head, capacity, size;
  bool vectors;
  int64_t headSize;

  AppendEmitter(OpBuilder &builder, CacheAppendOp op, bool vectors)
      : Emitter{builder, op.getLoc()}, cache(op.getCache()), scales(op.getScales()), update(op.getUpdate()),
        position(op.getPosition()), vectors(vectors), headSize(cast<MemRefType>(update.getType()).getDimSize(2)) {
    capacity = keys() ? mul(dim(cache, 1), index(kKeyBlock)) : dim(cache, 1);
    size = index(headSize);
  }

  bool keys() const { return cast<MemRefType>(cache.getType()).getRank() == 4; }
  Value slotOf(Value m) { return rem(add(position, m), capacity); }

  /// The reciprocal of the scale of row `m`, which is stored for its slot; null for caches without scales.
  Value emitInverse(Value m, Value slot) {
    if (!scales)
      return Value();
    auto [scale, inverse] = emitRowScale(*this, vectors, update, m, head);
    store(scale, scales, {head, slot});
    return inverse;
  }

  Value loadScaled(Type type, Value m, Value d, Value inverse) {
    Value value = load(type, update, {m, head, d});
    return inverse ? emitRounded(*this, value, inverse) : value;
  }

  void put(Value value, ValueRange place) {
    if (scales)
      storeRounded(*this, value, cache, place);
    else
      store(value, cache, place);
  }

  void emitValues(Value count) {
    loop(count, [&](Value m) {
      Value slot = slotOf(m), inverse = emitInverse(m, slot);
      auto copy = [&](Value d, Type chunk) { put(loadScaled(chunk, m, d, inverse), {head, slot, d}); };
      if (vectors)
        forEachChunk(headSize, b.getF32Type(), copy);
      else
        loop(size, [&](Value d) { copy(d, b.getF32Type()); });
    });
  }

  /// One element after the other. They lie a line apart: 16 of them for all rows, whose lines stay in the cache, then the next 16.
  void emitKeys(Value first, Value end) {
    loop(index(0), size, kLanes, [&](Value start) {
      loop(first, end, 1, [&](Value m) {
        Value slot = slotOf(m), inverse = emitInverse(m, slot);
        Value block = div(slot, index(kKeyBlock)), lane = rem(slot, index(kKeyBlock));
        loop(start, minimum(add(start, index(kLanes)), size), 1, [&](Value d) {
          put(loadScaled(b.getF32Type(), m, d, inverse), {head, block, d, lane});
        });
      });
    });
  }

  /// Rows that fill whole vectors of the cache are transposed 16 by 16; `inverses` is scratch for as many numbers.
  void emitKeysByVectors(Value count, Value inverses) {
    Value lanes = index(kLanes);
    Value whole = minimum(rem(sub(lanes, rem(position, lanes)), lanes), count);
    Value rest = add(whole, sub(sub(count, whole), rem(sub(count, whole), lanes)));
    Type vector = VectorType::get({kLanes}, b.getF32Type());
    emitKeys(index(0), whole);
    loop(whole, rest, kLanes, [&](Value first) {
      if (scales)
        loop(lanes, [&](Value i) {
          Value m = add(first, i), slot = slotOf(m);
          store(emitInverse(m, slot), inverses, i);
        });
      Value slot = slotOf(first), block = div(slot, index(kKeyBlock)), lane = rem(slot, index(kKeyBlock));
      loop(index(0), size, kLanes, [&](Value d) {
        SmallVector<Value> rows;
        for (int64_t i = 0; i < kLanes; ++i) {
          Value inverse = scales ? load(b.getF32Type(), inverses, index(i)) : Value();
          rows.push_back(loadScaled(vector, add(first, index(i)), d, inverse));
        }
        for (auto [i, column] : llvm::enumerate(transpose(*this, std::move(rows))))
          put(column, {head, block, add(d, index(i)), lane});
      });
    });
    emitKeys(rest, count);
  }
};

struct LowerCacheAppend : OpRewritePattern<CacheAppendOp> {
  LowerCacheAppend(MLIRContext *context, bool vectors) : OpRewritePattern(context), vectors(vectors) {}

  LogicalResult matchAndRewrite(CacheAppendOp op, PatternRewriter &rewriter) const override {
    if (!isa<MemRefType>(op.getCache().getType()))
      return rewriter.notifyMatchFailure(op, "not bufferized");
    AppendEmitter emit(rewriter, op, vectors);
    int64_t rows = cast<MemRefType>(emit.update.getType()).getDimSize(0);
    bool squares = vectors && emit.keys() && emit.headSize % kLanes == 0 && rows >= kLanes;
    Value inverses = squares && emit.scales ? emit.emitScratch(op, {kLanes}) : Value();
    emit.loop(emit.dim(emit.cache, 0), [&](Value head) {
      emit.head = head;
      if (squares)
        emit.emitKeysByVectors(op.getCount(), inverses);
      else if (emit.keys())
        emit.emitKeys(emit.index(0), op.getCount());
      else
        emit.emitValues(op.getCount());
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
