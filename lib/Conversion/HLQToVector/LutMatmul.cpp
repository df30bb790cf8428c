//===- LutMatmul.cpp - hlq.lut_matmul as loops over vectors --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ProductEmitter.h"
#include "elutq/Analysis/KernelCost.h"
#include "elutq/Conversion/HLQToVector.h"

using namespace mlir;
using namespace elutq::hlq;

/// Look-ups of one loop body with dword lanes.
static constexpr int64_t kUnrolledDwordLookups = 192;

/// Blocks of activations up to which weights are asked for ahead with byte lanes, which take few rows at once: later blocks
/// ask for nothing new, but that is one instruction for 16 look-ups and more.
static constexpr int64_t kPrefetchedBlocks = 2;

namespace {

struct LutMatmulEmitter : ProductEmitter<LutMatmulOp> {
  LutMatmulEmitter(OpBuilder &builder, LutMatmulOp op, int64_t tableBytes)
      : ProductEmitter(builder, op, tableBytes, op.getKernel().getMTile() * op.getKernel().getTableBits() / 2), bits(layout.getBits()),
        isDword(layout.getLane() == Lane::Dword) {
    // Planes that are added up need the sums of one.
    int64_t sumsOfPlane = layout.getParams() == Params::HLQ ? mTile * tableParts : 1;
    int64_t maxPlanes = isDword && mTile > 1 ? std::max<int64_t>(elutq::kDwordSums / sumsOfPlane, 1) : 1;
    planesAtOnce = llvm::divideCeil(bits, llvm::divideCeil(bits, maxPlanes));
    if (isDword && layout.isCompact())
      planesAtOnce = bits;
    int64_t blocks = cast<MemRefType>(op.getScales().getType()).getDimSize(0);
    if (!isDword && blocks != ShapedType::kDynamic)
      readsOnce = blocks <= kPrefetchedBlocks;
  }

  static bool canEmit(LutMatmulOp) { return true; }
  static constexpr StringRef kRequirement = "expected planes";

protected:
  SmallVector<Value> emitSums(int64_t group, SmallVector<Value> &y) override {
    if (layout.getParams() != Params::HLQ) {
      if (layout.isCompact())
        loadRatios(group);
      auto planes = llvm::to_vector(llvm::seq<int64_t>(bits));
      SmallVector<Value> partial = emitPartial(group, /*sets=*/1, [&](const TableGroup &u) {
        return isDword ? emitWeightedDwordSums(u) : emitByteSums(u, planes);
      });
      SmallVector<Value> scales = loadParams(group, 0);
      addScaled(y, scales, partial);
      if (!layout.isCompact())
        return emitCentred(group, scales);
      SmallVector<Value> centred;
      for (auto [piece, scale] : llvm::enumerate(scales))
        centred.push_back(emitCentred(group, piece, scale, middles[piece]));
      return centred;
    }
    SmallVector<Value> scaleSum;
    for (int64_t first = 0; first < bits; first += planesAtOnce) {
      auto planes = llvm::to_vector(llvm::seq<int64_t>(first, std::min(first + planesAtOnce, bits)));
      SmallVector<Value> partial = emitPartial(group, planes.size(), [&](const TableGroup &u) {
        return isDword ? emitDwordSums(u, planes) : emitByteSums(u, planes);
      });
      for (auto [i, plane] : llvm::enumerate(planes)) {
        SmallVector<Value> scales = loadParams(group, plane);
        addScaled(y, scales, ArrayRef(partial).slice(i * mTile * pieces, mTile * pieces));
        for (int64_t piece = 0; piece < pieces; ++piece) {
          if (plane == 0)
            scaleSum.push_back(scales[piece]);
          else
            scaleSum[piece] = addF(scaleSum[piece], scales[piece]);
        }
      }
    }
    return emitCentred(group, scaleSum);
  }

