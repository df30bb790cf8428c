//===- AttentionToVector.cpp - Attention on vectors -----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// The unit of work is a part of the keys for a tile of rows: query rows of all the heads that share a KV head, so that a key
// or value is read and converted once for all of them. Both products are outer products: scores keep keys in the lanes and go
// through the head's elements one by one, weighted sums keep the elements in the lanes and go through the keys. No sum crosses lanes, and
// the order of a row's additions does not depend on the shape of the tile, which only fits the target's registers.
//
//===----------------------------------------------------------------------===//

#include "../CacheLine.h"
#include "AttentionLowering.h"

using namespace mlir;
using namespace elutq::lm;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Rows of a tile that stand at the same position see the same keys: [lower, upper), counted from the start of the part.
struct Visible {
  Value lower, upper;
};

/// A query row of a head.
struct Row {
  Value m, head;
  /// Its range in `Tile::visible`.
  int64_t visible;
};

/// Consecutive rows, counted through the heads of a KV head and then through the positions.
struct Tile {
  SmallVector<Row> rows;
  /// Ascending.
  SmallVector<Visible> visible;
};

/// What becomes of a part of a tile.
struct PartSink {
  virtual ~PartSink() = default;
  /// Gets largest score and sum of exponentials of row `i`.
  virtual void takeStats(int64_t i, const Row &row, Value max, Value sum) = 0;
  /// Gets the weighted sum of the values, 16 elements from `d` on.
  virtual void takeValues(int64_t i, const Row &row, Value d, Value values) = 0;
};

struct VectorEmitter : AttentionEmitter {
  VectorType vector;
  int64_t queryRows, tileRows, accumulators;
  Value queries, weights;

  template <typename OpTy>
  VectorEmitter(OpBuilder &builder, OpTy op, int64_t accumulators)
      : AttentionEmitter(builder, op), vector(VectorType::get({kLanes}, builder.getF32Type())),
        queryRows(cast<MemRefType>(query.getType()).getDimSize(0)), accumulators(accumulators) {
    // Where there are enough registers a tile is two vectors wide: fewer loads of queries and weights for a product.
    int64_t most = accumulators >= 16 ? accumulators / 2 : accumulators;
    tileRows = std::min(queryRows * group, most);
    // Rows do not lie a power of two apart: loads of the same column of all of them would meet in a bank of the cache.
    queries = emitScratch(op, {tileRows, headSize + kLanes});
    weights = emitScratch(op, {tileRows, part + kLanes});
  }

  /// Vectors side by side in the tile of a product with `rows` rows, a divisor of `vectors`. Up to a whole row of values: what
  /// fetches memory ahead follows rows better than halves of rows.
  int64_t tileVectors(int64_t rows, int64_t vectors) const {
    int64_t width = std::min<int64_t>(std::max<int64_t>(accumulators / rows, 1), 8);
    while (vectors % width != 0)
      --width;
    return width;
  }

  /// Whether memory is asked for what comes next: the scores ask for the values of their part, the weighted sums for the keys of the next
  /// part, each as fast as it reads itself, so that memory sends all the time. One row alone leaves the processor to wait for memory
  /// anyway, and the cache must not be read once for each tile.
  bool asksAhead(const Tile &tile) const {
    int64_t rows = tile.rows.size();
    return rows > 1 && rows == queryRows * group;
  }

  /// Asks for `count` elements of keys or values from `place` on, into the second-level cache, which holds a part of both. What lies
  /// beyond the cache is asked for in vain.
  void prefetch(Value cache, SmallVector<Value> place, int64_t count) {
    int64_t line = elutq::kLineBytes * 8 / cast<MemRefType>(cache.getType()).getElementTypeBitWidth();
    Value start = place.back();
    for (int64_t i = 0; i < count; i += line) {
      place.back() = add(start, index(i));
      memref::PrefetchOp::create(b, loc, cache, place, /*isWrite=*/false, /*localityHint=*/2, /*isDataCache=*/true);
    }
  }

  /// Combines the lanes of `x` in a fixed tree.
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

  Value roundDown(Value x, int64_t multiple) { return sub(x, rem(x, index(multiple))); }

