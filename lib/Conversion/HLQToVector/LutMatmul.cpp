//===- LutMatmul.cpp - hlq.lut_matmul as loops over vectors --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "VectorEmitter.h"
#include "elutq/Conversion/HLQToVector.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace elutq::hlq;

/// Look-ups of one loop body: more would not fit the cache of decoded instructions. Those of byte lanes take more
/// instructions, and where there are many LLVM reorders their sums and spills what was found.
static constexpr int64_t kUnrolledDwordLookups = 64;
static constexpr int64_t kUnrolledByteLookups = 8;

/// 16-bit sums that stay in registers beside tables and indices.
static constexpr int64_t kByteAccumulators = 8;

/// Table groups per weight group up to which their loop is unrolled.
static constexpr int64_t kUnrolledTableGroups = 2;

namespace {

/// Emits the product of blocks of `m_tile` rows of tables and row blocks of weights.
///
/// Values per row of activations and 16 rows of weights ("pieces") are kept in one list, pieces inner.
struct LutMatmulEmitter : VectorEmitter {
  LutMatmulEmitter(OpBuilder &builder, LutMatmulOp op, int64_t tableBytes)
      : VectorEmitter(builder, op.getLoc()), op(op), layout(op.getLayout()), unit(layout), bits(layout.getBits()),
        mTile(op.getKernel().getMTile()), pieces(layout.getRows() / kFloatLanes), tableGroup(op.getTableGroup()),
        tableGroups(layout.getGroupSize() / tableGroup), tableParts(op.getKernel().getTableBits() / 8),
        isDword(layout.getLane() == Lane::Dword),
        sharesTables(!isDword && 2 * bits * mTile <= kByteAccumulators) {
    units = cast<MemRefType>(op.getScales().getType()).getDimSize(1) * tableGroup / unit.unitColumns;
    unitsPerPass = std::clamp<int64_t>(tableBytes / (mTile * tableParts * 4 * unit.unitColumns), 1, units);
  }

