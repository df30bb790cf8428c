//===- ProductEmitter.h - Products with packed weights as vectors *- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_HLQTOVECTOR_PRODUCTEMITTER_H
#define ELUTQ_LIB_CONVERSION_HLQTOVECTOR_PRODUCTEMITTER_H

#include "../CacheLine.h"
#include "VectorEmitter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace elutq::hlq {

/// What `hlq.lut_matmul` and `hlq.code_matmul` have in common: the loops over blocks of `m_tile` rows of activations,
/// row blocks of weights and groups, and the sums in float.
///
/// Values per row of activations and 16 rows of weights ("pieces") are kept in one list, pieces inner.
template <typename OpTy>
struct ProductEmitter : VectorEmitter {
  /// Table groups per weight group up to which their loop is unrolled.
  static constexpr int64_t kUnrolledTableGroups = 2;
  /// How far ahead weights are asked for by default: more than memory sends while it is waited for, and a small part of the
  /// second-level cache. What lies beyond the matrix is asked for in vain.
  static constexpr int64_t kPrefetchBytes = 16384;

  /// A pass over the row blocks uses at most `passBytes` of what is to stay in the first-level cache, `columnBytes` per
  /// column.
  ProductEmitter(mlir::OpBuilder &builder, OpTy op, int64_t passBytes, int64_t columnBytes)
      : VectorEmitter(builder, op.getLoc()), op(op), layout(op.getLayout()), unit(layout),
        mTile(op.getKernel().getMTile()), pieces(layout.getRows() / kFloatLanes), tableGroup(op.getTableGroup()),
        tableGroups(layout.getGroupSize() / tableGroup), tableParts(op.getKernel().getTableBits() / 8) {
    readsOnce = llvm::cast<mlir::MemRefType>(op.getScales().getType()).getDimSize(0) == 1;
    units = llvm::cast<mlir::MemRefType>(op.getScales().getType()).getDimSize(1) * tableGroup / unit.unitColumns;
    unitsPerPass = std::clamp<int64_t>(passBytes / (columnBytes * unit.unitColumns), 1, units);
  }
  virtual ~ProductEmitter() = default;

  /// Emits the loops around the tiles.
  virtual void emit() {
    // Between passes the sums rest in `init`, which does not change their bits.
    forEachPass([&](mlir::Value firstUnit, mlir::Value endUnit) {
      loop(dim(op->getOperand(0), 0), [&](mlir::Value mb) {
        mBlock = mb;
        loop(dim(op.getPacked(), 0), [&](mlir::Value nb) {
          nBlock = nb;
          prefetchAhead(firstUnit);
          emitTile(firstUnit, endUnit);
        });
      });
    });
  }

protected:
  /// Called before each tile of a row block, `firstUnit` the first one of the pass.
  virtual void prefetchAhead([[maybe_unused]] mlir::Value firstUnit) {}

  /// Adds the scaled integer sums of group `group` of the unit to `y`; returns `zc` of the op description, or nothing where there is none.
  virtual llvm::SmallVector<mlir::Value> emitSums(int64_t group, llvm::SmallVector<mlir::Value> &y) = 0;

  /// `zc` from the sums of the group's scales.
  llvm::SmallVector<mlir::Value> emitCentred(int64_t group, llvm::ArrayRef<mlir::Value> scaleSum) {
    llvm::SmallVector<mlir::Value> centred;
    for (auto [piece, scale] : llvm::enumerate(scaleSum))
      centred.push_back(emitCentred(group, piece, scale, splat(static_cast<float>(getCentre(layout)))));
    return centred;
  }

  /// `zc` of 16 rows, whose numbers are in units of `scale` and were taken less `middle`.
  mlir::Value emitCentred(int64_t group, int64_t piece, mlir::Value scale, mlir::Value middle) {
    if (layout.hasZero())
      return fma(scale, middle, loadParam(group, layout.getScalesPerGroup(), piece));
    mlir::Value zeroPoint = splat(static_cast<float>(layout.getZeroPoint()));
    return mulF(scale, b.createOrFold<mlir::arith::SubFOp>(loc, middle, zeroPoint));
  }

  /// Row block and byte of the weights to ask for where those at `offset` are read.
  virtual llvm::SmallVector<mlir::Value> getPlaceAhead(mlir::Value offset) { return {nBlock, add(offset, kPrefetchBytes)}; }

  /// The number of row `piece` of 16 rows of weights in the row block.
  virtual mlir::Value getPieceRow(int64_t piece) { return index(piece * kFloatLanes); }