  /// The `count` rows from row `first` on, a multiple of `count` unless the tile is the last one.
  Tile emitTile(Value kvHead, Value first, int64_t count, Value partStart) {
    Tile tile;
    Value heads = mul(kvHead, index(group));
    for (int64_t i = 0; i < count; ++i) {
      Row row;
      // The position's distance from that of the first row, where it is known.
      int64_t distance = i;
      if (queryRows == 1) {
        distance = 0;
        row.m = index(0);
        row.head = add(heads, add(first, index(i)));
      } else if (group % count == 0) {
        distance = 0;
        row.m = div(first, index(group));
        row.head = add(heads, add(rem(first, index(group)), index(i)));
      } else if (count % group == 0) {
        distance = i / group;
        row.m = add(div(first, index(group)), index(distance));
        row.head = add(heads, index(i % group));
      } else {
        Value number = add(first, index(i));
        row.m = div(number, index(group));
        row.head = add(heads, rem(number, index(group)));
      }
      row.visible = distance;
      if (distance == static_cast<int64_t>(tile.visible.size())) {
        Value upper = emitUpper(row.m);
        tile.visible.push_back({sub(emitLower(*this, upper, window), partStart), sub(upper, partStart)});
      }
      tile.rows.push_back(row);
    }
    return tile;
  }

  /// `queries[i, :] = scale * query row i`.
  void emitQueries(const Tile &tile) {
    Value factor = splat(vector, scale);
    loop(index(0), index(headSize), kLanes, [&](Value d) {
      for (auto [i, row] : llvm::enumerate(tile.rows))
        store(mulf(load(vector, query, {row.m, row.head, d}), factor), queries, {index(i), d});
    });
  }

  /// `weights[i, k] = score of row i and key k` for a range of keys that contains [lower, upper).
  void emitScores(const Tile &tile, Value kvHead, Value partStart, Value lower, Value upper) {
    int64_t rows = tile.rows.size(), width = tileVectors(rows, kKeyBlock / kLanes);
    bool ahead = asksAhead(tile);
    Value firstSlot = rem(partStart, index(capacity));
    loop(roundDown(lower, width * kLanes), upper, width * kLanes, [&](Value k) {
      Value slot = rem(add(partStart, k), index(capacity));
      Value block = div(slot, index(kKeyBlock)), lane = rem(slot, index(kKeyBlock));
      SmallVector<Value> sums(rows * width, splat(vector, 0.0f));
      sums = fold(index(0), index(headSize), 1, sums, [&](Value d, ValueRange partial) {
        SmallVector<Value> keys, next;
        for (int64_t j = 0; j < width; ++j)
          keys.push_back(load(vector, key, {kvHead, block, d, add(lane, index(j * kLanes))}));
        if (ahead)
          prefetch(value, {kvHead, firstSlot, add(mul(k, index(headSize)), mul(d, index(width * kLanes)))}, width * kLanes);
        for (int64_t i = 0; i < rows; ++i) {
          Value element = broadcast(vector, memref::LoadOp::create(b, loc, queries, ValueRange{index(i), d}));
          for (int64_t j = 0; j < width; ++j)
            next.push_back(fma(element, keys[j], partial[i * width + j]));
        }
        return next;
      });
      for (int64_t j = 0; j < width; ++j) {
        Value offset = index(j * kLanes);
        Value scales = keyScales ? load(vector, keyScales, {kvHead, add(slot, offset)}) : Value();
        for (int64_t i = 0; i < rows; ++i)
          store(emitScore(sums[i * width + j], scales), weights, {index(i), add(k, offset)});
      }
    });
  }

