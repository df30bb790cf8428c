//===- X86.cpp - Look-ups by vpshufb and vpermb --------------------------===//
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

/// `vpdpbusd`, `vpdpwssd`: sums of four products of an unsigned and a signed byte, or of two products of words, exact,
/// added to the lanes.
Value emitVNNI(PieceEmitter &e, Value acc, Value codes, Value entries) {
  bool hasWords = cast<VectorType>(codes.getType()).getElementTypeBitWidth() == 16;
  StringRef name = hasWords ? "llvm.x86.avx512.vpdpwssd." : "llvm.x86.avx512.vpdpbusd.";
  return e.call((name + Twine(32 * e.getLanes(acc))).str(), acc.getType(), {acc, codes, entries});
}

/// `vpmaddwd`: sums of the products of two neighbouring signed words.
Value multiplyPairs(PieceEmitter &e, Value lhs, Value rhs) {
  int64_t lanes = e.getLanes(lhs) / 2;
  StringRef name = lanes == 16  ? "llvm.x86.avx512.pmaddw.d.512"
                   : lanes == 8 ? "llvm.x86.avx2.pmadd.wd"
                                : "llvm.x86.sse2.pmadd.wd";
  return e.call(name, e.getType(lanes, 32), {lhs, rhs});
}

struct X86Lookup : OpRewritePattern<LookupOp> {
  X86Lookup(MLIRContext *context, X86Level level, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), level(level) {}

  LogicalResult matchAndRewrite(LookupOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    Value table = op.getTable();
    auto type = cast<VectorType>(op.getType());
    if (e.getLanes(table) == 64 && level == X86Level::AVX512VBMI) {
      rewriter.replaceOp(op, e.call("llvm.x86.avx512.permvar.qi.512", type, {table, op.getIndices()}));
      return success();
    }
    // Each 128-bit part of the register indexes its own copy of the table. The top bit of an index is clear.
    auto lookup = [&](Value table, Value indices) {
      int64_t lanes = e.getLanes(indices);
      StringRef name = lanes == 64   ? "llvm.x86.avx512.pshuf.b.512"
                       : lanes == 32 ? "llvm.x86.avx2.pshuf.b"
                                     : "llvm.x86.ssse3.pshuf.b.128";
      return e.call(name, indices.getType(), {e.repeat(table, lanes), indices});
    };
    int64_t lanes = std::min<int64_t>(type.getNumElements(), level == X86Level::AVX2 ? 32 : 64);
    rewriter.replaceOp(op, e.inPieces(type, lanes, [&](int64_t first) {
      Value indices = e.slice(op.getIndices(), first, lanes);
      return e.getLanes(table) == 16 ? lookup(table, indices) : e.inQuarters(table, indices, lookup);
    }));
    return success();
  }

  X86Level level;
};

/// Dot products with ones. VNNI adds four bytes in one instruction; without it pairs of bytes are added to words, which
/// hold them, and pairs of words to the lanes.
struct X86Accumulate : OpRewritePattern<AccumulateOp> {
  X86Accumulate(MLIRContext *context, X86Level level, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), level(level) {}

  LogicalResult matchAndRewrite(AccumulateOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    auto type = cast<VectorType>(op.getType());
    int64_t maxLanes = level == X86Level::AVX2 ? 8 : 16, lanes = std::min(type.getNumElements(), maxLanes);
    rewriter.replaceOp(op, e.inPieces(type, lanes, [&](int64_t first) {
      Value acc = e.slice(op.getAcc(), first, lanes), bytes = e.slice(op.getBytes(), 4 * first, 4 * lanes);
      return level == X86Level::AVX512VBMI ? emitDotProduct(e, acc, bytes) : emitPairs(e, acc, bytes);
    }));
    return success();
  }

  static Value emitDotProduct(PieceEmitter &e, Value acc, Value bytes) {
    Value ones = e.splat(cast<VectorType>(bytes.getType()), 1);
    return emitVNNI(e, acc, ones, bytes);
  }

  static Value emitPairs(PieceEmitter &e, Value acc, Value bytes) {
    int64_t lanes = e.getLanes(acc);
    StringRef addBytes = lanes == 16  ? "llvm.x86.avx512.pmaddubs.w.512"
                         : lanes == 8 ? "llvm.x86.avx2.pmadd.ub.sw"
                                      : "llvm.x86.ssse3.pmadd.ub.sw.128";
    VectorType wordsType = e.getType(2 * lanes, 16);
    Value words = e.call(addBytes, wordsType, {e.splat(e.getType(4 * lanes, 8), 1), bytes});
    Value sums = multiplyPairs(e, words, e.splat(wordsType, 1));
    return arith::AddIOp::create(e.b, e.loc, acc, sums);
  }

  X86Level level;
};

/// Without VNNI the even and the odd bytes are widened to words in place. `vpmaddubsw` would saturate.
struct X86Dot : OpRewritePattern<DotOp> {
  X86Dot(MLIRContext *context, X86Level level, PatternBenefit benefit)
      : OpRewritePattern(context, benefit), level(level) {}

  LogicalResult matchAndRewrite(DotOp op, PatternRewriter &rewriter) const override {
    PieceEmitter e{rewriter, op.getLoc()};
    auto type = cast<VectorType>(op.getType());
    int64_t maxLanes = level == X86Level::AVX2 ? 8 : 16, lanes = std::min(type.getNumElements(), maxLanes);
    rewriter.replaceOp(op, e.inPieces(type, lanes, [&](int64_t first) -> Value {
      int64_t perLane = op.hasWords() ? 2 : 4;
      Value acc = e.slice(op.getAcc(), first, lanes), codes = e.slice(op.getCodes(), perLane * first, perLane * lanes);
      Value entries = e.slice(op.getEntries(), perLane * first, perLane * lanes);
      if (level == X86Level::AVX512VBMI)
        return emitVNNI(e, acc, codes, entries);
      if (op.hasWords())
        return arith::AddIOp::create(rewriter, e.loc, acc, multiplyPairs(e, codes, entries));
      return emitWords(e, acc, codes, entries);
    }));
    return success();
  }

  static Value emitWords(PieceEmitter &e, Value acc, Value codes, Value bytes) {
    for (auto [code, byte] : e.widenInPlace(codes, bytes))
      acc = arith::AddIOp::create(e.b, e.loc, acc, multiplyPairs(e, code, byte));
    return acc;
  }

  X86Level level;
};

} // namespace

void elutq::hlq::populateHLQToLLVMX86Patterns(RewritePatternSet &patterns, X86Level level, PatternBenefit benefit) {
  patterns.add<X86Lookup, X86Accumulate, X86Dot>(patterns.getContext(), level, benefit);
}
