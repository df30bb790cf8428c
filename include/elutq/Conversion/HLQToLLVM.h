//===- HLQToLLVM.h - hlq vector ops as instructions -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_HLQTOLLVM_H
#define ELUTQ_CONVERSION_HLQTOLLVM_H

#include "mlir/IR/PatternMatch.h"

namespace elutq::hlq {

/// What the patterns for x86 may use; each level includes the ones before it.
enum class X86Level { AVX2, AVX512BW, AVX512VBMI };

/// [GenericLookup] 16 lanes at a time as extractions, which LLVM turns into one byte permutation where there is one;
/// [GenericAccumulate] and [GenericDot] by shifts.
void populateHLQToLLVMGenericPatterns(mlir::RewritePatternSet &patterns, mlir::PatternBenefit benefit = 1);

/// [X86Lookup] `vpshufb` or `vpermb`; [X86Accumulate] `vpdpbusd`, or `vpmaddubsw` and `vpmaddwd`; [X86Dot]
/// `vpdpbusd`, or `vpmaddwd` of words.
void populateHLQToLLVMX86Patterns(mlir::RewritePatternSet &patterns, X86Level level, mlir::PatternBenefit benefit = 2);

/// [AArch64Lookup] `tbl` of one or four registers; [AArch64Accumulate] `sdot`, or `saddlp` twice;
/// [AArch64Dot] `sdot`, or products of words.
void populateHLQToLLVMAArch64Patterns(mlir::RewritePatternSet &patterns, bool hasDotProduct,
                                      mlir::PatternBenefit benefit = 2);

/// The pattern sets for `isa`, a name that `#hlq.kernel` uses; fails where it is unknown.
mlir::LogicalResult populateHLQToLLVMPatterns(mlir::RewritePatternSet &patterns, llvm::StringRef isa);

} // namespace elutq::hlq

#endif // ELUTQ_CONVERSION_HLQTOLLVM_H