  /// Turns the scores of `count` rows from row `first` on into exponentials, 0 outside what they see, times the scales of the values;
  /// gives the largest scores and the sums of the exponentials to `sink`. Several rows at once share the masks and do not wait for each
  /// other's sums.
  void emitExponentials(const Tile &tile, int64_t first, int64_t count, Value kvHead, Value partStart, Value lower, Value upper,
                        PartSink &sink) {
    auto integers = VectorType::get({kLanes}, b.getI32Type());
    SmallVector<int32_t> numbers = llvm::to_vector(llvm::seq<int32_t>(0, kLanes));
    Value lanes = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(integers, ArrayRef<int32_t>(numbers)));
    auto compare = [&](arith::CmpIPredicate predicate, Value bound) -> Value {
      Value number = arith::IndexCastOp::create(b, loc, b.getI32Type(), bound);
      return arith::CmpIOp::create(b, loc, predicate, lanes, broadcast(integers, number));
    };
    // Masked where they are read, twice: a store of some lanes, and a load behind it, would cost more.
    auto scoresAt = [&](Value k) {
      SmallVector<Value> scores, seen(tile.visible.size());
      for (int64_t i = first; i < first + count; ++i) {
        int64_t range = tile.rows[i].visible;
        const Visible &visible = tile.visible[range];
        if (!seen[range])
          seen[range] = arith::AndIOp::create(b, loc, compare(arith::CmpIPredicate::sge, sub(visible.lower, k)),
                                              compare(arith::CmpIPredicate::slt, sub(visible.upper, k)));
        scores.push_back(select(seen[range], load(vector, weights, {index(i), k}), splat(vector, -kInfinity)));
      }
      return scores;
    };
    Value start = roundDown(lower, kLanes);
    SmallVector<Value> maxima(count, splat(vector, -kInfinity)), sums(count, splat(vector, 0.0f));
    maxima = fold(start, upper, kLanes, maxima, [&](Value k, ValueRange state) {
      return llvm::map_to_vector(llvm::zip_equal(state, scoresAt(k)),
                                 [&](auto pair) { return maxf(std::get<0>(pair), std::get<1>(pair)); });
    });
    for (Value &max : maxima)
      max = maxf(reduce(max, [&](Value x, Value y) { return maxf(x, y); }), emitLowestScore(*this));
    sums = fold(start, upper, kLanes, sums, [&](Value k, ValueRange state) {
      SmallVector<Value> next;
      Value scales = valueScales ? load(vector, valueScales, {kvHead, rem(add(partStart, k), index(capacity))}) : Value();
      for (auto [i, score] : llvm::enumerate(scoresAt(k))) {
        Value powers = exp(subf(score, broadcast(vector, maxima[i])));
        store(scales ? mulf(powers, scales) : powers, weights, {index(first + i), k});
        next.push_back(addf(state[i], powers));
      }
      return next;
    });
    for (int64_t i = 0; i < count; ++i)
      sink.takeStats(first + i, tile.rows[first + i], maxima[i], reduce(sums[i], [&](Value x, Value y) { return addf(x, y); }));
  }

  /// The weighted sums of the values of the keys in [lower, upper); the next part starts at `nextStart`.
  void emitValues(const Tile &tile, Value kvHead, Value partStart, Value nextStart, Value lower, Value upper, PartSink &sink) {
    bool ahead = asksAhead(tile);
    Value nextBlock = div(rem(nextStart, index(capacity)), index(kKeyBlock));
    int64_t rows = tile.rows.size(), width = tileVectors(rows, headSize / kLanes);
    Value firstSlot = rem(add(partStart, lower), index(capacity));
    // Keys that some rows see and others do not. What a row does not see is not used: a slot that was never written may hold
    // anything, and 0 * NaN is NaN.
    bool uniform = tile.visible.size() == 1;
    Value allLower = lower, allUpper = upper;
    if (!uniform) {
      allLower = minimum(maximum(tile.visible.back().lower, lower), upper);
      allUpper = maximum(minimum(tile.visible.front().upper, upper), allLower);
    }
    loop(index(0), index(headSize), width * kLanes, [&](Value d) {
      SmallVector<Value> sums(rows * width, splat(vector, 0.0f));
      auto addKeys = [&](Value from, Value to, bool guarded) {
        sums = fold(from, to, 1, sums, [&](Value k, ValueRange partial) {
          Value slot = add(firstSlot, sub(k, lower));
          // A part goes around the end of the cache at most once.
          if (capacity % part != 0)
            slot = select(less(slot, index(capacity)), slot, sub(slot, index(capacity)));
          SmallVector<Value> values, next, seen;
          for (int64_t j = 0; j < width; ++j)
            values.push_back(load(vector, value, {kvHead, slot, add(d, index(j * kLanes))}));
          if (ahead)
            prefetch(key, {kvHead, nextBlock, index(0), add(mul(d, index(part)), mul(k, index(width * kLanes)))}, width * kLanes);
          if (guarded)
            for (const Visible &visible : tile.visible)
              seen.push_back(arith::AndIOp::create(b, loc, less(k, visible.upper),
                                                   arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, k, visible.lower)));
          for (int64_t i = 0; i < rows; ++i) {
            Value weight = broadcast(vector, memref::LoadOp::create(b, loc, weights, ValueRange{index(i), k}));
            for (int64_t j = 0; j < width; ++j) {
              Value sum = fma(weight, values[j], partial[i * width + j]);
              next.push_back(guarded ? select(seen[tile.rows[i].visible], sum, partial[i * width + j]) : sum);
            }
          }
          return next;
        });
      };
      if (!uniform)
        addKeys(lower, allLower, /*guarded=*/true);
      addKeys(allLower, allUpper, /*guarded=*/false);
      if (!uniform)
        addKeys(allUpper, upper, /*guarded=*/true);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < width; ++j)
          sink.takeValues(i, tile.rows[i], add(d, index(j * kLanes)), sums[i * width + j]);
    });
  }

  /// Part `number` for `count` rows from row `first` on; part `next` follows it.
  void emitPart(Value kvHead, Value number, Value next, Value first, int64_t count, PartSink &sink) {
    Value partStart = mul(number, index(part));
    Tile tile = emitTile(kvHead, first, count, partStart);
    Value lower = maximum(tile.visible.front().lower, index(0)), upper = minimum(tile.visible.back().upper, index(part));
    when(less(lower, upper), [&] {
      emitQueries(tile);
      emitScores(tile, kvHead, partStart, lower, upper);
      int64_t together = std::max<int64_t>(accumulators / 4, 1);
      for (int64_t i = 0; i < count; i += together)
        emitExponentials(tile, i, std::min(together, count - i), kvHead, partStart, lower, upper, sink);
      emitValues(tile, kvHead, partStart, mul(next, index(part)), lower, upper, sink);
    });
  }

  /// Part `number` for all rows of a KV head; `end` is behind the last part. The last one asks for its own keys, which are there.
  void emitRows(Value kvHead, Value number, Value end, llvm::function_ref<std::unique_ptr<PartSink>(Value first)> makeSink) {
    int64_t rows = queryRows * group, rest = rows % tileRows;
    Value next = minimum(add(number, index(1)), sub(end, index(1)));
    auto emitTileAt = [&](Value first, int64_t count) {
      std::unique_ptr<PartSink> sink = makeSink(first);
      emitPart(kvHead, number, next, first, count, *sink);
    };
    loop(index(0), index(rows - rest), tileRows, [&](Value first) { emitTileAt(first, tileRows); });
    if (rest)
      emitTileAt(index(rows - rest), rest);
  }
};

