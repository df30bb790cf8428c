//===- TileFit.cpp - Fit a group of 64 rows -------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// A round needs no codes, only how much weight each code word gets and the weighted sum of its columns, and both follow from how
// much exceeds each midpoint between sorted code words: compare, mask, add.
//
//===----------------------------------------------------------------------===//

#include "TileFit.h"
#include "CompactGrid.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace elutq::quantize;

TileFit::TileFit(const TileKernels &kernels, const ParameterSpace &space, int64_t groupSize)
    : kernels(kernels), space(space), scaled(groupSize * kTileRows), weighted(groupSize * kTileRows),
      columnWeights(groupSize), valuesOfBest(groupSize * kTileRows), valuesOfOther(groupSize * kTileRows),
      codesOfBest(groupSize * kTileRows), codesOfOther(groupSize * kTileRows) {}

/// Moves the weights to [0, 1], so that no scale of the input can overflow or lose digits.
void TileFit::normalize(const float *weights, const float *costs) {
  double costSum = 0;
  for (int64_t k = 0; k < columns; ++k)
    costSum += costs ? static_cast<double>(costs[k]) : 1.0;
  totalWeight = 0;
  for (int64_t k = 0; k < columns; ++k) {
    columnWeights[k] = static_cast<float>((costs ? static_cast<double>(costs[k]) : 1.0) * static_cast<double>(columns) / costSum);
    totalWeight += static_cast<double>(columnWeights[k]);
  }

  float low[kTileRows], high[kTileRows], inverse[kTileRows], offset[kTileRows];
  std::copy(weights, weights + kTileRows, low);
  std::copy(weights, weights + kTileRows, high);
  for (int64_t k = 1; k < columns; ++k)
    for (int r = 0; r < kTileRows; ++r) {
      float w = weights[k * kTileRows + r];
      low[r] = w < low[r] ? w : low[r];
      high[r] = w > high[r] ? w : high[r];
    }
  for (int r = 0; r < kTileRows; ++r) {
    if (!space.hasZero) {
      high[r] = std::max(high[r], -low[r]);
      low[r] = 0;
    }
    shift[r] = static_cast<double>(low[r]);
    range[r] = static_cast<double>(high[r]) - shift[r];
    offset[r] = low[r];
    inverse[r] = static_cast<float>(1.0 / range[r]);
    // Ranges whose inverse overflows are far below the smallest f16 number: the group is constant.
    if (!(range[r] > 0) || !std::isfinite(inverse[r]))
      range[r] = inverse[r] = 0;
  }
  for (int64_t k = 0; k < columns; ++k)
    for (int r = 0; r < kTileRows; ++r) {
      float x = (weights[k * kTileRows + r] - offset[r]) * inverse[r];
      scaled[k * kTileRows + r] = x;
      weighted[k * kTileRows + r] = columnWeights[k] * x;
    }
  std::memset(totalSum, 0, sizeof totalSum);
  std::memset(totalSquares, 0, sizeof totalSquares);
  for (int64_t begin = 0; begin < columns; begin += 128) {
    float sum[kTileRows] = {}, squares[kTileRows];
    int64_t end = std::min(columns, begin + 128);
    for (int64_t k = begin; k < end; ++k)
      for (int r = 0; r < kTileRows; ++r)
        sum[r] += weighted[k * kTileRows + r];
    kernels.dotLanes(weighted.data() + begin * kTileRows, scaled.data() + begin * kTileRows, end - begin, squares);
    for (int r = 0; r < kTileRows; ++r) {
      totalSum[r] += static_cast<double>(sum[r]);
      totalSquares[r] += static_cast<double>(squares[r]);
    }
  }
  for (int r = 0; r < kTileRows; ++r)
    mean[r] = totalSum[r] / totalWeight;
}

