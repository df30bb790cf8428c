//===- Cholesky.cpp - Factors of symmetric matrices -----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Cholesky.h"
#include "Parallel.h"

#include <cmath>

using namespace elutq::quantize;

/// Subtracts from row `i` of `x` the rows above it times their elements of V's column `i`, and divides by V[i, i]; `width` columns.
static void eliminateRow(const double *v, int64_t stride, int64_t i, double *x, int64_t xStride, int64_t width) {
  double *row = x + i * xStride;
  for (int64_t k = 0; k < i; ++k) {
    double factor = v[k * stride + i];
    const double *above = x + k * xStride;
    for (int64_t j = 0; j < width; ++j)
      row[j] -= factor * above[j];
  }
  double inverse = 1.0 / v[i * stride + i];
  for (int64_t j = 0; j < width; ++j)
    row[j] *= inverse;
}

bool elutq::quantize::factorSmall(double *a, int64_t stride, int64_t n) {
  for (int64_t k = 0; k < n; ++k) {
    double *row = a + k * stride;
    // NaN fails the comparison, too.
    if (!(row[k] > 0) || !std::isfinite(row[k]))
      return false;
    double root = std::sqrt(row[k]), inverse = 1.0 / root;
    row[k] = root;
    for (int64_t j = k + 1; j < n; ++j)
      row[j] *= inverse;
    for (int64_t i = k + 1; i < n; ++i) {
      double *later = a + i * stride, factor = row[i];
      for (int64_t j = i; j < n; ++j)
        later[j] -= factor * row[j];
    }
  }
  return true;
}

bool elutq::quantize::factorUpper(const TileKernels &kernels, double *a, int64_t n, unsigned threads) {
  for (int64_t begin = 0; begin < n; begin += kTileRows) {
    double *diagonal = a + begin * n + begin;
    if (!factorSmall(diagonal, n, kTileRows))
      return false;
    int64_t later = n / kTileRows - begin / kTileRows - 1;
    // The rows of the block, then what they take from the rows below.
    forEachBlock(later, threads, [&](int64_t strip) {
      double *x = diagonal + (strip + 1) * kTileRows;
      for (int64_t i = 0; i < kTileRows; ++i)
        eliminateRow(diagonal, n, i, x, n, kTileRows);
    });
    forEachBlock(later, threads, [&](int64_t block) {
      int64_t row = begin + (block + 1) * kTileRows;
      for (int64_t column = row; column < n; column += kTileRows)
        kernels.multiplyDouble(a + begin * n + row, n, kTileRows, kTileRows, a + begin * n + column, n, a + row * n + column, n);
    });
  }
  return true;
}

void elutq::quantize::invertBlock(const TileKernels &kernels, const double *v, int64_t n, int64_t block, double *out) {
  int64_t first = block * kTileRows;
  std::fill(out, out + n * kTileRows, 0.0);
  for (int64_t i = 0; i < kTileRows; ++i)
    out[(first + i) * kTileRows + i] = 1;
  for (int64_t row = first; row < n; row += kTileRows) {
    double *x = out + row * kTileRows;
    for (int64_t k = first; k < row; k += kTileRows)
      kernels.multiplyDouble(v + k * n + row, n, kTileRows, kTileRows, out + k * kTileRows, kTileRows, x, kTileRows);
    for (int64_t i = 0; i < kTileRows; ++i)
      eliminateRow(v + row * n + row, n, i, x, kTileRows, kTileRows);
  }
}

void elutq::quantize::solveFactored(const double *v, int64_t stride, int64_t n, double *x) {
  for (int64_t i = 0; i < n; ++i) {
    const double *row = v + i * stride;
    x[i] /= row[i];
    for (int64_t j = i + 1; j < n; ++j)
      x[j] -= row[j] * x[i];
  }
  for (int64_t i = n; i-- > 0;) {
    const double *row = v + i * stride;
    double sum = x[i];
    for (int64_t j = i + 1; j < n; ++j)
      sum -= row[j] * x[j];
    x[i] = sum / row[i];
  }
}
