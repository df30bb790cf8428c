//===- AArch64.cpp - Look-ups by tbl -------------------------------------===//
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

struct AArch64Lookup : OpRewritePattern<LookupOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LookupOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    int64_t registers = e.getLanes(op.getTable()) / 16;
    SmallVector<Value> operands;
    for (int64_t i = 0; i < registers; ++i)
      operands.push_back(e.slice(op.getTable(), 16 * i, 16));
    operands.push_back(Value());
    StringRef name = registers == 1 ? "llvm.aarch64.neon.tbl1" : "llvm.aarch64.neon.tbl4";
    rewriter.replaceOp(op, e.inPieces(cast<VectorType>(op.getType()), 16, [&](int64_t first) {
      operands.back() = e.slice(op.getIndices(), first, 16);
      return e.call(name, e.getType(16, 8), operands);
    }));
    return success();
  }
};

/// A dot product with ones, or pairs of bytes added to words and pairs of words to the lanes.
struct AArch64Accumulate : OpRewritePattern<AccumulateOp> {
  AArch64Accumulate(MLIRContext *context, bool hasDotProduct, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), hasDotProduct(hasDotProduct) {}

  LogicalResult matchAndRewrite(AccumulateOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    VectorType sumsType = e.getType(4, 32), bytesType = e.getType(16, 8);
    rewriter.replaceOp(op, e.inPieces(cast<VectorType>(op.getType()), 4, [&](int64_t first) -> Value {
      Value acc = e.slice(op.getAcc(), first, 4), bytes = e.slice(op.getBytes(), 4 * first, 16);
      if (hasDotProduct)
        return e.call("llvm.aarch64.neon.sdot", sumsType, {acc, bytes, e.splat(bytesType, 1)});
      Value words = e.call("llvm.aarch64.neon.saddlp", e.getType(8, 16), bytes);
      Value sums = e.call("llvm.aarch64.neon.saddlp", sumsType, words);
      return arith::AddIOp::create(rewriter, e.loc, acc, sums);
    }));
    return success();
  }

  bool hasDotProduct;
};

/// `sdot` of codes less 128, and 128 times the sum of the bytes, which is the same for all rows where the bytes are; or
/// even and odd bytes widened to words in place, whose products words hold, and sums of pairs. Words take no `sdot`.
struct AArch64Dot : OpRewritePattern<DotOp> {
  AArch64Dot(MLIRContext *context, bool hasDotProduct, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), hasDotProduct(hasDotProduct) {}

  LogicalResult matchAndRewrite(DotOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    rewriter.replaceOp(op, e.inPieces(cast<VectorType>(op.getType()), 4, [&](int64_t first) {
      int64_t perLane = op.hasWords() ? 2 : 4;
      Value acc = e.slice(op.getAcc(), first, 4), codes = e.slice(op.getCodes(), perLane * first, perLane * 4);
      Value entries = e.slice(op.getEntries(), perLane * first, perLane * 4);
      if (op.hasWords())
        return emitPairs(e, acc, codes, entries);
      return hasDotProduct ? emitDotProduct(e, acc, codes, entries) : emitWords(e, acc, codes, entries);
    }));
    return success();
  }

  /// `smull`, `smull2` and `addp`.
  static Value emitPairs(PieceEmitter &e, Value acc, Value codes, Value entries) {
    VectorType sumsType = e.getType(4, 32);
    SmallVector<Value> products;
    for (int64_t first : {0, 4}) {
      Value code = arith::ExtSIOp::create(e.b, e.loc, sumsType, e.slice(codes, first, 4));
      Value entry = arith::ExtSIOp::create(e.b, e.loc, sumsType, e.slice(entries, first, 4));
      products.push_back(arith::MulIOp::create(e.b, e.loc, code, entry));
    }
    return arith::AddIOp::create(e.b, e.loc, acc, e.call("llvm.aarch64.neon.addp", sumsType, products));
  }

  static Value emitDotProduct(PieceEmitter &e, Value acc, Value codes, Value bytes) {
    VectorType sumsType = e.getType(4, 32), bytesType = e.getType(16, 8);
    StringRef name = "llvm.aarch64.neon.sdot";
    Value centred = arith::XOrIOp::create(e.b, e.loc, codes, e.splat(bytesType, -128));
    acc = e.call(name, sumsType, {acc, centred, bytes});
    Value sum = e.call(name, sumsType, {e.splat(sumsType, 0), bytes, e.splat(bytesType, 1)});
    sum = arith::ShLIOp::create(e.b, e.loc, sum, e.splat(sumsType, 7));
    return arith::AddIOp::create(e.b, e.loc, acc, sum);
  }

  static Value emitWords(PieceEmitter &e, Value acc, Value codes, Value bytes) {
    for (auto [code, byte] : e.widenInPlace(codes, bytes)) {
      Value product = arith::MulIOp::create(e.b, e.loc, code, byte);
      acc = arith::AddIOp::create(e.b, e.loc, acc, e.call("llvm.aarch64.neon.saddlp", e.getType(4, 32), product));
    }
    return acc;
  }

  bool hasDotProduct;
};

} // namespace

void elutq::hlq::populateHLQToLLVMAArch64Patterns(RewritePatternSet &patterns, bool hasDotProduct,
                                                  PatternBenefit benefit) {
  patterns.add<AArch64Lookup>(patterns.getContext(), benefit);
  patterns.add<AArch64Accumulate, AArch64Dot>(patterns.getContext(), hasDotProduct, benefit);
}
