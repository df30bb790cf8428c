//===- Generic.cpp - Look-ups by portable vector operations --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PatternUtils.h"
#include "elutq/Conversion/HLQToLLVM.h"

using namespace mlir;
using namespace elutq::hlq;

namespace {

/// Sixteen extractions at once: LLVM recognizes them as a byte permutation. More lanes in one go would become scalars.
Value emitLookup16(PieceEmitter &e, Value table, Value indices) {
  Value masked = arith::AndIOp::create(e.b, e.loc, indices, e.splat(e.getType(16, 8), 15));
  auto lanes = vector::ToElementsOp::create(e.b, e.loc, masked);
  SmallVector<Value> found;
  for (Value lane : lanes.getResults()) {
    Value index = arith::IndexCastUIOp::create(e.b, e.loc, e.b.getIndexType(), lane);
    found.push_back(vector::ExtractOp::create(e.b, e.loc, table, OpFoldResult(index)));
  }
  return vector::FromElementsOp::create(e.b, e.loc, e.getType(16, 8), found);
}

struct GenericLookup : OpRewritePattern<LookupOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LookupOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    auto lookup = [&](Value table, Value indices) { return emitLookup16(e, table, indices); };
    auto type = cast<VectorType>(op.getType());
    rewriter.replaceOp(op, e.inPieces(type, 16, [&](int64_t first) {
      Value indices = e.slice(op.getIndices(), first, 16);
      return e.getLanes(op.getTable()) == 16 ? lookup(op.getTable(), indices)
                                             : e.inQuarters(op.getTable(), indices, lookup);
    }));
    return success();
  }
};

/// Bits `[8 * byte, 8 * byte + width)` of each 32-bit lane: moved to its top and down again, by `ShiftOp` with or without
/// their sign.
template <typename ShiftOp>
Value emitPart(PieceEmitter &e, Value lanes, int64_t byte, int64_t width = 8) {
  auto type = cast<VectorType>(lanes.getType());
  int64_t above = 32 - width - 8 * byte;
  Value top = above == 0 ? lanes : arith::ShLIOp::create(e.b, e.loc, lanes, e.splat(type, above));
  return ShiftOp::create(e.b, e.loc, top, e.splat(type, 32 - width));
}

struct GenericAccumulate : OpRewritePattern<AccumulateOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AccumulateOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    Value words = vector::BitCastOp::create(rewriter, e.loc, op.getType(), op.getBytes()), sum = op.getAcc();
    for (int64_t byte = 0; byte < 4; ++byte)
      sum = arith::AddIOp::create(rewriter, e.loc, sum, emitPart<arith::ShRSIOp>(e, words, byte));
    rewriter.replaceOp(op, sum);
    return success();
  }
};

struct GenericDot : OpRewritePattern<DotOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DotOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    Value codes = vector::BitCastOp::create(rewriter, e.loc, op.getType(), op.getCodes()), sum = op.getAcc();
    Value entries = vector::BitCastOp::create(rewriter, e.loc, op.getType(), op.getEntries());
    int64_t bytes = op.hasWords() ? 2 : 1;
    for (int64_t byte = 0; byte < 4; byte += bytes) {
      Value code = op.hasWords() ? emitPart<arith::ShRSIOp>(e, codes, byte, 16) : emitPart<arith::ShRUIOp>(e, codes, byte);
      Value entry = emitPart<arith::ShRSIOp>(e, entries, byte, 8 * bytes);
      sum = arith::AddIOp::create(rewriter, e.loc, sum, arith::MulIOp::create(rewriter, e.loc, code, entry));
    }
    rewriter.replaceOp(op, sum);
    return success();
  }
};

} // namespace

void elutq::hlq::populateHLQToLLVMGenericPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<GenericLookup, GenericAccumulate, GenericDot>(patterns.getContext(), benefit);
}
