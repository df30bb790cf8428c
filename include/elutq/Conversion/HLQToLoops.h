//===- HLQToLoops.h - hlq ops as scalar loops -------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_HLQTOLOOPS_H
#define ELUTQ_CONVERSION_HLQTOLOOPS_H

#include "mlir/IR/PatternMatch.h"

namespace elutq::hlq {

/// Patterns that rewrite ops on memrefs to scalar loops:
/// [LowerBuildLut] `hlq.build_lut`, [LowerLutMatmul] `hlq.lut_matmul`, [LowerQuantizeRows] `hlq.quantize_rows`,
/// [LowerCodeMatmul] `hlq.code_matmul`, [LowerPackedGather] `hlq.packed_gather`.
void populateHLQToLoopsPatterns(mlir::RewritePatternSet &patterns, mlir::PatternBenefit benefit = 1);

} // namespace elutq::hlq

#endif // ELUTQ_CONVERSION_HLQTOLOOPS_H
