//===- TileFit.h - Fit a group of 64 rows ------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_TILEFIT_H
#define ELUTQ_LIB_QUANTIZE_TILEFIT_H

#include "ParameterSpace.h"

#include <vector>

namespace elutq::quantize {

/// Alternates, from several starts, between the nearest code words for fixed parameters and the parameters of least weighted
/// squared error for fixed codes; each row by itself. Scratch memory and the results of the last group.
class TileFit {
public:
  TileFit(const TileKernels &kernels, const ParameterSpace &space, int64_t groupSize);

  /// Fits the group `weights` `[columns][64]` with the weights `costs` `[columns]`, or equal ones if null.
  /// `trace` gets the error of the first row, equal weights and nothing rounded, at the first start and after each of its rounds.
  void fit(int64_t columns, const float *weights, const float *costs, int64_t maxIterations, int64_t starts,
           std::vector<double> *trace = nullptr);

  /// Results: parameters that f16 can hold, whether one had to be cut, the weighted squared error (weights of mean 1), the
  /// same for the uniform grid, and the nearest words with their codes.
  TileParameters parameters;
  bool isCut[kTileRows];
  double error[kTileRows], uniformError[kTileRows];
  const float *values() const { return valuesOfBest.data(); }
  const uint8_t *codes() const { return codesOfBest.data(); }

private:
  typedef double Doubles[kTileRows];
  void normalize(const float *weights, const float *costs);
  void setStart(int64_t start);
  void alternate(int64_t maxIterations, std::vector<double> *trace);
  void chooseCodes();
  void solve();
  void tryRounded(const Doubles *candidate, const float *weights, double stepShare = 1);
  void tryParameters(const TileParameters &candidate, const bool *cut, const float *weights);
  void trySteps(const float *weights);

  const TileKernels &kernels;
  const ParameterSpace &space;
  int64_t columns = 0;
  TileWords words;
  /// Weights moved to [0, 1] (without a zero: to [-1, 1]), the same times the columns' weights, and those.
  std::vector<float> scaled, weighted, columnWeights;
  double shift[kTileRows], range[kTileRows];
  double totalWeight = 0;
  Doubles totalSum, totalSquares, mean;
  /// Per code word: the weight of its columns, and their weighted sum.
  Doubles counts[kMaxWords], sums[kMaxWords];
  /// Of normalized weights: what is tried, its error, and the best so far.
  Doubles theta[kMaxParameters], currentError, bestTheta[kMaxParameters], bestError;
  std::vector<float> valuesOfBest, valuesOfOther;
  std::vector<uint8_t> codesOfBest, codesOfOther;
};

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_TILEFIT_H
