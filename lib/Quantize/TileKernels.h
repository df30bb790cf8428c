//===- TileKernels.h - Loops over tiles of 64 rows ---------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// The solver works on tiles of 64 rows, stored by columns: element `[k][r]` of a tile is at `64 * k + r`, so that vector lanes
// are rows. Its hot loops are built for several instruction sets and chosen when the program runs. Lanes never mix, every
// sum has one order and products are not fused with additions: all of them give the same bits.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_TILEKERNELS_H
#define ELUTQ_LIB_QUANTIZE_TILEKERNELS_H

#include <cstdint>

namespace elutq::quantize {

/// Rows of a tile.
constexpr int kTileRows = 64;
/// Most columns of a block: within it, what a column changes in the others is applied at once, outside of it in one product.
constexpr int kBlockColumns = 32;
/// Most terms that one call of `multiply` adds.
constexpr int kMaxDepth = 64;
constexpr int kMaxPlanes = 4;
constexpr int kMaxWords = 1 << kMaxPlanes;

/// The code words of a group for each row, ascending, their codes, and the midpoints between neighbours.
struct TileWords {
  float word[kMaxWords][kTileRows];
  float threshold[kMaxWords][kTileRows];
  int32_t code[kMaxWords][kTileRows];
};

/// A block of the column loop with error feedback.
struct FeedbackBlock {
  /// Columns, at most `kBlockColumns`.
  int64_t columns;
  /// `[columns][64]`, in: the weights with the feedback of all columns before the block.
  float *weights;
  /// The factor from the block's diagonal on: `factor[k * stride + j]` is U[k, j].
  const float *factor;
  int64_t stride;
  /// 1 / U[k, k].
  const float *inverseDiagonal;
  /// Out: the code words taken, their codes, and the errors by U[k, k].
  float *values;
  uint8_t *codes;
  float *errors;
};

/// A block of the descent over codes in the metric of H.
struct DescentBlock {
  int64_t columns;
  /// `[columns][64]`, in: H (w - v), not changed here.
  const float *gradient;
  /// H from the block's diagonal on, and 1 / H[k, k].
  const float *hessian;
  int64_t stride;
  const float *inverseDiagonal;
  /// `[64]`: all ones in lanes that may change, 0 in others.
  const int32_t *active;
  /// In and out.
  float *values;
  uint8_t *codes;
  /// Out: new values less old ones.
  float *changes;
};

struct TileKernels {
  /// c[i][r] -= sum over k < depth of a[k * aStride + i] * b[k][r], for i < rows and r < 64, in the order of k.
  void (*multiply)(const float *a, int64_t aStride, int64_t rows, int64_t depth, const float *b, int64_t bStride, float *c,
                   int64_t cStride);
  void (*multiplyDouble)(const double *a, int64_t aStride, int64_t rows, int64_t depth, const double *b, int64_t bStride,
                         double *c, int64_t cStride);
  /// Sorts `word` and `code` and recomputes `threshold`.
  void (*sortWords)(TileWords &words, int bits);
  /// Adds to `counts[t][r]` the column weights, and to `sums[t][r]` the weighted values, of the columns of `values` above threshold t.
  void (*accumulateAbove)(const TileWords &words, int bits, int64_t columns, const float *values, const float *weightedValues,
                          const float *columnWeights, double (*counts)[kTileRows], double (*sums)[kTileRows]);
  /// The nearest words and codes for `[columns][64]` weights, and the sum of their weighted squared errors.
  void (*assign)(const TileWords &words, int bits, int64_t columns, const float *weights, const float *columnWeights,
                 float *values, uint8_t *codes, double *errors);
  /// Nearest words, column by column, each with the feedback of those before. If `frozen`, values and codes are given.
  void (*feedback)(const TileWords &words, int bits, const FeedbackBlock &block, bool frozen);
  void (*descend)(const TileWords &words, int bits, const DescentBlock &block);
  /// out[r] = sum over k < depth of a[k][r] * b[k][r], for r < 64.
  void (*dotLanes)(const float *a, const float *b, int64_t depth, float *out);
};

/// The kernels for this machine.
const TileKernels &getTileKernels();

/// Kernels of one instruction set; null where this machine or build lacks it.
enum class TileISA { Baseline, AVX2, AVX512 };
const TileKernels *getTileKernels(TileISA isa);

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_TILEKERNELS_H