/// The first start is the uniform grid from the smallest to the largest weight; the next ones are drawn together towards the mean, as
/// outliers are few; the last one halves the range of what is left from plane to plane by mean magnitudes.
void TileFit::setStart(int64_t start) {
  static constexpr double shares[] = {1.0, 0.8, 0.6};
  int top = (1 << space.bits) - 1;
  if (start < 3 || !space.hasPlaneScales()) {
    double share = start < 3 ? shares[start] : 0.45;
    for (int r = 0; r < kTileRows; ++r) {
      if (!space.hasZero) {
        theta[0][r] = share;
        continue;
      }
      double low = mean[r] * (1 - share), step = share / top;
      for (int i = 0; i < space.numVarying(); ++i)
        theta[i][r] = step * (space.hasPlaneScales() ? 1 << i : 1);
      theta[space.size - 1][r] = low;
    }
    return;
  }
  // The residuals, in a buffer that holds nothing yet.
  std::vector<float> &residual = valuesOfOther;
  for (int64_t k = 0; k < columns; ++k)
    for (int r = 0; r < kTileRows; ++r)
      residual[k * kTileRows + r] = scaled[k * kTileRows + r] - static_cast<float>(mean[r]);
  std::copy(mean, mean + kTileRows, theta[space.bits]);
  for (int j = space.bits; j-- > 0;) {
    float magnitude[kTileRows] = {};
    for (int64_t k = 0; k < columns; ++k)
      for (int r = 0; r < kTileRows; ++r)
        magnitude[r] += columnWeights[k] * std::fabs(residual[k * kTileRows + r]);
    for (int r = 0; r < kTileRows; ++r) {
      magnitude[r] /= static_cast<float>(totalWeight);
      theta[j][r] = 2 * static_cast<double>(magnitude[r]);
      theta[space.bits][r] -= static_cast<double>(magnitude[r]);
    }
    for (int64_t k = 0; k < columns; ++k)
      for (int r = 0; r < kTileRows; ++r) {
        float &x = residual[k * kTileRows + r];
        x -= x > 0 ? magnitude[r] : -magnitude[r];
      }
  }
}

/// The statistics of the nearest words of `theta`, and their error.
void TileFit::chooseCodes() {
  TileParameters rounded;
  for (int i = 0; i < space.size; ++i)
    for (int r = 0; r < kTileRows; ++r)
      rounded[i][r] = static_cast<float>(theta[i][r]);
  space.makeWords(kernels, rounded, words);
  Doubles countsAbove[kMaxWords] = {}, sumsAbove[kMaxWords] = {};
  kernels.accumulateAbove(words, space.bits, columns, scaled.data(), weighted.data(), columnWeights.data(), countsAbove,
                          sumsAbove);
  int size = 1 << space.bits;
  for (int rank = 0; rank < size; ++rank)
    for (int r = 0; r < kTileRows; ++r) {
      int code = words.code[rank][r];
      double count = (rank == 0 ? totalWeight : countsAbove[rank - 1][r]) - (rank + 1 < size ? countsAbove[rank][r] : 0.0);
      counts[code][r] = std::max(count, 0.0);
      sums[code][r] = (rank == 0 ? totalSum[r] : sumsAbove[rank - 1][r]) - (rank + 1 < size ? sumsAbove[rank][r] : 0.0);
    }
  std::copy(totalSquares, totalSquares + kTileRows, currentError);
  for (int c = 0; c < size; ++c)
    for (int r = 0; r < kTileRows; ++r) {
      double word = 0;
      for (int i = 0; i < space.size; ++i)
        word += static_cast<double>(space.design[c][i]) * theta[i][r];
      currentError[r] += word * (counts[c][r] * word - 2 * sums[c][r]);
    }
  for (int r = 0; r < kTileRows; ++r)
    currentError[r] = std::max(currentError[r], 0.0);
}

