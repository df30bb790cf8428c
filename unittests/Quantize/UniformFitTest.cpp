//===- UniformFitTest.cpp - Tests of the fit of 8-bit codes ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Float16.h"
#include "elutq/Quantize/Solver.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <random>

using namespace elutq::quantize;

namespace {
std::vector<float> randomWeights(int64_t count, unsigned seed, float factor = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> weights(count);
  for (float &w : weights)
    w = factor * normal(random) * (random() % 50 == 0 ? 4.0f : 1.0f);
  return weights;
}

/// A matrix of `rows` rows, quantized, and the value of each of its weights.
struct Result {
  Result(const std::vector<float> &weights, int64_t rows, const FitOptions &options)
      : group(options.groupSize), columns(static_cast<int64_t>(weights.size()) / rows), groups(numGroups(columns, group)),
        codes(numPlaneBytes(8, rows, groups, group), 0xee), scales(rows * groups), zeros(rows * groups),
        report(fitHLQ({weights.data(), DataType::F32, rows, columns, columns, 1}, options, codes.data(), scales.data(),
                      zeros.data())) {}
  int code(int64_t row, int64_t column) const { return codes[row * groups * group + column]; }
  double scale(int64_t row, int64_t column) const { return halfToFloat(scales[row * groups + column / group]); }
  double value(int64_t row, int64_t column) const {
    return halfToFloat(zeros[row * groups + column / group]) + scale(row, column) * code(row, column);
  }

  int64_t group, columns, groups;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales, zeros;
  FitReport report;
};

FitOptions optionsOf(int64_t group, int64_t iterations = 10, unsigned threads = 1) {
  return {8, group, ParameterKind::HLQ, iterations, threads};
}
} // namespace

// No other code is nearer, and the report's sums are those of the results.
TEST(UniformFitTest, CodesAreNearestAndErrorsAreTrue) {
  std::vector<float> weights = randomWeights(7 * 96, 1);
  Result result(weights, 7, optionsOf(32));
  ASSERT_EQ(result.report.error, "");
  double error = 0, norm = 0;
  for (int64_t row = 0; row < 7; ++row)
    for (int64_t column = 0; column < 96; ++column) {
      double w = weights[row * 96 + column], chosen = std::fabs(w - result.value(row, column));
      for (int step : {-1, 1})
        if (int other = result.code(row, column) + step; other >= 0 && other <= 255)
          ASSERT_LE(chosen, std::fabs(w - result.value(row, column) - step * result.scale(row, column)) + 1e-7);
      error += chosen * chosen;
      norm += w * w;
    }
  EXPECT_NEAR(result.report.squaredError, error, 1e-4 * error);
  EXPECT_NEAR(result.report.squaredNorm, norm, 1e-5 * norm);
  EXPECT_LT(error, 4e-5 * norm);
}

// Also where f16 is coarse: scales below 2^-14 have few digits, and one that is rounded down cuts the largest weights.
TEST(UniformFitTest, NeverWorseThanUniform) {
  for (unsigned seed = 0; seed < 100; ++seed)
    for (float factor : {1e-4f, 1e-3f, 0.01f, 1.0f, 300.0f}) {
      std::vector<float> weights = randomWeights(48, seed, factor);
      Result fitted(weights, 1, optionsOf(48)), uniform(weights, 1, optionsOf(48, 0));
      ASSERT_LE(fitted.report.squaredError, fitted.report.uniformError);
      ASSERT_EQ(fitted.report.uniformError, uniform.report.squaredError);
    }
}

// Rounding weights to a grid of 255 steps costs a twelfth of a squared step each, on average; the fit is no worse than that.
TEST(UniformFitTest, ErrorIsThatOfTheGrid) {
  std::vector<float> weights = randomWeights(64 * 256, 3);
  Result fitted(weights, 64, optionsOf(128));
  double grid = 0;
  for (size_t first = 0; first < weights.size(); first += 128) {
    auto [low, high] = std::minmax_element(weights.begin() + first, weights.begin() + first + 128);
    double step = (static_cast<double>(*high) - *low) / 255;
    grid += 128 * step * step / 12;
  }
  EXPECT_LT(fitted.report.squaredError, grid);
  EXPECT_LT(fitted.report.squaredError, 0.99 * fitted.report.uniformError);
}

TEST(UniformFitTest, GridOfHalvesIsExact) {
  std::vector<float> weights(256);
  for (int k = 0; k < 256; ++k)
    weights[k] = 0.125f * static_cast<float>(k * 7 % 256) - 3.5f;
  Result result(weights, 1, optionsOf(256));
  EXPECT_EQ(result.report.squaredError, 0);
  for (int k = 0; k < 256; ++k) {
    EXPECT_EQ(result.code(0, k), k * 7 % 256);
    EXPECT_EQ(result.value(0, k), weights[k]);
  }
}

// Columns from K on are 0 and have no influence; constants and zeros are themselves.
TEST(UniformFitTest, PaddingAndConstants) {
  std::vector<float> weights = randomWeights(3 * 40, 5);
  std::fill(weights.begin() + 40, weights.begin() + 80, 0.75f);
  std::fill(weights.begin() + 80, weights.end(), 0.0f);
  Result result(weights, 3, optionsOf(32));
  std::vector<float> tail(weights.begin() + 32, weights.begin() + 40);
  Result alone(tail, 1, optionsOf(16));
  EXPECT_EQ(alone.zeros[0], result.zeros[1]);
  EXPECT_EQ(alone.scales[0], result.scales[1]);
  for (int64_t row = 0; row < 3; ++row)
    for (int64_t column = 40; column < 64; ++column)
      ASSERT_EQ(result.code(row, column), 0);
  for (int64_t column = 0; column < 40; ++column) {
    ASSERT_EQ(result.value(1, column), 0.75);
    ASSERT_EQ(result.value(2, column), 0);
  }
}

TEST(UniformFitTest, ThreadsDoNotMatter) {
  std::vector<float> weights = randomWeights(333 * 160, 9);
  Result a(weights, 333, optionsOf(32)), b(weights, 333, optionsOf(32, 10, 5));
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.report.squaredError, b.report.squaredError);
}

TEST(UniformFitTest, BadAndLargeWeights) {
  std::vector<float> weights = randomWeights(2 * 64, 1);
  weights[5] = 3e7f;
  EXPECT_EQ(Result(weights, 2, optionsOf(32)).report.clampedGroups, 1);
  weights[64 + 40] = NAN;
  EXPECT_EQ(Result(weights, 2, optionsOf(32)).report.error,
            "weights of row 1, columns 32 to 63 hold a value that is not a finite number below 1e15");
}
