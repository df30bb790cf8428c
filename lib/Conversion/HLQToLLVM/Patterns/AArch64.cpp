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

} // namespace

void elutq::hlq::populateHLQToLLVMAArch64Patterns(RewritePatternSet &patterns, bool hasDotProduct,
                                                  PatternBenefit benefit) {
  patterns.add<AArch64Lookup>(patterns.getContext(), benefit);
  patterns.add<AArch64Accumulate>(patterns.getContext(), hasDotProduct, benefit);
}