/// Merges parts into `init`, which holds the unfinished rows; `state` holds their largest scores and sums.
struct MergingSink : PartSink {
  VectorEmitter &emit;
  Value init, state, first;
  SmallVector<Merged> merged;

  MergingSink(VectorEmitter &emit, Value init, Value state, Value first)
      : emit(emit), init(init), state(state), first(first) {}

  void takeStats(int64_t i, const Row &row, Value max, Value sum) override {
    Type f32 = emit.b.getF32Type();
    Value number = emit.add(first, emit.index(i)), zero = emit.index(0), one = emit.index(1);
    Merged result =
        emitMerge(emit, emit.load(f32, state, {zero, number}), emit.load(f32, state, {one, number}), max, sum);
    emit.store(result.max, state, {zero, number});
    emit.store(result.sum, state, {one, number});
    merged.push_back(result);
  }

  void takeValues(int64_t i, const Row &row, Value d, Value values) override {
    auto factor = [&](Value scalar) { return emit.broadcast(emit.vector, scalar); };
    SmallVector<Value> place{row.m, row.head, d};
    Value old = emit.mulf(emit.load(emit.vector, init, place), factor(merged[i].oldFactor));
    emit.store(emit.fma(values, factor(merged[i].partFactor), old), init, place);
  }
};

/// Keeps a part for lm.merge_parts.
struct StoringSink : PartSink {
  Emitter &emit;
  Value sums, stats, slot, place;

  StoringSink(Emitter &emit, Value sums, Value stats, Value slot, Value place)
      : emit(emit), sums(sums), stats(stats), slot(slot), place(place) {}

  void takeStats(int64_t, const Row &row, Value max, Value sum) override {
    emit.store(max, stats, {row.head, slot, place, emit.index(0)});
    emit.store(sum, stats, {row.head, slot, place, emit.index(1)});
  }

  void takeValues(int64_t, const Row &row, Value d, Value values) override {
    emit.store(values, sums, {row.head, slot, place, d});
  }
};

