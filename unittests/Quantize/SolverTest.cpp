//===- SolverTest.cpp - Tests of the HLQ solver ---------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Solver.h"
#include "RandomWeights.h"
#include "elutq/Quantize/Float16.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <random>

using namespace elutq::quantize;

namespace {
/// A quantized matrix and the value of each of its weights.
struct Result {
  Result(const MatrixView &view, const FitOptions &options)
      : bits(options.bits), group(options.groupSize), rows(view.rows), groups(numGroups(view.cols, group)),
        planes(bits * rows * groups * group / 8, 0xee), scales(rows * groups * bits), zeros(rows * groups),
        report(fitHLQ(view, options, planes.data(), scales.data(), zeros.data())) {}
  bool bit(int64_t j, int64_t row, int64_t column) const {
    return planes[(j * rows + row) * groups * group / 8 + column / 8] >> column % 8 & 1;
  }
  double value(int64_t row, int64_t column) const {
    int64_t index = row * groups + column / group;
    double w = halfToFloat(zeros[index]);
    for (int64_t j = 0; j < bits; ++j)
      w += bit(j, row, column) ? halfToFloat(scales[index * bits + j]) : 0.0;
    return w;
  }
  int64_t bits, group, rows, groups;
  std::vector<uint8_t> planes;
  std::vector<uint16_t> scales, zeros;
  FitReport report;
};

MatrixView viewOf(const std::vector<float> &weights, int64_t rows) {
  int64_t cols = static_cast<int64_t>(weights.size()) / rows;
  return {weights.data(), DataType::F32, rows, cols, cols, 1};
}

/// Least squares of `w` on code columns and ones, in long double, by Gauss-Jordan with a vanishing ridge.
long double leastSquaresError(const std::vector<float> &w, const std::vector<unsigned> &codes, int bits) {
  int n = bits + 1;
  std::vector<std::vector<long double>> a(n, std::vector<long double>(n + 1));
  auto column = [&](size_t k, int i) -> long double { return i == bits ? 1 : codes[k] >> i & 1; };
  for (size_t k = 0; k < w.size(); ++k)
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j)
        a[i][j] += column(k, i) * column(k, j);
      a[i][n] += column(k, i) * w[k];
    }
  for (int i = 0; i < n; ++i)
    a[i][i] += 1e-12L;
  for (int p = 0; p < n; ++p)
    for (int i = 0; i < n; ++i)
      if (i != p) {
        long double f = a[i][p] / a[p][p];
        for (int j = p; j <= n; ++j)
          a[i][j] -= f * a[p][j];
      }
  long double error = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    long double value = w[k];
    for (int i = 0; i < n; ++i)
      value -= column(k, i) * a[i][n] / a[i][i];
    error += value * value;
  }
  return error;
}
} // namespace

// Every weight has the nearest of its group's code words, and the report's sums are those of the results.
TEST(SolverTest, CodesAreNearestAndErrorsAreTrue) {
  for (int64_t bits = 1; bits <= 4; ++bits) {
    std::vector<float> weights = randomWeights(7 * 96, static_cast<unsigned>(bits));
    Result result(viewOf(weights, 7), {bits, 32});
    ASSERT_EQ(result.report.error, "");
    double error = 0, norm = 0;
    for (int64_t row = 0; row < 7; ++row)
      for (int64_t column = 0; column < 96; ++column) {
        double w = weights[row * 96 + column], chosen = std::fabs(w - result.value(row, column)), nearest = HUGE_VAL;
        int64_t index = row * 3 + column / 32;
        for (unsigned code = 0; code < 1u << bits; ++code) {
          double word = halfToFloat(result.zeros[index]);
          for (int64_t j = 0; j < bits; ++j)
            word += code >> j & 1 ? halfToFloat(result.scales[index * bits + j]) : 0.0;
          nearest = std::min(nearest, std::fabs(w - word));
        }
        ASSERT_NEAR(chosen, nearest, 1e-7);
        error += chosen * chosen;
        norm += w * w;
      }
    EXPECT_NEAR(result.report.squaredError, error, 1e-5 * error);
    EXPECT_NEAR(result.report.squaredNorm, norm, 1e-5 * norm);
    EXPECT_LT(result.report.squaredError, result.report.uniformError);
  }
}