/// The parameters with the least squared error for the chosen codes. A tiny pull towards the old parameters keeps what an empty
/// code word leaves undetermined where it was.
void TileFit::solve() {
  int n = space.size;
  double ridge = 1e-7 * totalWeight;
  Doubles a[kMaxParameters][kMaxParameters], b[kMaxParameters], inverse[kMaxParameters];
  for (int i = 0; i < n; ++i) {
    for (int r = 0; r < kTileRows; ++r)
      b[i][r] = ridge * theta[i][r];
    for (int j = 0; j <= i; ++j)
      std::fill(a[i][j], a[i][j] + kTileRows, i == j ? ridge : 0.0);
    for (int c = 0; c < 1 << space.bits; ++c) {
      auto x = static_cast<double>(space.design[c][i]);
      if (x == 0)
        continue;
      for (int r = 0; r < kTileRows; ++r)
        b[i][r] += x * sums[c][r];
      for (int j = 0; j <= i; ++j) {
        double xy = x * static_cast<double>(space.design[c][j]);
        if (xy != 0)
          for (int r = 0; r < kTileRows; ++r)
            a[i][j][r] += xy * counts[c][r];
      }
    }
  }
  // Cholesky: the ridge makes the matrix positive definite.
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      for (int k = 0; k < j; ++k)
        for (int r = 0; r < kTileRows; ++r)
          a[i][j][r] -= a[i][k][r] * a[j][k][r];
      for (int r = 0; r < kTileRows; ++r) {
        if (i == j)
          inverse[i][r] = 1.0 / std::sqrt(std::max(a[i][i][r], ridge * 1e-3));
        else
          a[i][j][r] *= inverse[j][r];
      }
    }
    for (int k = 0; k < i; ++k)
      for (int r = 0; r < kTileRows; ++r)
        b[i][r] -= a[i][k][r] * b[k][r];
    for (int r = 0; r < kTileRows; ++r)
      b[i][r] *= inverse[i][r];
  }
  for (int i = n; i-- > 0;) {
    for (int k = i + 1; k < n; ++k)
      for (int r = 0; r < kTileRows; ++r)
        b[i][r] -= a[k][i][r] * theta[k][r];
    for (int r = 0; r < kTileRows; ++r)
      theta[i][r] = b[i][r] * inverse[i][r];
  }
}

/// Alternates from `theta` on, and keeps for each row the best that was found.
void TileFit::alternate(int64_t maxIterations, std::vector<double> *trace) {
  bool isSettled[kTileRows] = {};
  auto keepBest = [&] {
    if (trace)
      trace->push_back(currentError[0] * range[0] * range[0]);
    for (int r = 0; r < kTileRows; ++r)
      if (!isSettled[r] && currentError[r] < bestError[r]) {
        bestError[r] = currentError[r];
        for (int i = 0; i < space.size; ++i)
          bestTheta[i][r] = theta[i][r];
      }
  };
  chooseCodes();
  keepBest();
  for (int64_t iteration = 0; iteration < maxIterations; ++iteration) {
    Doubles before;
    std::copy(currentError, currentError + kTileRows, before);
    solve();
    chooseCodes();
    keepBest();
    // Below the noise of f16 parameters. Row by row, so that no row depends on its neighbours in the tile.
    bool areSettled = true;
    for (int r = 0; r < kTileRows; ++r) {
      isSettled[r] |= !(before[r] - currentError[r] > 1e-4 * before[r]);
      areSettled &= isSettled[r];
    }
    if (areSettled)
      break;
  }
}

/// Rounds normalized parameters to what can be stored and takes them for the rows in which their error is smaller.
void TileFit::tryRounded(const Doubles *candidate, const float *weights, double stepShare) {
  TileParameters rounded;
  bool cut[kTileRows];
  for (int i = 0; i < space.size; ++i)
    for (int r = 0; r < kTileRows; ++r) {
      bool isZero = space.hasZero && i + 1 == space.size;
      rounded[i][r] = static_cast<float>(candidate[i][r] * range[r] + (isZero ? shift[r] : 0.0));
    }
  for (int r = 0; r < kTileRows; ++r)
    cut[r] = space.round(rounded, r, stepShare);
  tryParameters(rounded, cut, weights);
}