template <typename OpTy>
LogicalResult matchShape(OpTy op, PatternRewriter &rewriter) {
  auto query = dyn_cast<MemRefType>(op.getQuery().getType());
  if (!query)
    return rewriter.notifyMatchFailure(op, "not bufferized");
  if (!query.hasStaticShape())
    return rewriter.notifyMatchFailure(op, "dynamic number of rows");
  if (query.getDimSize(2) % kLanes != 0)
    return rewriter.notifyMatchFailure(op, "head size is no multiple of 16 lanes");
  return success();
}

struct LowerAttention : OpRewritePattern<AttentionOp> {
  LowerAttention(MLIRContext *context, int64_t accumulators, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), accumulators(accumulators) {}

  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    if (failed(matchShape(op, rewriter)))
      return failure();
    VectorEmitter emit(rewriter, op, accumulators);
    int64_t rows = emit.queryRows * emit.group;
    Value init = op.getInit(), state = emit.emitScratch(op, {2, rows}), zero = emit.index(0), one = emit.index(1);
    Value begin = emitLower(emit, emit.emitUpper(zero), emit.window);
    auto [firstPart, endPart] = emitParts(emit, begin, emit.emitUpper(emit.index(emit.queryRows - 1)), emit.part);
    Value first = firstPart, end = endPart;
    emit.loop(emit.index(emit.kvHeads), [&](Value kvHead) {
      auto eachChunk = [&](Value row, llvm::function_ref<void(ValueRange)> body) {
        Value m = emit.div(row, emit.index(emit.group));
        Value head = emit.add(emit.mul(kvHead, emit.index(emit.group)), emit.rem(row, emit.index(emit.group)));
        emit.loop(zero, emit.index(emit.headSize), kLanes, [&](Value d) { body({m, head, d}); });
      };
      emit.loop(emit.index(rows), [&](Value row) {
        emit.store(emitLowestScore(emit), state, {zero, row});
        emit.store(emit.f32(0.0f), state, {one, row});
        eachChunk(row, [&](ValueRange place) { emit.store(emit.splat(emit.vector, 0.0f), init, place); });
      });
      emit.loop(first, end, 1, [&](Value number) {
        emit.emitRows(kvHead, number, end,
                      [&](Value row) { return std::make_unique<MergingSink>(emit, init, state, row); });
      });
      emit.loop(emit.index(rows), [&](Value row) {
        Value sum = emit.load(rewriter.getF32Type(), state, {one, row});
        Value inverse = emit.broadcast(emit.vector, emit.divf(emit.f32(1.0f), sum));
        eachChunk(row, [&](ValueRange place) {
          Value result = emit.fma(emit.load(emit.vector, init, place), inverse, emit.splat(emit.vector, 0.0f));
          emit.store(result, init, place);
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }

  int64_t accumulators;
};

struct LowerAttentionParts : OpRewritePattern<AttentionPartsOp> {
  LowerAttentionParts(MLIRContext *context, int64_t accumulators, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), accumulators(accumulators) {}

  LogicalResult matchAndRewrite(AttentionPartsOp op, PatternRewriter &rewriter) const override {
    if (failed(matchShape(op, rewriter)))
      return failure();
    VectorEmitter emit(rewriter, op, accumulators);
    int64_t slots = op.getSlots();
    Value upper = emit.emitUpper(emit.index(0));
    auto [firstPart, endPart] = emitParts(emit, emitLower(emit, upper, emit.window), upper, emit.part);
    Value first = firstPart, parts = emit.sub(endPart, firstPart);
    emit.loop(emit.index(emit.kvHeads), [&](Value kvHead) {
      emit.loop(emit.dim(op.getSums(), 1), [&](Value slot) {
        auto [runBegin, runEnd] = emitRun(emit, emit.add(op.getSlot(), slot), slots, parts);
        Value begin = runBegin, behind = emit.add(first, runEnd);
        emit.loop(begin, runEnd, 1, [&](Value i) {
          Value place = emit.sub(i, begin);
          emit.emitRows(kvHead, emit.add(first, i), behind, [&](Value) {
            return std::make_unique<StoringSink>(emit, op.getSums(), op.getStats(), slot, place);
          });
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }

  int64_t accumulators;
};

} // namespace

void elutq::lm::populateAttentionToVectorPatterns(RewritePatternSet &patterns, int64_t accumulators,
                                                  PatternBenefit benefit) {
  patterns.add<LowerAttention, LowerAttentionParts>(patterns.getContext(), accumulators, benefit);
}