  /// `y` plus the products of what the rows of weights have and `partial`.
  void addScaled(llvm::SmallVector<mlir::Value> &y, llvm::ArrayRef<mlir::Value> scales,
                 llvm::ArrayRef<mlir::Value> partial) {
    for (int64_t i = 0; i < mTile * pieces; ++i)
      y[i] = fma(scales[i % pieces], partial[i], y[i]);
  }

  /// Parameter `number` of all rows as floats.
  llvm::SmallVector<mlir::Value> loadParams(int64_t group, int64_t number) {
    llvm::SmallVector<mlir::Value> params;
    for (int64_t piece = 0; piece < pieces; ++piece)
      params.push_back(loadParam(group, number, piece));
    return params;
  }

  /// Parameter `number` of 16 rows as floats.
  mlir::Value loadParam(int64_t group, int64_t number, int64_t piece) {
    int64_t offset = unit.planesBytes + group * unit.groupParamBytes +
                     (number * unit.rows + piece * kFloatLanes) * unit.paramBytes;
    mlir::Value place = add(unitOffset, offset);
    if (offset % kLineBytes == 0)
      prefetch(place);
    mlir::Value bytes = loadVector(getInts(kFloatLanes * unit.paramBytes, 8), op.getPacked(), {nBlock, place});
    mlir::Value param = bitcast(mlir::VectorType::get(kFloatLanes, layout.getParamType()), bytes);
    return layout.getParamType().isF32() ? param : mlir::arith::ExtFOp::create(b, loc, getFloats(), param).getResult();
  }

  /// Byte `number` of the compact parameters of 16 rows: the ratios of the planes, then the code without bits.
  mlir::Value loadRatio(int64_t group, int64_t number, int64_t piece) {
    int64_t offset = unit.planesBytes + group * unit.groupParamBytes + unit.ratioBytes + number * unit.rows + piece * kFloatLanes;
    return loadVector(getInts(kFloatLanes, 8), op.getPacked(), {nBlock, add(unitOffset, offset)});
  }

  /// Bytes without a sign as 32 bits each.
  mlir::Value widen(mlir::Value bytes) { return mlir::arith::ExtUIOp::create(b, loc, getInts(kFloatLanes, 32), bytes); }

  /// Where a table group lies. The offsets from the start of the unit's planes are relative to the plane.
  struct TableGroup {
    /// First chunk of 16 columns in the unit, without the part that only a loop knows.
    int64_t chunk;
    /// Chunk and byte of the loop's table group, null outside of loops.
    mlir::Value loopChunk, loopByte;
    /// Number among the table groups of the matrix.
    mlir::Value number;
  };

  using IntegerBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(const TableGroup &)>;

  /// `p` of each of `sets` sums: `emitIntegers` gives the integer sums of a table group, those of a set side by side.
  llvm::SmallVector<mlir::Value> emitPartial(int64_t group, int64_t sets, IntegerBody emitIntegers) {
    int64_t firstChunk = group * layout.getGroupSize() / 16, chunks = tableGroup / 16;
    mlir::Value first = add(unitTableGroup, group * tableGroups);
    llvm::SmallVector<mlir::Value> partial(sets * mTile * pieces, splat(0.0f));
    auto emitTableGroup = [&](const TableGroup &u, llvm::SmallVector<mlir::Value> &partial) {
      llvm::SmallVector<mlir::Value> sums = emitIntegers(u), scales;
      for (int64_t m = 0; m < mTile; ++m)
        scales.append(pieces, broadcast(load(op.getScales(), {mBlock, u.number, index(m)})));
      for (auto [i, p] : llvm::enumerate(partial))
        p = fma(scales[i % scales.size()], mlir::arith::SIToFPOp::create(b, loc, getFloats(), sums[i]), p);
    };
    if (tableGroups > kUnrolledTableGroups && tableGroup % unit.stepColumns == 0) {
      int64_t bytes = tableGroup / unit.stepColumns * unit.vectorBytes;
      return loop(0, tableGroups, partial, [&](mlir::Value u, mlir::ValueRange args) {
        llvm::SmallVector<mlir::Value> partial(args);
        emitTableGroup({firstChunk, mul(u, chunks), mul(u, bytes), add(first, u)}, partial);
        return partial;
      });
    }
    for (int64_t u = 0; u < tableGroups; ++u)
      emitTableGroup({firstChunk + u * chunks, mlir::Value(), mlir::Value(), add(first, u)}, partial);
    return partial;
  }

  /// A vector of plane bytes, or of codes; `loopByte` may be null. `isFirst`: not loaded before.
  mlir::Value loadPlane(int64_t plane, int64_t step, mlir::Value loopByte, bool isFirst = true) {
    mlir::Value offset = add(unitOffset, plane * unit.planeBytes + step * unit.vectorBytes);
    if (loopByte)
      offset = add(offset, loopByte);
    if (isFirst && step * unit.vectorBytes % kLineBytes == 0)
      prefetch(offset);
    return loadVector(getInts(unit.vectorBytes, 8), op.getPacked(), {nBlock, offset});
  }

