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
  using ActivationEmitter::ActivationEmitter;

protected:
  Value emitMagnitude(Value x) override { return math::AbsFOp::create(b, loc, x); }

  void storeEntries(Value u, Value first, int64_t valid, Value inverse) override {
    VectorType wordsType = getInts(kFloatLanes, 32);
    Value firstChunk = mul(u, tableGroup / 16), sum = splat(wordsType, 0);
    sum = emitChunks(first, valid, {sum}, [&](Value chunk, Value x, SmallVector<Value> &values) {
      Value words = emitRounded(x, inverse);
      for (auto [part, bytes] : llvm::enumerate(emitBytes(words)))
        storeVector(bytes, entries, {mBlock, add(firstChunk, chunk), inBlock, index(16 * part)});
      Value entry = arith::SubIOp::create(b, loc, words, splat(wordsType, kRoundingBits));
      values[0] = add(values[0], entry);
    })[0];
    Value total = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, sum);
    store(arith::MulIOp::create(b, loc, total, i32(-kCodeCentre)), op.getInits()[3], {mBlock, u, inBlock});
  }

  void storeZeroEntries(int64_t begin, int64_t end) override {
    loop(begin, end, [&](Value u) { store(i32(0), op.getInits()[3], {mBlock, u, inBlock}); });
    Value zero = splat(getInts(2 * tableBits, 8), 0);
    loop(begin * tableGroup / 16, end * tableGroup / 16,
         [&](Value chunk) { storeVector(zero, entries, {mBlock, chunk, inBlock, index(0)}); });
  }
};

} // namespace

void elutq::hlq::populateQuantizeRowsToVectorPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<VectorizeActivations<QuantizeRowsOp, QuantizeRowsEmitter>>(patterns.getContext(), benefit);
}
