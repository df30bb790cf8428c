//===- MatrixReader.h - Read weights and write codes -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_MATRIXREADER_H
#define ELUTQ_LIB_QUANTIZE_MATRIXREADER_H

#include "TileKernels.h"
#include "elutq/Quantize/Solver.h"

namespace elutq::quantize {

/// Copies `rows` rows from `firstRow` on, `cols` columns from `firstCol` on, to `out`, `stride` apart.
void readTile(const MatrixView &view, int64_t firstRow, int64_t rows, int64_t firstCol, int64_t cols, float *out,
              int64_t stride);

/// The same by columns: column `k` of the part goes to `out[64 * k]` and on. Rows that are not read, up to 64, become 0.
void readColumns(const MatrixView &view, int64_t firstRow, int64_t rows, int64_t firstCol, int64_t cols, float *out);

/// Writes the codes `codes[64 * k + r]` of `count` rows from `firstRow` on, `cols` columns from `firstCol` on, to planes of `rows`
/// rows and `rowBytes` bytes per row. Columns up to `padded`, a multiple of 8, get the code 0.
void writeTilePlanes(const uint8_t *codes, int64_t cols, int64_t padded, int64_t bits, int64_t firstRow, int64_t count,
                     int64_t firstCol, int64_t rows, int64_t rowBytes, uint8_t *planes);

/// Whether a weight is not beyond any f16 parameter by far. False for NaN, too.
inline bool isUsableWeight(float w) { return w <= 1e15f && w >= -1e15f; }

/// What to say of a group with a weight that is not usable.
std::string unusableWeights(int64_t row, int64_t firstCol, int64_t cols);

/// Processor time of the calling thread.
double getThreadSeconds();

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_MATRIXREADER_H