  /// Asks for the weights that are read a while after those at `offset`, if every byte is read once. Into the second-level
  /// cache: the first one waits for too few lines at a time.
  void prefetch(mlir::Value offset) {
    if (readsOnce)
      mlir::memref::PrefetchOp::create(b, loc, op.getPacked(), getPlaceAhead(offset), /*isWrite=*/false,
                                       /*localityHint=*/2, /*isDataCache=*/true);
  }

  /// Bytes of the entries of row `m` in a chunk, from byte `entry` on; `loopChunk` may be null.
  mlir::Value loadEntries(int64_t chunk, mlir::Value loopChunk, int64_t m, int64_t entry, int64_t count) {
    mlir::Value position = add(unitChunk, chunk);
    if (loopChunk)
      position = add(position, loopChunk);
    return loadVector(getInts(count, 8), op->getOperand(0), {mBlock, position, index(m), index(entry)});
  }

  using ChunkBody = llvm::function_ref<void(int64_t chunk, mlir::Value loopChunk, mlir::Value loopByte,
                                            llvm::SmallVector<mlir::Value> &)>;

  /// Four bytes in each of 16 lanes.
  mlir::Value repeat(mlir::Value bytes) {
    mlir::Value word = mlir::vector::ExtractOp::create(b, loc, bitcast(getInts(1, 32), bytes), 0);
    return bitcast(getInts(4 * kFloatLanes, 8), broadcast(word));
  }

  /// Runs `body` for the chunks of a table group, in a loop over blocks of at most `maxBlock` of them.
  llvm::SmallVector<mlir::Value> emitChunks(const TableGroup &u, int64_t maxBlock,
                                            llvm::SmallVector<mlir::Value> values, ChunkBody body) {
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
    auto emitBlock = [&](mlir::Value i, llvm::SmallVector<mlir::Value> &values) {
      mlir::Value chunk = mul(i, block), byte = mul(i, blockBytes);
      if (u.loopChunk) {
        chunk = add(chunk, u.loopChunk);
        byte = add(byte, u.loopByte);
      }
      for (int64_t c = 0; c < block; ++c)
        body(u.chunk + c, chunk, byte, values);
    };
    return loopOver(chunks / block, values, emitBlock, /*keep=*/true);
  }

  /// Runs `body` `count` times. With `keep`, LLVM does not unroll the loop: it would load what many iterations need at once,
  /// in an order that is not the memory's, add their sums to each other first, and spill.
  llvm::SmallVector<mlir::Value>
  loopOver(int64_t count, mlir::ValueRange values,
           llvm::function_ref<void(mlir::Value, llvm::SmallVector<mlir::Value> &)> body, bool keep = false) {
    using namespace mlir::LLVM;
    auto emitBody = [&](mlir::Value i, mlir::ValueRange args) {
      llvm::SmallVector<mlir::Value> values(args);
      body(i, values);
      return values;
    };
    if (!keep)
      return loop(index(0), index(count), 1, values, emitBody);
    auto unroll = LoopUnrollAttr::get(b.getContext(), /*disable=*/b.getBoolAttr(true), {}, {}, {}, {}, {}, {});
    auto annotation =
        LoopAnnotationAttr::get(b.getContext(), {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});
    // The branches that the loop becomes take attributes of the dialect llvm over, by their names.
    mlir::NamedAttribute hint(b.getStringAttr("loop_annotation"), annotation);
    return loop(index(0), index(count), 1, values, emitBody, hint);
  }

  /// The sums of entries from those of their bytes, high ones, if any, before low ones.
  llvm::SmallVector<mlir::Value> joinParts(llvm::SmallVector<mlir::Value> sums) {
    if (tableParts == 1)
      return sums;
    size_t half = sums.size() / 2;
    mlir::Value eight = splat(llvm::cast<mlir::VectorType>(sums[0].getType()), 8);
    for (size_t i = 0; i < half; ++i)
      sums[i] = add(shiftLeft(sums[i], eight), sums[half + i]);
    sums.truncate(half);
    return sums;
  }

  OpTy op;
  LayoutAttr layout;
  UnitLayout unit;
  int64_t mTile, pieces, tableGroup;
  /// Table groups per weight group.
  int64_t tableGroups;
  /// Bytes of an entry.
  int64_t tableParts;
  int64_t units, unitsPerPass;
  /// Whether every byte of the weights is read once, or is being read for the first time.
  bool readsOnce = false;
  /// The position of the loops.
  mlir::Value mBlock, nBlock, unitNumber, unitOffset, unitChunk, unitTableGroup;

