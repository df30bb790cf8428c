//===- BuildLut.cpp - hlq.build_lut as loops over vectors -----------------===//
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

struct BuildLutEmitter : ActivationEmitter<BuildLutOp> {
  using ActivationEmitter::ActivationEmitter;

protected:
  /// The greatest |t| of four activations adds their magnitudes, in the order of t: rounding is monotonic.
  Value emitMagnitude(Value x) override {
    Value magnitude = math::AbsFOp::create(b, loc, x), half = splat(0.5f), t;
    for (int64_t q = 0; q < 4; ++q) {
      SmallVector<int64_t> lanes;
      for (int64_t i = 0; i < kFloatLanes; ++i)
        lanes.push_back(i / 4 * 4 + q);
      Value part = vector::ShuffleOp::create(b, loc, magnitude, magnitude, lanes);
      t = q == 0 ? mulF(part, half) : fma(part, half, t);
    }
    return t;
  }

  void storeEntries(Value u, Value first, int64_t valid, Value inverse) override {
    Value firstChunk = mul(u, tableGroup / 16);
    emitChunks(first, valid, {}, [&](Value chunk, Value x, SmallVector<Value> &) {
      for (int64_t s = 0; s < 4; ++s)
        for (auto [part, bytes] : llvm::enumerate(emitEntries(x, 4 * s, inverse)))
          storeVector(bytes, entries, {mBlock, add(firstChunk, chunk), inBlock, index(64 * part + 16 * s)});
    });
  }

  void storeZeroEntries(int64_t begin, int64_t end) override {
    Value zero = splat(getInts(64, 8), getLane(op) == Lane::Byte ? -128 : 0);
    loop(begin * tableGroup / 16, end * tableGroup / 16, [&](Value chunk) {
      for (int64_t part = 0; part < tableBits / 8; ++part)
        storeVector(zero, entries, {mBlock, chunk, inBlock, index(64 * part)});
    });
  }

private:
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
    // The bytes of byte lanes have 128 added. It is even, so that the low one's may be added before rounding.
    bool isByte = getLane(op) == Lane::Byte;
    return emitBytes(emitRounded(t, inverse, isByte ? 128 : 0), isByte ? 128 << 8 : 128);
  }
};

} // namespace

void elutq::hlq::populateBuildLutToVectorPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<VectorizeActivations<BuildLutOp, BuildLutEmitter>>(patterns.getContext(), benefit);
}
