//===- BuildLut.cpp - hlq.build_lut as loops over vectors ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "VectorEmitter.h"
#include "elutq/Conversion/HLQToVector.h"

using namespace mlir;
using namespace elutq::hlq;

/// Chunks of 16 columns per table group up to which their loop is unrolled.
static constexpr int64_t kUnrolledChunks = 8;

namespace {

struct BuildLutEmitter : VectorEmitter {
  BuildLutEmitter(OpBuilder &builder, BuildLutOp op)
      : VectorEmitter(builder, op.getLoc()), op(op), tables(op.getInits()[0]), scales(op.getInits()[1]),
        sums(op.getInits()[2]), columns(cast<MemRefType>(op.getInput().getType()).getDimSize(1)),
        mTile(cast<MemRefType>(tables.getType()).getDimSize(2)),
        tableGroups(cast<MemRefType>(scales.getType()).getDimSize(1)), tableGroup(op.getTableGroup()),
        tableBits(getTableBits(tables)) {}

  void emit() {
    Value rows = dim(op.getInput(), 0);
    loop(dim(tables, 0), [&](Value b0) {
      mBlock = b0;
      loop(0, mTile, [&](Value i) {
        inBlock = i;
        row = add(mul(mBlock, mTile), inBlock);
        Value isRow = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, row, rows);
        auto ifOp = scf::IfOp::create(b, loc, isRow, /*withElseRegion=*/true);
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(&ifOp.getThenRegion().front());
        emitRow();
        b.setInsertionPointToStart(&ifOp.getElseRegion().front());
        emitZeros(0, tableGroups);
      });
    });
  }

private:
  /// Whole table groups in a loop, one that K cuts, and those beyond K.
  void emitRow() {
    int64_t whole = columns / tableGroup, rest = columns % tableGroup;
    if (whole > 0)
      loop(0, whole, [&](Value u) { emitTableGroup(u, tableGroup); });
    if (rest > 0)
      emitTableGroup(index(whole), rest);
    emitZeros(whole + (rest > 0), tableGroups);
  }

  /// Sixteen activations, zeros from column `valid` of the table group on.
  Value loadChunk(Value first, Value chunk, int64_t staticChunk, int64_t valid) {
    Value column = add(first, mul(chunk, 16));
    int64_t lanes = valid == tableGroup ? kFloatLanes : std::clamp<int64_t>(valid - 16 * staticChunk, 0, kFloatLanes);
    if (lanes == 0)
      return splat(0.0f);
    if (lanes == kFloatLanes)
      return loadVector(getFloats(), op.getInput(), {row, column});
    return vector::MaskedLoadOp::create(b, loc, getFloats(), op.getInput(), ValueRange{row, column}, mask(lanes),
                                        splat(0.0f));
  }

  /// Runs `body` for each chunk of a table group, of which `valid` columns exist.
  SmallVector<Value> emitChunks(Value first, int64_t valid, SmallVector<Value> values,
                                function_ref<void(Value, Value, SmallVector<Value> &)> body) {
    int64_t chunks = tableGroup / 16;
    if (valid == tableGroup && chunks > kUnrolledChunks)
      return loop(0, chunks, values, [&](Value chunk, ValueRange args) {
        SmallVector<Value> values(args);
        body(chunk, loadChunk(first, chunk, 0, valid), values);
        return values;
      });
    for (int64_t c = 0; c < chunks; ++c)
      body(index(c), loadChunk(first, index(c), c, valid), values);
    return values;
  }

