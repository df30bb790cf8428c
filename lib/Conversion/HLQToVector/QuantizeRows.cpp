//===- QuantizeRows.cpp - hlq.quantize_rows as loops over vectors ---------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ActivationEmitter.h"
#include "elutq/Conversion/HLQToVector.h"

using namespace mlir;
using namespace elutq::hlq;

namespace {

struct QuantizeRowsEmitter : ActivationEmitter<QuantizeRowsOp> {
  QuantizeRowsEmitter(OpBuilder &builder, QuantizeRowsOp op)
      : ActivationEmitter(builder, op), format(EntryFormat::get(op)) {
    for (int64_t dword = 0; dword < kFloatLanes / format.getPerDword(); ++dword)
      for (int64_t entry = 0; entry < format.getPerDword(); ++entry)
        columnOfEntry.push_back(format.getColumn(dword, entry));
  }

protected:
  Value emitMagnitude(Value x) override { return math::AbsFOp::create(b, loc, x); }

  void storeEntries(Value u, Value first, int64_t valid, Value inverse) override {
    VectorType wordsType = getInts(kFloatLanes, 32);
    Value firstChunk = mul(u, tableGroup / 16), sum = splat(wordsType, 0);
    sum = emitChunks(first, valid, {sum}, [&](Value chunk, Value x, SmallVector<Value> &values) {
      Value words = emitRounded(x, inverse);
      Value ordered = format.transposed ? vector::ShuffleOp::create(b, loc, words, words, columnOfEntry).getResult() : words;
      SmallVector<Value> parts;
      if (format.words && format.byRow)
        parts = splitWords(ordered);
      else if (format.words)
        parts.push_back(bitcast(getInts(2 * kFloatLanes, 8),
                                arith::TruncIOp::create(b, loc, getInts(kFloatLanes, 16), ordered)));
      else
        parts = emitBytes(ordered);
      for (auto [part, bytes] : llvm::enumerate(parts))
        storeChunk(bytes, u, firstChunk, chunk, part);
      Value entry = arith::SubIOp::create(b, loc, words, splat(wordsType, kRoundingBits));
      values[0] = add(values[0], entry);
    })[0];
    Value total = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, sum);
    store(arith::MulIOp::create(b, loc, total, i32(-format.getCentre())), op.getInits()[3], {mBlock, u, inBlock});
  }

  void storeZeroEntries(int64_t begin, int64_t end) override {
    loop(begin, end, [&](Value u) { store(i32(0), op.getInits()[3], {mBlock, u, inBlock}); });
    Value zero = splat(getInts(2 * tableBits, 8), 0);
    if (format.byRow) {
      Value zeros = splat(getInts(tableGroup * tableBits / 8, 8), 0);
      return loop(begin, end, [&](Value u) { storeVector(zeros, entries, {mBlock, u, inBlock, index(0)}); });
    }
    loop(begin * tableGroup / 16, end * tableGroup / 16,
         [&](Value chunk) { storeVector(zero, entries, {mBlock, chunk, inBlock, index(0)}); });
  }

private:
  /// Stores byte `part`, high ones before low ones, of the entries of a chunk of table group `u`.
  void storeChunk(Value bytes, Value u, Value firstChunk, Value chunk, int64_t part) {
    if (format.byRow)
      return storeVector(bytes, entries, {mBlock, u, inBlock, add(mul(chunk, 16), part * tableGroup)});
    storeVector(bytes, entries, {mBlock, add(firstChunk, chunk), inBlock, index(16 * part)});
  }

  /// The high and the low bytes of words.
  SmallVector<Value> splitWords(Value words) {
    VectorType bytesType = getInts(kFloatLanes, 8);
    Value high = shiftRight(words, splat(getInts(kFloatLanes, 32), 8));
    return {arith::TruncIOp::create(b, loc, bytesType, high), arith::TruncIOp::create(b, loc, bytesType, words)};
  }

  EntryFormat format;
  SmallVector<int64_t> columnOfEntry;
};

} // namespace

void elutq::hlq::populateQuantizeRowsToVectorPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<VectorizeActivations<QuantizeRowsOp, QuantizeRowsEmitter>>(patterns.getContext(), benefit);
}