  /// A task reads the tables of each block of rows once per pass, from beyond the second-level cache. While the row blocks are
  /// multiplied by those of one block of rows, each asks for an equal part of the next one's.
  void prefetchAhead(Value firstUnit) override {
    int64_t rowBlocks = cast<MemRefType>(op.getPacked().getType()).getDimSize(0);
    if (readsOnce || unitsPerPass == units || ShapedType::isDynamic(rowBlocks))
      return;
    int64_t linesPerChunk = mTile * tableParts;
    int64_t lines = llvm::divideCeil(unitsPerPass * unit.unitColumns / 16 * linesPerChunk, rowBlocks);
    Value nextBlock = add(mBlock, 1), firstChunk = mul(firstUnit, unit.unitColumns / 16);
    loopOver(lines, {}, [&](Value i, SmallVector<Value> &) {
      Value line = add(mul(nBlock, lines), i), lineOfChunk = rem(line, linesPerChunk);
      SmallVector<Value> place = {nextBlock, add(firstChunk, div(line, linesPerChunk)), div(lineOfChunk, tableParts),
                                  mul(rem(lineOfChunk, tableParts), elutq::kLineBytes)};
      memref::PrefetchOp::create(b, loc, op.getTables(), place, /*isWrite=*/false, /*localityHint=*/2,
                                 /*isDataCache=*/true);
    });
  }

private:
  /// `r_j` of a group with compact parameters, and what the scale is multiplied by in `zc`.
  void loadRatios(int64_t group) {
    ratios.clear();
    middles.clear();
    for (int64_t piece = 0; piece < pieces; ++piece) {
      // The codes without bits and with all bits, bytes both.
      Value least = loadRatio(group, bits, piece), greatest = least;
      for (int64_t plane = 0; plane < bits; ++plane) {
        ratios.push_back(loadRatio(group, plane, piece));
        greatest = add(greatest, ratios.back());
      }
      Value both = add(widen(least), widen(greatest));
      both = add(both, splat(getInts(kFloatLanes, 32), -2 * kCodeCentre));
      middles.push_back(mulF(arith::SIToFPOp::create(b, loc, getFloats(), both), splat(0.5f)));
    }
  }

  /// How much a plane counts in the sum of all, for 16 rows: as bytes, four for each row.
  Value getDwordWeights(int64_t plane) {
    if (!layout.isCompact())
      return splat(getInts(64, 8), int64_t(1) << plane);
    SmallVector<int64_t> places;
    for (int64_t i = 0; i < 64; ++i)
      places.push_back(i / 4);
    return vector::ShuffleOp::create(b, loc, ratios[plane], ratios[plane], places);
  }

  /// The sum of row `piece` of 16 rows of weights, as it counts in the sum of all planes.
  Value weigh(int64_t plane, int64_t piece, Value sum) {
    if (layout.isCompact())
      return arith::MulIOp::create(b, loc, sum, widen(ratios[piece * bits + plane]));
    return plane == 0 ? sum : shiftLeft(sum, splat(getInts(kFloatLanes, 32), plane));
  }

  /// Dword lanes: the sums of all planes together, of which as many as `planesAtOnce` are read at a time. One row has few sums, and each
  /// addition to one waits for the one before: its planes are added up in the end.
  SmallVector<Value> emitWeightedDwordSums(const TableGroup &u) {
    int64_t perPlane = tableParts * mTile;
    SmallVector<Value> sums;
    for (int64_t first = 0; first < bits; first += planesAtOnce) {
      auto planes = llvm::to_vector(llvm::seq<int64_t>(first, std::min(first + planesAtOnce, bits)));
      SmallVector<Value> weights;
      for (int64_t plane : planes)
        weights.push_back(layout.isCompact() || plane > 0 ? getDwordWeights(plane) : Value());
      bool areApart = mTile == 1;
      SmallVector<Value> zeros(perPlane * (areApart ? planes.size() : 1), splat(getInts(kFloatLanes, 32), 0));
      SmallVector<Value> added = addLookups(u, planes, weights, zeros, areApart);
      for (auto [i, sum] : llvm::enumerate(added)) {
        if (static_cast<int64_t>(sums.size()) < perPlane)
          sums.push_back(sum);
        else
          sums[i % perPlane] = add(sums[i % perPlane], sum);
      }
    }
    return joinParts(std::move(sums));
  }

