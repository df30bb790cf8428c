//===- CodeMatmul.cpp - hlq.code_matmul of codes as loops over vectors ----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ProductEmitter.h"
#include "elutq/Conversion/HLQToVector.h"

using namespace mlir;
using namespace elutq::hlq;

/// Products of one loop body: where one takes several instructions, LLVM would load the entries of more early and spill
/// them.
static constexpr int64_t kUnrolledDots = 16;

namespace {

struct CodeMatmulEmitter : ProductEmitter<CodeMatmulOp> {
  CodeMatmulEmitter(OpBuilder &builder, CodeMatmulOp op, int64_t tableBytes)
      : ProductEmitter(builder, op, tableBytes, op.getKernel().getMTile() * op.getKernel().getTableBits() / 8) {}

  static bool canEmit(CodeMatmulOp op) { return op.getLayout().hasCodes(); }
  static constexpr StringRef kRequirement = "expected codes of 8 bits";

protected:
  SmallVector<Value> emitSums(int64_t group, SmallVector<Value> &y) override {
    SmallVector<Value> scales = loadParams(group, 0);
    addScaled(y, scales, emitPartial(group, /*sets=*/1, [&](const TableGroup &u) { return emitIntegers(u); }));
    return emitCentred(group, scales);
  }

private:
  /// `acc(m, n, u)`: a step multiplies four columns of 16 rows of codes by the same four entries.
  SmallVector<Value> emitIntegers(const TableGroup &u) {
    VectorType wordsType = getInts(kFloatLanes, 32);
    // The offset starts the sum of the low bytes, or of the only ones.
    SmallVector<Value> sums((tableParts - 1) * mTile, splat(wordsType, 0));
    for (int64_t m = 0; m < mTile; ++m)
      sums.push_back(broadcast(load(op.getOffsets(), {mBlock, u.number, index(m)})));
    auto body = [&](int64_t chunk, Value loopChunk, Value loopByte, SmallVector<Value> &sums) {
      for (int64_t step = 0; step < 16 / unit.stepColumns; ++step) {
        Value codes = loadPlane(0, chunk * (16 / unit.stepColumns) + step, loopByte);
        for (auto [i, sum] : llvm::enumerate(sums)) {
          int64_t first = i / mTile * 16 + step * unit.stepColumns;
          Value entries = loadEntries(chunk, loopChunk, i % mTile, first, unit.stepColumns);
          sum = DotOp::create(b, loc, wordsType, sum, codes, repeat(entries));
        }
      }
    };
    int64_t dotsPerChunk = 16 / unit.stepColumns * tableParts * mTile;
    return joinParts(emitChunks(u, std::max<int64_t>(kUnrolledDots / dotsPerChunk, 1), sums, body));
  }
};

} // namespace

void elutq::hlq::populateCodeMatmulToVectorPatterns(RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                                    PatternBenefit benefit) {
  patterns.add<VectorizeProduct<CodeMatmulOp, CodeMatmulEmitter>>(patterns.getContext(), options.tableBytes, benefit);
}