TEST(SolverTest, ErrorFallsInEveryRound) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::vector<float> weights = randomWeights(40 + seed % 90, seed);
    for (int64_t bits = 1; bits <= 4; ++bits) {
      std::vector<double> trace = traceGroupFit(weights.data(), static_cast<int64_t>(weights.size()), bits, 20);
      ASSERT_GE(trace.size(), 2u);
      for (size_t i = 1; i < trace.size(); ++i)
        ASSERT_LE(trace[i], trace[i - 1] * (1 + 1e-4) + 1e-9) << "bits " << bits << " seed " << seed;
    }
  }
}

// One round from the uniform grid is the exact least-squares fit for the uniform codes, or better by new codes.
TEST(SolverTest, FirstRoundIsLeastSquares) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    for (int bits = 1; bits <= 4; ++bits) {
      std::vector<float> weights = randomWeights(64, seed + 1000);
      auto [low, high] = std::minmax_element(weights.begin(), weights.end());
      int top = (1 << bits) - 1;
      std::vector<unsigned> codes;
      for (float w : weights)
        codes.push_back(static_cast<unsigned>(std::lround((w - *low) / (*high - *low) * top)));
      std::vector<double> trace = traceGroupFit(weights.data(), 64, bits, 1);
      ASSERT_EQ(trace.size(), 2u);
      EXPECT_LE(trace[1], static_cast<double>(leastSquaresError(weights, codes, bits)) * (1 + 3e-4));
    }
  }
}

// On tiny groups every assignment of codes can be tried: alternation finds a local optimum, which must lie between the
// global one and the uniform grid.
TEST(SolverTest, BruteForceBounds) {
  int optimal = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::vector<float> weights = randomWeights(6, seed + 77);
    long double best = HUGE_VALL;
    for (unsigned assignment = 0; assignment < 1u << 12; ++assignment) {
      std::vector<unsigned> codes;
      for (int k = 0; k < 6; ++k)
        codes.push_back(assignment >> 2 * k & 3);
      best = std::min(best, leastSquaresError(weights, codes, 2));
    }
    std::vector<double> trace = traceGroupFit(weights.data(), 6, 2, 50);
    double last = *std::min_element(trace.begin(), trace.end());
    EXPECT_GE(last, static_cast<double>(best) - 1e-7);
    EXPECT_LE(last, trace.front());
    optimal += last <= static_cast<double>(best) * 1.05 + 1e-7;
  }
  EXPECT_GE(optimal, 4);
}

// Weights that lie on an HLQ grid of f16 numbers are reproduced exactly from the uniform start when the grid is uniform.
TEST(SolverTest, UniformGridIsExact) {
  std::vector<float> weights(128);
  for (int k = 0; k < 128; ++k)
    weights[k] = 0.25f * static_cast<float>((k * 7) % 16) - 1.5f;
  Result result(viewOf(weights, 1), {4, 128});
  EXPECT_EQ(result.report.squaredError, 0);
  for (int k = 0; k < 128; ++k)
    EXPECT_EQ(result.value(0, k), weights[k]);
}

TEST(SolverTest, NeverWorseThanUniform) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::vector<float> weights = randomWeights(48, seed);
    std::mt19937 random(seed);
    float factor = std::ldexp(1.0f, static_cast<int>(random() % 50) - 30);
    for (float &w : weights)
      w *= factor;
    for (int64_t bits = 1; bits <= 4; ++bits) {
      Result result(viewOf(weights, 1), {bits, 48});
      ASSERT_LE(result.report.squaredError, result.report.uniformError);
    }
  }
}

// Columns from K on are 0 in the planes and have no influence: the same rows cut to K columns give the same codes.
TEST(SolverTest, PaddingHasNoWeight) {
  std::vector<float> weights = randomWeights(3 * 77, 5);
  Result result(viewOf(weights, 3), {3, 32});
  EXPECT_EQ(result.groups, 3);
  for (int64_t row = 0; row < 3; ++row) {
    std::vector<float> tail(weights.begin() + row * 77 + 64, weights.begin() + (row + 1) * 77);
    Result alone(viewOf(tail, 1), {3, 16});
    EXPECT_EQ(alone.zeros[0], result.zeros[row * 3 + 2]);
    for (int64_t column = 64; column < 77; ++column)
      EXPECT_EQ(result.value(row, column), alone.value(0, column - 64));
    for (int64_t column = 77; column < 96; ++column)
      for (int64_t j = 0; j < 3; ++j)
        EXPECT_FALSE(result.bit(j, row, column));
  }
}