  /// The nibbles of `bytes`, low or high, as bytes.
  Value getNibbles(Value bytes, int64_t half) {
    auto type = cast<VectorType>(bytes.getType());
    if (half == 1) {
      // Words: no machine here shifts bytes.
      VectorType words = getInts(type.getNumElements() / 2, 16);
      bytes = bitcast(type, shiftRight(bitcast(words, bytes), splat(words, 4)));
    }
    return arith::AndIOp::create(b, loc, bytes, splat(type, 15));
  }

  /// Dword lanes: the sums of each plane.
  SmallVector<Value> emitDwordSums(const TableGroup &u, ArrayRef<int64_t> planes) {
    SmallVector<Value> sums(planes.size() * tableParts * mTile, splat(getInts(kFloatLanes, 32), 0)), joined;
    sums = addLookups(u, planes, {}, sums, /*areApart=*/true);
    for (size_t first = 0; first < sums.size(); first += tableParts * mTile)
      joined.append(joinParts(SmallVector<Value>(ArrayRef(sums).slice(first, tableParts * mTile))));
    return joined;
  }

  /// Adds what the planes select, times `weights` where there are such, to `sums`: those of each plane if they are apart, or of all planes
  /// together. A chunk is half a step; a look-up goes into four tables at once.
  SmallVector<Value> addLookups(const TableGroup &u, ArrayRef<int64_t> planes, ArrayRef<Value> weights, SmallVector<Value> sums,
                                bool areApart) {
    VectorType bytesType = getInts(64, 8), wordsType = getInts(kFloatLanes, 32);
    SmallVector<int8_t> tableOfByte;
    for (int64_t i = 0; i < 64; ++i)
      tableOfByte.push_back(16 * (i % 4));
    Value offsets = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(bytesType, ArrayRef(tableOfByte)));
    auto body = [&](int64_t chunk, Value loopChunk, Value loopByte, SmallVector<Value> &sums) {
      SmallVector<Value> indices;
      for (int64_t plane : planes) {
        Value nibbles = getNibbles(loadPlane(plane, chunk / 2, loopByte, /*isFirst=*/chunk % 2 == 0), chunk % 2);
        indices.push_back(arith::OrIOp::create(b, loc, nibbles, offsets));
      }
      for (int64_t i = 0; i < tableParts * mTile; ++i) {
        Value table = loadEntries(chunk, loopChunk, i % mTile, i / mTile * 64, 64);
        for (auto [plane, places] : llvm::enumerate(indices)) {
          Value found = LookupOp::create(b, loc, bytesType, table, places);
          Value &sum = sums[(areApart ? plane * tableParts * mTile : 0) + i];
          if (!weights.empty() && weights[plane])
            sum = DotOp::create(b, loc, wordsType, sum, weights[plane], found);
          else
            sum = AccumulateOp::create(b, loc, wordsType, sum, found);
        }
      }
    };
    return emitChunks(u, std::max<int64_t>(kUnrolledDwordLookups / (tableParts * mTile * planes.size()), 1), sums, body);
  }

