//===- Cholesky.h - Factors of symmetric matrices ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_CHOLESKY_H
#define ELUTQ_LIB_QUANTIZE_CHOLESKY_H

#include "TileKernels.h"

#include <cstdint>

namespace elutq::quantize {

/// Rounds up to whole tiles, as the sides of matrices here are.
inline int64_t padToTiles(int64_t n) { return (n + kTileRows - 1) / kTileRows * kTileRows; }

/// Replaces the upper triangle of `a`, `n` by `n` with rows `n` apart and `n` a multiple of 64, by V with V^T V = A. What is below
/// the diagonal is neither read nor, outside of the blocks on it, written. False if A is not positive definite.
bool factorUpper(const TileKernels &kernels, double *a, int64_t n, unsigned threads);

/// Columns `block * 64` to `block * 64 + 63` of V^-T, `[n][64]`, of which the rows above the block are zero.
void invertBlock(const TileKernels &kernels, const double *v, int64_t n, int64_t block, double *out);

/// Replaces `x` by the solution of V^T V y = x.
void solveFactored(const double *v, int64_t stride, int64_t n, double *x);

/// The same factor for the first `n` of rows `stride` apart, without blocks; for small matrices.
bool factorSmall(double *a, int64_t stride, int64_t n);

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_CHOLESKY_H