  void setUnit(mlir::Value number) {
    unitNumber = number;
    unitOffset = mul(number, unit.unitBytes);
    unitChunk = mul(number, unit.unitColumns / 16);
    unitTableGroup = mul(number, unit.unitColumns / tableGroup);
  }

  /// Runs `body` for each pass over the row blocks.
  void forEachPass(llvm::function_ref<void(mlir::Value firstUnit, mlir::Value endUnit)> body) {
    loop(index(0), index(units), unitsPerPass, {},
         [&](mlir::Value firstUnit, mlir::ValueRange) -> llvm::SmallVector<mlir::Value> {
           mlir::Value endUnit = add(firstUnit, unitsPerPass);
           if (units % unitsPerPass != 0)
             endUnit = mlir::arith::MinUIOp::create(b, loc, endUnit, index(units));
           body(firstUnit, endUnit);
           return {};
         });
  }

  /// One block of rows and one row block of weights, from one unit to another.
  void emitTile(mlir::Value firstUnit, mlir::Value endUnit) {
    llvm::SmallVector<mlir::Value> y;
    mlir::Value isFirst;
    if (unitsPerPass < units)
      isFirst = mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::eq, firstUnit, index(0));
    for (int64_t m = 0; m < mTile; ++m) {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        mlir::Value value = splat(0.0f);
        if (isFirst) {
          mlir::Value previous = loadVector(getFloats(), op.getInit(), getInitIndices(m, piece));
          value = mlir::arith::SelectOp::create(b, loc, isFirst, value, previous);
        }
        y.push_back(value);
      }
    }
    y = loop(firstUnit, endUnit, 1, y, [&](mlir::Value u, mlir::ValueRange args) {
      llvm::SmallVector<mlir::Value> y(args);
      setUnit(u);
      for (int64_t group = 0; group < unit.groupsPerUnit; ++group)
        emitGroup(group, y);
      return y;
    });
    for (int64_t m = 0; m < mTile; ++m)
      for (int64_t piece = 0; piece < pieces; ++piece)
        storeVector(y[m * pieces + piece], op.getInit(), getInitIndices(m, piece));
  }

private:

  llvm::SmallVector<mlir::Value> getInitIndices(int64_t m, int64_t piece) {
    return {add(mul(mBlock, mTile), m), add(mul(nBlock, unit.rows), getPieceRow(piece))};
  }

  /// Adds group `group` of the unit to `y`.
  void emitGroup(int64_t group, llvm::SmallVector<mlir::Value> &y) {
    llvm::SmallVector<mlir::Value> centred = emitSums(group, y), sums;
    if (centred.empty())
      return;
    for (int64_t m = 0; m < mTile; ++m) {
      mlir::Value sum = broadcast(emitActivationSum(group, m));
      sums.append(pieces, sum);
    }
    addScaled(y, centred, sums);
  }

  /// The sum of row `m` of the activations of a group.
  mlir::Value emitActivationSum(int64_t group, int64_t m) {
    mlir::Value first = add(unitTableGroup, group * tableGroups);
    auto loadSum = [&](mlir::Value u) { return load(op.getSums(), {mBlock, u, index(m)}); };
    mlir::Value sum = loadSum(first);
    if (tableGroups > kUnrolledTableGroups)
      return loop(1, tableGroups, sum,
                  [&](mlir::Value u, mlir::ValueRange sum) -> llvm::SmallVector<mlir::Value> {
                    return {addF(sum[0], loadSum(add(first, u)))};
                  })[0];
    for (int64_t u = 1; u < tableGroups; ++u)
      sum = addF(sum, loadSum(add(first, u)));
    return sum;
  }
};

/// Replaces a product of type `OpTy` by what `EmitterTy` emits.
template <typename OpTy, typename EmitterTy>
struct VectorizeProduct : mlir::OpRewritePattern<OpTy> {
  VectorizeProduct(mlir::MLIRContext *context, int64_t passBytes, mlir::PatternBenefit benefit)
      : mlir::OpRewritePattern<OpTy>(context, benefit), passBytes(passBytes) {}

  llvm::LogicalResult matchAndRewrite(OpTy op, mlir::PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    if (op.getLayout().getRows() % kFloatLanes != 0)
      return rewriter.notifyMatchFailure(op, "expected a multiple of 16 rows");
    if (!EmitterTy::canEmit(op))
      return rewriter.notifyMatchFailure(op, EmitterTy::kRequirement);
    EmitterTy(rewriter, op, passBytes).emit();
    rewriter.eraseOp(op);
    return llvm::success();
  }

  int64_t passBytes;
};

} // namespace elutq::hlq

#endif // ELUTQ_LIB_CONVERSION_HLQTOVECTOR_PRODUCTEMITTER_H