TEST(SolverTest, ThreadsDoNotMatter) {
  std::vector<float> weights = randomWeights(333 * 160, 9);
  int64_t last = 0;
  FitOptions many{4, 32, ParameterKind::HLQ, 10, 5, [&](int64_t done, int64_t total) {
                    EXPECT_GT(done, last);
                    EXPECT_EQ(total, 333);
                    last = done;
                  }};
  Result a(viewOf(weights, 333), {4, 32, ParameterKind::HLQ, 10, 1}), b(viewOf(weights, 333), many);
  EXPECT_EQ(last, 333);
  EXPECT_EQ(a.planes, b.planes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.report.squaredError, b.report.squaredError);
}

// A transposed view of a transposed copy, and 16-bit copies of numbers that 16 bits hold, are the same matrix.
TEST(SolverTest, StridesAndTypes) {
  std::vector<float> weights = randomWeights(50 * 64, 3), transposed(weights.size());
  std::vector<uint16_t> halves, bfloats;
  for (float &w : weights)
    w = bfloatToFloat(static_cast<uint16_t>(floatToBits(std::max(std::fabs(w), 1e-3f)) >> 16)) * (w < 0 ? -1.0f : 1.0f);
  for (int64_t r = 0; r < 50; ++r)
    for (int64_t c = 0; c < 64; ++c)
      transposed[c * 50 + r] = weights[r * 64 + c];
  for (float w : weights) {
    halves.push_back(floatToHalf(w));
    bfloats.push_back(static_cast<uint16_t>(floatToBits(w) >> 16));
  }
  FitOptions options{4, 32};
  Result plain(viewOf(weights, 50), options);
  for (const MatrixView &view : {MatrixView{transposed.data(), DataType::F32, 50, 64, 1, 50},
                                 MatrixView{halves.data(), DataType::F16, 50, 64, 64, 1},
                                 MatrixView{bfloats.data(), DataType::BF16, 50, 64, 64, 1}}) {
    Result other(view, options);
    EXPECT_EQ(plain.planes, other.planes);
    EXPECT_EQ(plain.scales, other.scales);
    EXPECT_EQ(plain.zeros, other.zeros);
  }
}

TEST(SolverTest, DegenerateGroups) {
  std::vector<float> weights(4 * 32, 0.0f);
  std::fill(weights.begin() + 32, weights.begin() + 64, 0.75f);   // constant
  std::fill(weights.begin() + 64, weights.begin() + 96, 1e-40f);  // below f16
  std::fill(weights.begin() + 96, weights.begin() + 112, 1.0f);   // two values
  Result result(viewOf(weights, 4), {2, 32});
  ASSERT_EQ(result.report.error, "");
  for (int64_t column = 0; column < 32; ++column) {
    EXPECT_EQ(result.value(0, column), 0);
    EXPECT_EQ(result.value(1, column), 0.75);
    EXPECT_EQ(result.value(2, column), 0);
    EXPECT_NEAR(result.value(3, column), column < 16 ? 1.0 : 0.0, 1e-3);
  }
  EXPECT_EQ(result.report.clampedGroups, 0);
}

TEST(SolverTest, LargeWeightsAreCutToHalfRange) {
  std::vector<float> weights = randomWeights(64, 1);
  weights[5] = 3e6f;
  Result result(viewOf(weights, 1), {4, 32});
  EXPECT_EQ(result.report.error, "");
  EXPECT_EQ(result.report.clampedGroups, 1);
  for (uint16_t scale : result.scales)
    EXPECT_LT(scale & 0x7fff, 0x7c00);
}

TEST(SolverTest, ErrorsNameTheirPlace) {
  for (float bad : {NAN, INFINITY, -INFINITY, 3e38f}) {
    std::vector<float> weights = randomWeights(40 * 64, 1);
    weights[33 * 64 + 40] = bad;
    weights[39 * 64 + 63] = bad;
    Result result(viewOf(weights, 40), {4, 32, ParameterKind::HLQ, 10, 3});
    EXPECT_EQ(result.report.error,
              "weights of row 33, columns 32 to 63 hold a value that is not a finite number below 1e15");
  }
  std::vector<float> weights(64);
  EXPECT_EQ(fitHLQ(viewOf(weights, 1), {5, 32}, nullptr, nullptr, nullptr).error, "expected 1 to 4 or 8 bits, but got 5");
  EXPECT_EQ(fitHLQ(viewOf(weights, 1), {4, 12}, nullptr, nullptr, nullptr).error,
            "expected the group size to be a positive multiple of 8, but got 12");
}