  void emitTableGroup(Value u, int64_t valid) {
    Value first = mul(u, tableGroup);
    // The greatest |t| of four activations adds their magnitudes, in the order of t: rounding is monotonic.
    SmallVector<Value> ends = emitChunks(
        first, valid, {splat(0.0f), splat(0.0f)}, [&](Value, Value x, SmallVector<Value> &values) {
          Value magnitude = math::AbsFOp::create(b, loc, x), half = splat(0.5f), t;
          for (int64_t q = 0; q < 4; ++q) {
            SmallVector<int64_t> lanes;
            for (int64_t i = 0; i < kFloatLanes; ++i)
              lanes.push_back(i / 4 * 4 + q);
            Value part = vector::ShuffleOp::create(b, loc, magnitude, magnitude, lanes);
            t = q == 0 ? mulF(part, half) : fma(part, half, t);
          }
          values = {greater(values[0], t), addF(values[1], x)};
        });
    Value greatest = reduce(ends[0], [&](Value lhs, Value rhs) { return greater(lhs, rhs); });
    Value sum = reduce(ends[1], [&](Value lhs, Value rhs) { return addF(lhs, rhs); });

    Value scale = arith::DivFOp::create(b, loc, greatest, f32(getTableLimit(tableBits)));
    Value isLarge = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, scale, f32(kLeastTableScale));
    scale = arith::SelectOp::create(b, loc, isLarge, scale, f32(0));
    Value inverse = arith::DivFOp::create(b, loc, f32(1), scale);
    inverse = broadcast(arith::SelectOp::create(b, loc, isLarge, inverse, f32(0)));
    store(scale, scales, {mBlock, u, inBlock});
    store(sum, sums, {mBlock, u, inBlock});

    Value firstChunk = mul(u, tableGroup / 16);
    emitChunks(first, valid, {}, [&](Value chunk, Value x, SmallVector<Value> &) {
      for (int64_t s = 0; s < 4; ++s)
        for (auto [part, bytes] : llvm::enumerate(emitEntries(x, 4 * s, inverse)))
          storeVector(bytes, tables, {mBlock, add(firstChunk, chunk), inBlock, index(64 * part + 16 * s)});
    });
  }

  /// The 16 entries of the four activations from lane `first` of `x` on, as bytes: high ones, if any, before low ones.
  SmallVector<Value> emitEntries(Value x, int64_t first, Value inverse) {
    Value t;
    for (int64_t q = 0; q < 4; ++q) {
      SmallVector<float> signs;
      for (int64_t entry = 0; entry < 16; ++entry)
        signs.push_back(entry >> q & 1 ? 0.5f : -0.5f);
      SmallVector<int64_t> lanes(kFloatLanes, first + q);
      Value part = vector::ShuffleOp::create(b, loc, x, x, lanes);
      t = q == 0 ? mulF(part, constant(signs)) : fma(part, constant(signs), t);
    }
    // 3 * 2^22 puts the unit in the last bit, so that the addition rounds to the nearest, half to even, and the low
    // bits are the integer. 128 is even: it may be added in the same place.
    bool isByte = getLane(op) == Lane::Byte;
    t = addF(mulF(t, inverse), splat(12582912.0f + (isByte ? 128.0f : 0.0f)));
    VectorType wordsType = getInts(16, 32), bytesType = getInts(16, 8);
    Value words = bitcast(wordsType, t);
    Value low = arith::TruncIOp::create(b, loc, bytesType, words);
    if (tableBits == 8)
      return {low};
    // The low byte is a signed one, which `high` makes up for; that of byte lanes has its 128 already.
    Value high = shiftRight(add(words, splat(wordsType, isByte ? 128 << 8 : 128)), splat(wordsType, 8));
    return {arith::TruncIOp::create(b, loc, bytesType, high), low};
  }

  /// Table groups of zero activations.
  void emitZeros(int64_t begin, int64_t end) {
    if (begin == end)
      return;
    loop(begin, end, [&](Value u) {
      store(f32(0), scales, {mBlock, u, inBlock});
      store(f32(0), sums, {mBlock, u, inBlock});
    });
    Value zero = splat(getInts(64, 8), getLane(op) == Lane::Byte ? -128 : 0);
    loop(begin * tableGroup / 16, end * tableGroup / 16, [&](Value chunk) {
      for (int64_t part = 0; part < tableBits / 8; ++part)
        storeVector(zero, tables, {mBlock, chunk, inBlock, index(64 * part)});
    });
  }

  BuildLutOp op;
  Value tables, scales, sums;
  int64_t columns, mTile, tableGroups, tableGroup, tableBits;
  /// The position of the loops.
  Value mBlock, inBlock, row;
};

struct VectorizeBuildLut : OpRewritePattern<BuildLutOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(BuildLutOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    if (cast<MemRefType>(op.getInput().getType()).isDynamicDim(1))
      return rewriter.notifyMatchFailure(op, "expected a static number of columns");
    BuildLutEmitter(rewriter, op).emit();
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void elutq::hlq::populateBuildLutToVectorPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<VectorizeBuildLut>(patterns.getContext(), benefit);
}
