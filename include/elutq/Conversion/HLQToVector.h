//===- HLQToVector.h - hlq ops as loops over vectors ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_HLQTOVECTOR_H
#define ELUTQ_CONVERSION_HLQTOVECTOR_H

#include "mlir/IR/PatternMatch.h"

namespace elutq::hlq {

struct HLQToVectorOptions {
  /// Bytes of tables, rounded activations or codes that one pass over the row blocks may use: a part of the first-level cache.
  int64_t tableBytes = 16384;
};

/// Patterns that rewrite ops on memrefs to loops over vectors:
/// [VectorizeLutMatmul] `hlq.lut_matmul` to `hlq.lookup` and sums; 16 rows with dword lanes only.
void populateLutMatmulToVectorPatterns(mlir::RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                       mlir::PatternBenefit benefit = 1);
/// [VectorizeCodeMatmul] `hlq.code_matmul` of stored codes to `hlq.dot`.
void populateCodeMatmulToVectorPatterns(mlir::RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                        mlir::PatternBenefit benefit = 1);
/// [VectorizePlaneMatmul] `hlq.code_matmul` of planes to codes in a buffer and `hlq.dot`, or `amx` tiles.
void populatePlaneMatmulToVectorPatterns(mlir::RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                         mlir::PatternBenefit benefit = 1);
/// [VectorizeBuildLut] `hlq.build_lut`, 16 table entries at a time; static K only.
void populateBuildLutToVectorPatterns(mlir::RewritePatternSet &patterns, mlir::PatternBenefit benefit = 1);
/// [VectorizeQuantizeRows] `hlq.quantize_rows`, 16 columns at a time; static K only.
void populateQuantizeRowsToVectorPatterns(mlir::RewritePatternSet &patterns, mlir::PatternBenefit benefit = 1);
/// [VectorizePackedGather] `hlq.packed_gather`, 16 columns at a time.
void populatePackedGatherToVectorPatterns(mlir::RewritePatternSet &patterns, mlir::PatternBenefit benefit = 1);

/// All of the above.
void populateHLQToVectorPatterns(mlir::RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                 mlir::PatternBenefit benefit = 1);

} // namespace elutq::hlq

#endif // ELUTQ_CONVERSION_HLQTOVECTOR_H
