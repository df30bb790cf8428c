//===- ActivationEmitter.h - Rows of activations as vectors -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_HLQTOVECTOR_ACTIVATIONEMITTER_H
#define ELUTQ_LIB_CONVERSION_HLQTOVECTOR_ACTIVATIONEMITTER_H

#include "VectorEmitter.h"

namespace elutq::hlq {

/// What `hlq.build_lut` and `hlq.quantize_rows` have in common: the loops over rows and table groups, their scales and
/// sums.
template <typename OpTy>
struct ActivationEmitter : VectorEmitter {
  /// Chunks of 16 columns per table group up to which their loop is unrolled.
  static constexpr int64_t kUnrolledChunks = 8;

  ActivationEmitter(mlir::OpBuilder &builder, OpTy op)
      : VectorEmitter(builder, op.getLoc()), op(op), entries(op.getInits()[0]), scales(op.getInits()[1]),
        sums(op.getInits()[2]), columns(llvm::cast<mlir::MemRefType>(op.getInput().getType()).getDimSize(1)),
        mTile(llvm::cast<mlir::MemRefType>(entries.getType()).getDimSize(2)),
        tableGroups(llvm::cast<mlir::MemRefType>(scales.getType()).getDimSize(1)), tableGroup(op.getTableGroup()),
        tableBits(getTableBits(op)) {}
  virtual ~ActivationEmitter() = default;

  void emit() {
    mlir::Value rows = dim(op.getInput(), 0);
    loop(dim(entries, 0), [&](mlir::Value b0) {
      mBlock = b0;
      loop(0, mTile, [&](mlir::Value i) {
        inBlock = i;
        row = add(mul(mBlock, mTile), inBlock);
        mlir::Value isRow = mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::ult, row, rows);
        auto ifOp = mlir::scf::IfOp::create(b, loc, isRow, /*withElseRegion=*/true);
        mlir::OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(&ifOp.getThenRegion().front());
        emitRow();
        b.setInsertionPointToStart(&ifOp.getElseRegion().front());
        emitZeros(0, tableGroups);
      });
    });
  }

protected:
  /// What a table group needs of its largest entry: the greatest of these lanes, for the activations `x`.
  virtual mlir::Value emitMagnitude(mlir::Value x) = 0;
  /// Stores the entries of table group `u`, of which `valid` columns exist.
  virtual void storeEntries(mlir::Value u, mlir::Value first, int64_t valid, mlir::Value inverse) = 0;
  /// Stores what stands for zero activations in the table groups `[begin, end)`, scales and sums apart.
  virtual void storeZeroEntries(int64_t begin, int64_t end) = 0;

  using ChunkBody = llvm::function_ref<void(mlir::Value chunk, mlir::Value x, llvm::SmallVector<mlir::Value> &)>;

  /// Runs `body` for each chunk of a table group, of which `valid` columns exist.
  llvm::SmallVector<mlir::Value> emitChunks(mlir::Value first, int64_t valid, llvm::SmallVector<mlir::Value> values,
                                            ChunkBody body) {
    int64_t chunks = tableGroup / 16;
    if (valid == tableGroup && chunks > kUnrolledChunks)
      return loop(0, chunks, values, [&](mlir::Value chunk, mlir::ValueRange args) {
        llvm::SmallVector<mlir::Value> values(args);
        body(chunk, loadChunk(first, chunk, 0, valid), values);
        return values;
      });
    for (int64_t c = 0; c < chunks; ++c)
      body(index(c), loadChunk(first, index(c), c, valid), values);
    return values;
  }

  /// 16 numbers as integers in the low bits of 32-bit words, rounded half to even, `bias` added. 3 * 2^22 puts the unit
  /// in the last bit, so that the addition rounds.
  mlir::Value emitRounded(mlir::Value values, mlir::Value inverse, float bias = 0) {
    return bitcast(getInts(kFloatLanes, 32), addF(mulF(values, inverse), splat(kRounding + bias)));
  }

  /// The bytes of rounded entries: high ones, if any, before low ones. A low byte is a signed one, which `carry` makes the
  /// high one up for.
  llvm::SmallVector<mlir::Value> emitBytes(mlir::Value words, int64_t carry = 128) {
    mlir::VectorType wordsType = getInts(kFloatLanes, 32), bytesType = getInts(kFloatLanes, 8);
    mlir::Value low = mlir::arith::TruncIOp::create(b, loc, bytesType, words);
    if (tableBits == 8)
      return {low};
    mlir::Value high = shiftRight(add(words, splat(wordsType, carry)), splat(wordsType, 8));
    return {mlir::arith::TruncIOp::create(b, loc, bytesType, high), low};
  }