  void emit() {
    // A pass over the row blocks uses the tables of `unitsPerPass` units. Between passes the sums rest in `init`, which
    // does not change their bits.
    loop(index(0), index(units), unitsPerPass, {}, [&](Value firstUnit, ValueRange) -> SmallVector<Value> {
      Value endUnit = add(firstUnit, unitsPerPass);
      if (units % unitsPerPass != 0)
        endUnit = arith::MinUIOp::create(b, loc, endUnit, index(units));
      loop(dim(op.getTables(), 0), [&](Value mb) {
        mBlock = mb;
        loop(dim(op.getPacked(), 0), [&](Value nb) {
          nBlock = nb;
          emitTile(firstUnit, endUnit);
        });
      });
      return {};
    });
  }

private:
  /// One block of rows and one row block of weights, from one unit to another.
  void emitTile(Value firstUnit, Value endUnit) {
    SmallVector<Value> y;
    Value isFirst;
    if (unitsPerPass < units)
      isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, firstUnit, index(0));
    for (int64_t m = 0; m < mTile; ++m) {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        Value value = splat(0.0f);
        if (isFirst) {
          Value previous = loadVector(getFloats(), op.getInit(), getInitIndices(m, piece));
          value = arith::SelectOp::create(b, loc, isFirst, value, previous);
        }
        y.push_back(value);
      }
    }
    y = loop(firstUnit, endUnit, 1, y, [&](Value u, ValueRange args) {
      SmallVector<Value> y(args);
      unitOffset = mul(u, unit.unitBytes);
      unitChunk = mul(u, unit.unitColumns / 16);
      unitTableGroup = mul(u, unit.unitColumns / tableGroup);
      for (int64_t group = 0; group < unit.groupsPerUnit; ++group)
        emitGroup(group, y);
      return y;
    });
    for (int64_t m = 0; m < mTile; ++m)
      for (int64_t piece = 0; piece < pieces; ++piece)
        storeVector(y[m * pieces + piece], op.getInit(), getInitIndices(m, piece));
  }

  SmallVector<Value> getInitIndices(int64_t m, int64_t piece) {
    return {add(mul(mBlock, mTile), m), add(mul(nBlock, unit.rows), piece * kFloatLanes)};
  }

  /// Adds group `group` of the unit to `y`.
  void emitGroup(int64_t group, SmallVector<Value> &y) {
    auto addScaled = [&](ArrayRef<Value> scales, ArrayRef<Value> partial) {
      for (int64_t i = 0; i < mTile * pieces; ++i)
        y[i] = fma(scales[i % pieces], partial[i], y[i]);
    };
    SmallVector<Value> scaleSum;
    if (layout.getParams() == Params::HLQ) {
      SmallVector<Value> partials;
      if (sharesTables)
        partials = emitPartial(group, llvm::to_vector(llvm::seq<int64_t>(bits)), /*combines=*/false);
      for (int64_t plane = 0; plane < bits; ++plane) {
        SmallVector<Value> scales = loadParams(group, plane);
        if (sharesTables)
          addScaled(scales, ArrayRef(partials).slice(plane * mTile * pieces, mTile * pieces));
        else
          addScaled(scales, emitPartial(group, {plane}, /*combines=*/false));
        for (int64_t piece = 0; piece < pieces; ++piece) {
          if (plane == 0)
            scaleSum.push_back(scales[piece]);
          else
            scaleSum[piece] = addF(scaleSum[piece], scales[piece]);
        }
      }
    } else {
      // High planes first: each further plane doubles what is there.
      auto planes = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(bits)));
      SmallVector<Value> partial = emitPartial(group, planes, /*combines=*/true);
      scaleSum = loadParams(group, 0);
      addScaled(scaleSum, partial);
    }

    SmallVector<Value> centred;
    double half = getHalfScaleSum(layout);
    if (layout.hasZero()) {
      SmallVector<Value> zeros = loadParams(group, layout.getScalesPerGroup());
      for (int64_t piece = 0; piece < pieces; ++piece)
        centred.push_back(fma(scaleSum[piece], splat(static_cast<float>(half)), zeros[piece]));
    } else {
      for (Value scale : scaleSum)
        centred.push_back(mulF(scale, splat(static_cast<float>(half - layout.getZeroPoint()))));
    }
    SmallVector<Value> sums;
    for (int64_t m = 0; m < mTile; ++m) {
      Value sum = broadcast(emitActivationSum(group, m));
      sums.append(pieces, sum);
    }
    addScaled(centred, sums);
  }

  /// Parameter `number` of all rows as floats.
  SmallVector<Value> loadParams(int64_t group, int64_t number) {
    SmallVector<Value> params;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      int64_t offset = unit.planesBytes + group * unit.groupParamBytes +
                       (number * unit.rows + piece * kFloatLanes) * unit.paramBytes;
      Value bytes = loadVector(getInts(kFloatLanes * unit.paramBytes, 8), op.getPacked(),
                               {nBlock, add(unitOffset, offset)});
      Value param = bitcast(VectorType::get(kFloatLanes, layout.getParamType()), bytes);
      params.push_back(layout.getParamType().isF32() ? param
                                                     : arith::ExtFOp::create(b, loc, getFloats(), param).getResult());
    }
    return params;
  }

  /// The sum of row `m` of the activations of a group.
  Value emitActivationSum(int64_t group, int64_t m) {
    Value first = add(unitTableGroup, group * tableGroups);
    auto loadSum = [&](Value u) { return load(op.getSums(), {mBlock, u, index(m)}); };
    Value sum = loadSum(first);
    if (tableGroups > kUnrolledTableGroups)
      return loop(1, tableGroups, sum, [&](Value u, ValueRange sum) -> SmallVector<Value> {
        return {addF(sum[0], loadSum(add(first, u)))};
      })[0];
    for (int64_t u = 1; u < tableGroups; ++u)
      sum = addF(sum, loadSum(add(first, u)));
    return sum;
  }

  /// Where a table group lies. The offsets from the start of the unit's planes are relative to the plane.
  struct TableGroup {
    /// First chunk of 16 columns in the unit, without the part that only a loop knows.
    int64_t chunk;
    /// Chunk and byte of the loop's table group, null outside of loops.
    Value loopChunk, loopByte;
    /// Number among the table groups of the matrix.
    Value number;
  };

  /// `p(j, G)` of each of `planes`; or, if it `combines` them, for one sum, which each plane after the first one doubles
  /// before it adds its own.
  SmallVector<Value> emitPartial(int64_t group, ArrayRef<int64_t> planes, bool combines) {
    int64_t firstChunk = group * layout.getGroupSize() / 16, chunks = tableGroup / 16;
    Value first = add(unitTableGroup, group * tableGroups);
    SmallVector<Value> partial((combines ? 1 : planes.size()) * mTile * pieces, splat(0.0f));
    if (tableGroups > kUnrolledTableGroups && tableGroup % unit.stepColumns == 0) {
      int64_t bytes = tableGroup / unit.stepColumns * unit.vectorBytes;
      return loop(0, tableGroups, partial, [&](Value u, ValueRange args) {
        SmallVector<Value> partial(args);
        emitTableGroup({firstChunk, mul(u, chunks), mul(u, bytes), add(first, u)}, planes, combines, partial);
        return partial;
      });
    }
    for (int64_t u = 0; u < tableGroups; ++u)
      emitTableGroup({firstChunk + u * chunks, Value(), Value(), add(first, u)}, planes, combines, partial);
    return partial;
  }

  void emitTableGroup(TableGroup u, ArrayRef<int64_t> planes, bool combines, SmallVector<Value> &partial) {
    SmallVector<Value> sums = isDword ? emitDwordSums(u, planes) : emitByteSums(u, planes, combines);
    SmallVector<Value> scales;
    for (int64_t m = 0; m < mTile; ++m)
      scales.append(pieces, broadcast(load(op.getScales(), {mBlock, u.number, index(m)})));
    for (auto [i, p] : llvm::enumerate(partial))
      p = fma(scales[i % scales.size()], arith::SIToFPOp::create(b, loc, getFloats(), sums[i]), p);
  }

  /// A vector of plane bytes; `loopByte` may be null.
  Value loadPlane(int64_t plane, int64_t step, Value loopByte) {
    Value offset = add(unitOffset, plane * unit.planeBytes + step * unit.vectorBytes);
    if (loopByte)
      offset = add(offset, loopByte);
    return loadVector(getInts(unit.vectorBytes, 8), op.getPacked(), {nBlock, offset});
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

  /// Bytes of the tables of row `m` in a chunk, from byte `entry` on; `loopChunk` may be null.
  Value loadTable(int64_t chunk, Value loopChunk, int64_t m, int64_t entry, int64_t count) {
    Value position = add(unitChunk, chunk);
    if (loopChunk)
      position = add(position, loopChunk);
    return loadVector(getInts(count, 8), op.getTables(), {mBlock, position, index(m), index(entry)});
  }

  using ChunkBody = function_ref<void(int64_t chunk, Value loopChunk, Value loopByte, SmallVector<Value> &)>;

  /// Runs `body` for the chunks of a table group, in a loop over blocks of at most `maxBlock` of them.
  SmallVector<Value> emitChunks(const TableGroup &u, int64_t maxBlock, SmallVector<Value> values, ChunkBody body) {
    int64_t chunks = tableGroup / 16, chunksPerStep = std::max<int64_t>(unit.stepColumns / 16, 1);
    int64_t block = chunks;
    while (block > maxBlock && block % 2 == 0 && block / 2 % chunksPerStep == 0)
      block /= 2;
    if (block == chunks) {
      for (int64_t c = 0; c < chunks; ++c)
        body(u.chunk + c, u.loopChunk, u.loopByte, values);
      return values;
    }
    int64_t blockBytes = block * 16 / unit.stepColumns * unit.vectorBytes;
    // LLVM would unroll the loop, load the tables of all planes at once, and spill them.
    auto unroll = LLVM::LoopUnrollAttr::get(b.getContext(), /*disable=*/b.getBoolAttr(true), {}, {}, {}, {}, {}, {});
    auto annotation = LLVM::LoopAnnotationAttr::get(b.getContext(), {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {},
                                                    {}, {}, {});
    NamedAttribute hint(b.getStringAttr("llvm.loop_annotation"), annotation);
    auto emitBlock = [&](Value i, ValueRange args) {
      SmallVector<Value> values(args);
      Value chunk = mul(i, block), byte = mul(i, blockBytes);
      if (u.loopChunk) {
        chunk = add(chunk, u.loopChunk);
        byte = add(byte, u.loopByte);
      }
      for (int64_t c = 0; c < block; ++c)
        body(u.chunk + c, chunk, byte, values);
      return values;
    };
    return loop(index(0), index(chunks / block), 1, values, emitBlock, hint);
  }

  /// Dword lanes: a chunk is half a step; a look-up goes into four tables at once.
  SmallVector<Value> emitDwordSums(const TableGroup &u, ArrayRef<int64_t> planes) {
    VectorType bytesType = getInts(64, 8), wordsType = getInts(kFloatLanes, 32);
    SmallVector<int8_t> tableOfByte;
    for (int64_t i = 0; i < 64; ++i)
      tableOfByte.push_back(16 * (i % 4));
    Value offsets = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(bytesType, ArrayRef(tableOfByte)));
    SmallVector<Value> sums(tableParts * mTile, splat(wordsType, 0));
    for (int64_t plane : planes) {
      if (plane != planes.front())
        for (Value &sum : sums)
          sum = add(sum, sum);
      auto body = [&](int64_t chunk, Value loopChunk, Value loopByte, SmallVector<Value> &sums) {
        Value nibbles = getNibbles(loadPlane(plane, chunk / 2, loopByte), chunk % 2);
        Value indices = arith::OrIOp::create(b, loc, nibbles, offsets);
        for (auto [i, sum] : llvm::enumerate(sums)) {
          Value table = loadTable(chunk, loopChunk, i % mTile, i / mTile * 64, 64);
          sum = AccumulateOp::create(b, loc, wordsType, sum, LookupOp::create(b, loc, bytesType, table, indices));
        }
      };
      sums = emitChunks(u, kUnrolledDwordLookups / (tableParts * mTile), sums, body);
    }
    return joinParts(std::move(sums));
  }

  /// The sums of entries from those of their bytes, high ones, if any, before low ones.
  SmallVector<Value> joinParts(SmallVector<Value> sums) {
    if (tableParts == 1)
      return sums;
    size_t half = sums.size() / 2;
    Value eight = splat(cast<VectorType>(sums[0].getType()), 8);
    for (size_t i = 0; i < half; ++i)
      sums[i] = add(shiftLeft(sums[i], eight), sums[half + i]);
    sums.truncate(half);
    return sums;
  }

  /// Byte lanes: two steps per chunk, 16-bit sums of whole words and of their high bytes. Even rows are the low bytes:
  /// what the words have and the high bytes do not.
  SmallVector<Value> emitByteSums(const TableGroup &u, ArrayRef<int64_t> planes, bool combines) {
    SmallVector<Value> sums;
    for (int64_t part = 0; part < tableParts; ++part)
      sums.append(emitBytePart(u, planes, part, combines));
    return joinParts(std::move(sums));
  }

  /// The sums of one byte of the entries: registers hold no more.
  SmallVector<Value> emitBytePart(const TableGroup &u, ArrayRef<int64_t> planes, int64_t part, bool combines) {
    SmallVector<Value> words;
    if (sharesTables) {
      words = emitByteWords(u, planes, part, std::max<int64_t>(1, kUnrolledByteLookups / (4 * mTile * planes.size())));
    } else {
      for (int64_t plane : planes)
        words.append(emitByteWords(u, plane, part, 1));
    }
    VectorType sumsType = getInts(kFloatLanes, 32);
    Value eight = splat(cast<VectorType>(words[0].getType()), 8);
    SmallVector<Value> total;
    for (size_t i = 0; i < words.size(); i += 2) {
      Value odd = words[i + 1];
      Value even = arith::SubIOp::create(b, loc, words[i], shiftLeft(odd, eight));
      Value rows = vector::InterleaveOp::create(b, loc, even, odd);
      for (int64_t piece = 0; piece < pieces; ++piece) {
        Value part = slice(rows, piece * kFloatLanes, kFloatLanes);
        Value sum = arith::ExtUIOp::create(b, loc, sumsType, part);
        if (!combines || static_cast<int64_t>(i) < 2 * mTile) {
          total.push_back(sum);
        } else {
          Value &sums = total[i / 2 % mTile * pieces + piece];
          sums = add(add(sums, sums), sum);
        }
      }
    }
    // 128 for each look-up, weighted like the planes.
    Value bias = splat(sumsType, 128 * (tableGroup / 4) * (combines ? (1 << planes.size()) - 1 : 1));
    for (Value &sum : total)
      sum = arith::SubIOp::create(b, loc, sum, bias);
    return total;
  }

  /// The two sums of each row of activations and plane, planes outer.
  SmallVector<Value> emitByteWords(const TableGroup &u, ArrayRef<int64_t> planes, int64_t part, int64_t maxBlock) {
    VectorType bytesType = getInts(unit.rows, 8), wordsType = getInts(unit.rows / 2, 16);
    Value eight = splat(wordsType, 8);
    SmallVector<Value> words(2 * mTile * planes.size(), splat(wordsType, 0));
    auto body = [&](int64_t chunk, Value loopChunk, Value loopByte, SmallVector<Value> &words) {
      for (int64_t step = 0; step < 2; ++step) {
        for (auto [i, plane] : llvm::enumerate(planes)) {
          Value bytes = loadPlane(plane, 2 * chunk + step, loopByte);
          Value low = getNibbles(bytes, 0), high = getNibbles(bytes, 1);
          for (int64_t m = 0; m < mTile; ++m) {
            auto lookup = [&](Value indices, int64_t subgroup) {
              Value table = loadTable(chunk, loopChunk, m, 64 * part + 16 * subgroup, 16);
              return bitcast(wordsType, LookupOp::create(b, loc, bytesType, table, indices));
            };
            Value x = lookup(low, 2 * step), y = lookup(high, 2 * step + 1);
            Value &all = words[2 * (i * mTile + m)], &odd = words[2 * (i * mTile + m) + 1];
            all = add(all, add(x, y));
            odd = add(odd, add(shiftRight(x, eight), shiftRight(y, eight)));
          }
        }
      }
    };
    return emitChunks(u, maxBlock, words, body);
  }

  LutMatmulOp op;
  LayoutAttr layout;
  UnitLayout unit;
  int64_t bits, mTile, pieces, tableGroup;
  /// Table groups per weight group.
  int64_t tableGroups;
  /// Bytes of a table entry.
  int64_t tableParts;
  bool isDword;
  /// Whether the sums of all planes fit the registers, so that each table is loaded once for all planes.
  bool sharesTables;
  int64_t units, unitsPerPass;
  /// The position of the loops.
  Value mBlock, nBlock, unitOffset, unitChunk, unitTableGroup;
};

struct VectorizeLutMatmul : OpRewritePattern<LutMatmulOp> {
  VectorizeLutMatmul(MLIRContext *context, const HLQToVectorOptions &options, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), options(options) {}

  LogicalResult matchAndRewrite(LutMatmulOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    if (op.getLayout().getRows() % kFloatLanes != 0)
      return rewriter.notifyMatchFailure(op, "expected a multiple of 16 rows");
    LutMatmulEmitter(rewriter, op, options.tableBytes).emit();
    rewriter.eraseOp(op);
    return success();
  }

  HLQToVectorOptions options;
};

} // namespace

void elutq::hlq::populateLutMatmulToVectorPatterns(RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                                   PatternBenefit benefit) {
  patterns.add<VectorizeLutMatmul>(patterns.getContext(), options, benefit);
}