/// Takes parameters for the rows in which their error is smaller.
void TileFit::tryParameters(const TileParameters &candidate, const bool *cut, const float *weights) {
  space.makeWords(kernels, candidate, words);
  double candidateError[kTileRows];
  kernels.assign(words, space.bits, columns, weights, columnWeights.data(), valuesOfOther.data(), codesOfOther.data(),
                 candidateError);
  for (int r = 0; r < kTileRows; ++r) {
    if (!(candidateError[r] < error[r]))
      continue;
    error[r] = candidateError[r];
    isCut[r] = cut[r];
    for (int i = 0; i < space.numRows(); ++i)
      parameters[i][r] = candidate[i][r];
    for (int64_t k = 0; k < columns; ++k) {
      valuesOfBest[k * kTileRows + r] = valuesOfOther[k * kTileRows + r];
      codesOfBest[k * kTileRows + r] = codesOfOther[k * kTileRows + r];
    }
  }
}

/// Compact parameters: rounds the best that was found to other steps, too, and then solves for the step of the best numbers alone.
void TileFit::trySteps(const float *weights) {
  // Each choice of codes takes as long as a round of the fit.
  for (int share = kLeastShare; share <= kGreatestShare; share += 2)
    tryRounded(bestTheta, weights, share / 100.0);
  for (int i = 0; i < space.size; ++i)
    for (int r = 0; r < kTileRows; ++r) {
      bool isZero = i == space.bits;
      theta[i][r] = range[r] > 0 ? (static_cast<double>(parameters[i][r]) - (isZero ? shift[r] : 0.0)) / range[r] : 0.0;
    }
  chooseCodes();
  TileParameters solved;
  for (int r = 0; r < kTileRows; ++r) {
    // With a word as a number of steps q, the least of sum over c of counts (S q)^2 - 2 sums S q.
    double step = static_cast<double>(parameters[space.size][r]), products = 0, squares = 0;
    for (int c = 0; c < 1 << space.bits; ++c) {
      double word = 0;
      for (int i = 0; i < space.size; ++i)
        word += static_cast<double>(space.design[c][i]) * static_cast<double>(parameters[i][r]);
      products += word * (counts[c][r] * shift[r] + range[r] * sums[c][r]);
      squares += word * word * counts[c][r];
    }
    double factor = squares > 0 && products > 0 ? products / squares : 1.0;
    float rounded = halfToFloat(floatToHalf(static_cast<float>(std::min(step * factor, 65504.0))));
    for (int i = 0; i < space.size; ++i)
      solved[i][r] = step > 0 ? rounded * static_cast<float>(std::nearbyint(static_cast<double>(parameters[i][r]) / step)) : 0.0f;
    solved[space.size][r] = rounded;
  }
  // A row that this improves keeps whether its step was cut.
  bool cut[kTileRows];
  std::copy(isCut, isCut + kTileRows, cut);
  tryParameters(solved, cut, weights);
}

void TileFit::fit(int64_t number, const float *weights, const float *costs, int64_t maxIterations, int64_t starts,
                  std::vector<double> *trace) {
  columns = number;
  normalize(weights, costs);
  std::fill(error, error + kTileRows, HUGE_VAL);
  std::fill(bestError, bestError + kTileRows, HUGE_VAL);
  setStart(0);
  tryRounded(theta, weights);
  std::copy(error, error + kTileRows, uniformError);
  if (maxIterations == 0)
    return;
  for (int64_t start = 0; start < starts; ++start) {
    setStart(start);
    alternate(maxIterations, start == 0 ? trace : nullptr);
  }
  if (space.isCompact())
    trySteps(weights);
  else
    tryRounded(bestTheta, weights);
}
