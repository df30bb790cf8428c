//===- Hessian.cpp - What matrices with the same input share --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// U with U^T U = (H + d I)^-1 needs no inverse: with the order of rows and columns reversed, A = J (H + d I) J = V^T V gives
// U = J V^-T J.
//
//===----------------------------------------------------------------------===//

#include "Cholesky.h"
#include "Parallel.h"
#include "elutq/Quantize/HessianSolver.h"

#include <cmath>
#include <cstring>
#include <numeric>

using namespace elutq::quantize;

/// A number of an error message.
static std::string toText(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

static std::string at(int64_t row, int64_t column) {
  return "element [" + std::to_string(row) + ", " + std::to_string(column) + "]";
}

/// Checks the diagonal and the options, and fixes the order of columns.
bool Hessian::setOrder(const HessianOptions &options, std::string &error, const std::vector<double> &diagonal) {
  size = static_cast<int64_t>(diagonal.size());
  groupSize = options.groupSize;
  damping = options.damping;
  if (size <= 0)
    error = "expected a Hessian of at least one column";
  else if (groupSize <= 0 || groupSize % 8 != 0)
    error = "expected the group size to be a positive multiple of 8, but got " + std::to_string(groupSize);
  else if (!(damping >= 0) || !std::isfinite(damping))
    error = "expected the damping to be a finite number of at least 0, but got " + toText(damping);
  if (!error.empty())
    return false;
  double sum = 0;
  for (int64_t k = 0; k < size; ++k) {
    double value = diagonal[k];
    if (!std::isfinite(value) || value < 0) {
      error = "the Hessian's diagonal " + at(k, k) + " is " + toText(value) + ": expected a finite number of at least 0";
      return false;
    }
    deadColumns += value == 0;
    sum += value;
  }
  // Nothing excites the layer: all columns are alike.
  double mean = sum > 0 ? sum / static_cast<double>(size) : 1;
  scale = std::ldexp(1.0, -std::ilogb(mean));
  meanDiagonal = mean * scale;
  addedDiagonal = sum > 0 ? damping * meanDiagonal : 1;

  int64_t count = numGroups(size, groupSize);
  groups.resize(count);
  std::iota(groups.begin(), groups.end(), 0);
  std::vector<double> groupSum(count);
  for (int64_t k = 0; k < size; ++k)
    groupSum[k / groupSize] += diagonal[k];
  // Equal ones in the order of the matrix.
  auto sortByWeight = [](std::vector<int64_t>::iterator begin, std::vector<int64_t>::iterator end, const std::vector<double> &weight) {
    std::sort(begin, end, [&](int64_t a, int64_t b) { return weight[a] != weight[b] ? weight[a] > weight[b] : a < b; });
  };
  if (options.order != ColumnOrder::Natural)
    sortByWeight(groups.begin(), groups.end(), groupSum);
  for (int64_t group : groups) {
    groupOffsets.push_back(static_cast<int64_t>(columns.size()));
    auto begin = static_cast<int64_t>(columns.size());
    for (int64_t k = group * groupSize; k < std::min(size, (group + 1) * groupSize); ++k)
      columns.push_back(k);
    if (options.order == ColumnOrder::Columns)
      sortByWeight(columns.begin() + begin, columns.end(), diagonal);
  }
  groupOffsets.push_back(size);
  return true;
}

/// Whether two elements that mirror each other agree, up to the noise of sums in single precision in another order.
static bool areAlike(const float *h, int64_t size, int64_t i, int64_t j) {
  double a = h[i * size + j], b = h[j * size + i];
  double noise = 1e-3 * std::sqrt(static_cast<double>(h[i * size + i]) * static_cast<double>(h[j * size + j]));
  return std::fabs(a - b) <= noise + 1e-5 * std::fabs(a);
}

/// Whether `h`, of a valid diagonal, is finite and symmetric.
static bool checkMatrix(const float *h, int64_t size, unsigned threads, std::string &error) {
  // By tiles, as the mirrored elements of a row are a row apart each.
  int64_t tiles = (size + kTileRows - 1) / kTileRows;
  std::vector<uint8_t> isBad(tiles);
  forEachBlock(tiles, threads, [&](int64_t tile) {
    int64_t first = tile * kTileRows, last = std::min(size, first + kTileRows);
    bool isGood = true;
    for (int64_t left = 0; left < size; left += kTileRows)
      for (int64_t i = first; i < last; ++i)
        for (int64_t j = left; j < std::min(size, left + kTileRows); ++j)
          isGood &= std::isfinite(h[i * size + j]) && (j <= i || areAlike(h, size, i, j));
    isBad[tile] = !isGood;
  });
  for (int64_t tile = 0; tile < tiles; ++tile) {
    if (!isBad[tile])
      continue;
    for (int64_t i = tile * kTileRows; i < size; ++i)
      for (int64_t j = 0; j < size; ++j) {
        if (!std::isfinite(h[i * size + j])) {
          error = "the Hessian's " + at(i, j) + " is not a finite number";
          return false;
        }
        if (j > i && std::isfinite(h[j * size + i]) && !areAlike(h, size, i, j)) {
          error = "expected the Hessian to be symmetric, but " + at(i, j) + " is " + toText(h[i * size + j]) + " and " + at(j, i) +
                  " is " + toText(h[j * size + i]);
          return false;
        }
      }
  }
  return true;
}

std::unique_ptr<Hessian> Hessian::create(const float *h, int64_t size, const HessianOptions &options, std::string &error) {
  auto result = std::make_unique<Hessian>();
  std::vector<double> diagonal(std::max<int64_t>(size, 0));
  for (int64_t k = 0; k < size; ++k)
    diagonal[k] = static_cast<double>(h[k * size + k]);
  if (!result->setOrder(options, error, diagonal) || !checkMatrix(h, size, options.threads, error))
    return nullptr;

  const TileKernels &kernels = getTileKernels();
  const std::vector<int64_t> &columns = result->columns;
  int64_t padded = padToTiles(size);
  const double scale = result->scale;
  std::vector<double> v(padded * padded);
  for (double more = 1e-4;; more *= 10) {
    forEachBlock(padded, options.threads, [&](int64_t i) {
      double *row = v.data() + i * padded;
      std::fill(row, row + padded, 0.0);
      row[i] = 1;
      if (i >= size)
        return;
      const float *from = h + columns[size - 1 - i] * size;
      for (int64_t j = i; j < size; ++j)
        row[j] = scale * static_cast<double>(from[columns[size - 1 - j]]);
      row[i] += result->addedDiagonal;
    });
    if (factorUpper(kernels, v.data(), padded, options.threads))
      break;
    if (more > 1 || result->deadColumns == size) {
      error = "the Hessian is not positive semidefinite: it can't be factored even if its mean diagonal is added to the diagonal";
      return nullptr;
    }
    if (more <= result->damping)
      continue;
    result->damping = more;
    result->addedDiagonal = more * result->meanDiagonal;
  }

  result->factor.assign(size * size, 0.0f);
  forEachBlock(padded / kTileRows, options.threads, [&](int64_t block) {
    std::vector<double> x(padded * kTileRows);
    invertBlock(kernels, v.data(), padded, block, x.data());
    for (int64_t lane = 0; lane < kTileRows; ++lane) {
      int64_t column = block * kTileRows + lane;
      for (int64_t row = column; row < size; ++row)
        result->factor[(size - 1 - row) * size + size - 1 - column] = static_cast<float>(x[row * kTileRows + lane]);
    }
  });
  v = {};

  int64_t groups = static_cast<int64_t>(result->groups.size());
  result->damped.resize(size * size);
  result->groupSums.resize(size * groups);
  result->inverseDiagonal.resize(size);
  result->inverseFactorDiagonal.resize(size);
  result->costs.resize(size);
  forEachBlock(size, options.threads, [&](int64_t i) {
    const float *from = h + columns[i] * size;
    float *row = result->damped.data() + i * size;
    for (int64_t j = 0; j < size; ++j)
      row[j] = static_cast<float>(scale * static_cast<double>(from[columns[j]]));
    double diagonalElement = static_cast<double>(row[i]) + result->addedDiagonal;
    row[i] = static_cast<float>(diagonalElement);
    for (int64_t group = 0; group < groups; ++group)
      result->groupSums[i * groups + group] = static_cast<float>(
          std::accumulate(row + result->groupOffsets[group], row + result->groupOffsets[group + 1], 0.0));
    result->inverseDiagonal[i] = static_cast<float>(1 / diagonalElement);
    auto u = static_cast<double>(result->factor[i * size + i]);
    result->inverseFactorDiagonal[i] = static_cast<float>(1 / u);
    result->costs[i] = static_cast<float>(1 / (u * u));
  });
  return result;
}

std::unique_ptr<Hessian> Hessian::createDiagonal(const float *diagonal, int64_t size, const HessianOptions &options,
                                                 std::string &error) {
  auto result = std::make_unique<Hessian>();
  if (!result->setOrder(options, error, std::vector<double>(diagonal, diagonal + std::max<int64_t>(size, 0))))
    return nullptr;
  result->isDiagonal = true;
  for (int64_t column : result->columns) {
    double value = result->scale * static_cast<double>(diagonal[column]) + result->addedDiagonal;
    // Without damping, a column without weight still needs a code.
    value = std::max(value, 1e-30);
    result->costs.push_back(static_cast<float>(value));
    result->inverseDiagonal.push_back(static_cast<float>(1 / value));
    result->inverseFactorDiagonal.push_back(static_cast<float>(std::sqrt(value)));
  }
  return result;
}

void Hessian::computeLoss(const float *weights, const float *values, int64_t rows, double *loss, unsigned threads) const {
  const TileKernels &kernels = getTileKernels();
  forEachBlock((rows + kTileRows - 1) / kTileRows, threads, [&](int64_t tile) {
    int64_t first = tile * kTileRows, count = std::min<int64_t>(kTileRows, rows - first);
    std::vector<float> error(size * kTileRows), product(isDiagonal ? 0 : size * kTileRows);
    for (int64_t k = 0; k < size; ++k)
      for (int64_t r = 0; r < count; ++r) {
        int64_t from = (first + r) * size + columns[k];
        error[k * kTileRows + r] = weights[from] - values[from];
      }
    for (int64_t k = 0; k < size && !isDiagonal; k += kMaxDepth)
      kernels.multiply(damped.data() + k * size, size, size, std::min<int64_t>(kMaxDepth, size - k),
                       error.data() + k * kTileRows, kTileRows, product.data(), kTileRows);
    for (int64_t r = 0; r < count; ++r) {
      double sum = 0;
      for (int64_t k = 0; k < size; ++k) {
        auto e = static_cast<double>(error[k * kTileRows + r]);
        double he = isDiagonal ? e * static_cast<double>(costs[k]) : -static_cast<double>(product[k * kTileRows + r]);
        sum += e * (he - addedDiagonal * e);
      }
      loss[first + r] = std::max(sum, 0.0) / scale;
    }
  });
}