  static constexpr float kRounding = 12582912.0f;
  /// The bits of `kRounding`: what is above them is the integer.
  static constexpr int64_t kRoundingBits = 0x4b400000;

  OpTy op;
  mlir::Value entries, scales, sums;
  int64_t columns, mTile, tableGroups, tableGroup, tableBits;
  /// The position of the loops.
  mlir::Value mBlock, inBlock, row;

private:
  /// Whole table groups in a loop, one that K cuts, and those beyond K.
  void emitRow() {
    int64_t whole = columns / tableGroup, rest = columns % tableGroup;
    if (whole > 0)
      loop(0, whole, [&](mlir::Value u) { emitTableGroup(u, tableGroup); });
    if (rest > 0)
      emitTableGroup(index(whole), rest);
    emitZeros(whole + (rest > 0), tableGroups);
  }

  /// Sixteen activations, zeros from column `valid` of the table group on.
  mlir::Value loadChunk(mlir::Value first, mlir::Value chunk, int64_t staticChunk, int64_t valid) {
    mlir::Value column = add(first, mul(chunk, 16));
    int64_t lanes = valid == tableGroup ? kFloatLanes : std::clamp<int64_t>(valid - 16 * staticChunk, 0, kFloatLanes);
    if (lanes == 0)
      return splat(0.0f);
    if (lanes == kFloatLanes)
      return loadVector(getFloats(), op.getInput(), {row, column});
    return mlir::vector::MaskedLoadOp::create(b, loc, getFloats(), op.getInput(), mlir::ValueRange{row, column},
                                              mask(lanes), splat(0.0f));
  }

  void emitTableGroup(mlir::Value u, int64_t valid) {
    mlir::Value first = mul(u, tableGroup);
    llvm::SmallVector<mlir::Value> ends =
        emitChunks(first, valid, {splat(0.0f), splat(0.0f)},
                   [&](mlir::Value, mlir::Value x, llvm::SmallVector<mlir::Value> &values) {
                     values = {greater(values[0], emitMagnitude(x)), addF(values[1], x)};
                   });
    mlir::Value greatest = reduce(ends[0], [&](mlir::Value lhs, mlir::Value rhs) { return greater(lhs, rhs); });
    mlir::Value sum = reduce(ends[1], [&](mlir::Value lhs, mlir::Value rhs) { return addF(lhs, rhs); });

    mlir::Value scale = mlir::arith::DivFOp::create(b, loc, greatest, f32(getTableLimit(op)));
    mlir::Value isLarge =
        mlir::arith::CmpFOp::create(b, loc, mlir::arith::CmpFPredicate::OGE, scale, f32(kLeastTableScale));
    scale = mlir::arith::SelectOp::create(b, loc, isLarge, scale, f32(0));
    mlir::Value inverse = mlir::arith::DivFOp::create(b, loc, f32(1), scale);
    inverse = broadcast(mlir::arith::SelectOp::create(b, loc, isLarge, inverse, f32(0)));
    store(scale, scales, {mBlock, u, inBlock});
    store(sum, sums, {mBlock, u, inBlock});
    storeEntries(u, first, valid, inverse);
  }

  /// Table groups of zero activations.
  void emitZeros(int64_t begin, int64_t end) {
    if (begin == end)
      return;
    loop(begin, end, [&](mlir::Value u) {
      store(f32(0), scales, {mBlock, u, inBlock});
      store(f32(0), sums, {mBlock, u, inBlock});
    });
    storeZeroEntries(begin, end);
  }
};

/// Replaces `op`, of type `OpTy`, by what `EmitterTy` emits.
template <typename OpTy, typename EmitterTy>
struct VectorizeActivations : mlir::OpRewritePattern<OpTy> {
  using mlir::OpRewritePattern<OpTy>::OpRewritePattern;

  llvm::LogicalResult matchAndRewrite(OpTy op, mlir::PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    if (llvm::cast<mlir::MemRefType>(op.getInput().getType()).isDynamicDim(1))
      return rewriter.notifyMatchFailure(op, "expected a static number of columns");
    EmitterTy(rewriter, op).emit();
    rewriter.eraseOp(op);
    return llvm::success();
  }
};

} // namespace elutq::hlq

#endif // ELUTQ_LIB_CONVERSION_HLQTOVECTOR_ACTIVATIONEMITTER_H