  /// Byte lanes: two steps per chunk, 16-bit sums of whole words and of their high bytes. Even rows are the low bytes:
  /// what the words have and the high bytes do not. One byte of the entries at a time: registers hold no more.
  SmallVector<Value> emitByteSums(const TableGroup &u, ArrayRef<int64_t> planes) {
    SmallVector<Value> sums;
    for (int64_t part = 0; part < tableParts; ++part) {
      SmallVector<Value> total;
      for (int64_t plane : planes) {
        SmallVector<Value> rows = emitRows(emitByteWords(u, plane, part));
        if (planes.size() > 1 || layout.isCompact())
          for (auto [i, sum] : llvm::enumerate(rows))
            sum = weigh(plane, i % pieces, sum);
        if (total.empty())
          total = rows;
        else
          for (auto [sum, addend] : llvm::zip_equal(total, rows))
            sum = add(sum, addend);
      }
      sums.append(total);
    }
    return joinParts(std::move(sums));
  }

  /// The sums of 16 rows each, from those of whole words and of their high bytes.
  SmallVector<Value> emitRows(ArrayRef<Value> words) {
    SmallVector<Value> rows;
    Value eight = splat(cast<VectorType>(words[0].getType()), 8);
    for (size_t i = 0; i < words.size(); i += 2) {
      Value odd = words[i + 1];
      Value even = arith::SubIOp::create(b, loc, words[i], shiftLeft(odd, eight));
      Value all = vector::InterleaveOp::create(b, loc, even, odd);
      for (int64_t piece = 0; piece < pieces; ++piece)
        rows.push_back(arith::ExtSIOp::create(b, loc, getInts(kFloatLanes, 32), slice(all, piece * kFloatLanes, kFloatLanes)));
    }
    return rows;
  }

  /// The two sums of each row of activations. They start at what makes up for the 128 that every entry is raised by: the same
  /// for both, since 256 times that is a multiple of 2^16.
  SmallVector<Value> emitByteWords(const TableGroup &u, int64_t plane, int64_t part) {
    VectorType bytesType = getInts(unit.rows, 8), wordsType = getInts(unit.rows / 2, 16);
    Value eight = splat(wordsType, 8);
    SmallVector<Value> words(2 * mTile, splat(wordsType, -128 * (tableGroup / 4)));
    bool isFirstReading = std::exchange(readsOnce, readsOnce && part == 0);
    auto body = [&](int64_t chunk, Value loopChunk, Value loopByte, SmallVector<Value> &words) {
      for (int64_t step = 0; step < 2; ++step) {
        Value bytes = loadPlane(plane, 2 * chunk + step, loopByte);
        Value low = getNibbles(bytes, 0), high = getNibbles(bytes, 1);
        for (int64_t m = 0; m < mTile; ++m) {
          auto lookup = [&](Value indices, int64_t subgroup) {
            Value table = loadEntries(chunk, loopChunk, m, 64 * part + 16 * subgroup, 16);
            return bitcast(wordsType, LookupOp::create(b, loc, bytesType, table, indices));
          };
          Value x = lookup(low, 2 * step), y = lookup(high, 2 * step + 1);
          Value &all = words[2 * m], &odd = words[2 * m + 1];
          all = add(all, add(x, y));
          odd = add(odd, add(shiftRight(x, eight), shiftRight(y, eight)));
        }
      }
    };
    words = emitChunks(u, /*maxBlock=*/1, words, body);
    readsOnce = isFirstReading;
    return words;
  }

  int64_t bits;
  bool isDword;
  /// Dword lanes look up several planes in a table while it is in a register: a second pass over the tables of several rows
  /// of activations would find them in the stack, where LLVM keeps what is loaded twice. Byte lanes have no registers left.
  /// One row waits for memory, and reads plane after plane: what lies side by side is one stream. But with compact parameters LLVM, short
  /// of registers, asks for the weights of all planes in one place then.
  int64_t planesAtOnce;
  /// Of the group, with compact parameters: `r_j` of 16 rows each, planes inner, and what `zc` has beside the scale.
  SmallVector<Value> ratios, middles;
};

} // namespace

void elutq::hlq::populateLutMatmulToVectorPatterns(RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                                   PatternBenefit benefit) {
  patterns.add<VectorizeProduct<LutMatmulOp, LutMatmulEmitter>>(patterns.getContext(), options.tableBytes, benefit);
}
