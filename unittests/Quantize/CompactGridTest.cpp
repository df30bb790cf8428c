//===- CompactGridTest.cpp - Tests of compact parameters ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CompactGrid.h"
#include "RandomWeights.h"
#include "elutq/Quantize/Float16.h"
#include "elutq/Quantize/Solver.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

using namespace elutq::quantize;

namespace {
/// A fit with compact parameters, and its weights.
struct Result {
  Result(const std::vector<float> &weights, int64_t rows, int64_t bits, int64_t group, int64_t iterations = 10)
      : bits(bits), group(group), rows(rows), columns(static_cast<int64_t>(weights.size()) / rows), groups(numGroups(columns, group)),
        planes(numPlaneBytes(bits, rows, groups, group)), scales(rows * groups), zeros(rows * groups * (bits + 1)) {
    FitOptions options;
    options.bits = bits;
    options.groupSize = group;
    options.kind = ParameterKind::Compact;
    options.maxIterations = iterations;
    report = fitHLQ({weights.data(), DataType::F32, rows, columns, columns, 1}, options, planes.data(), scales.data(), zeros.data());
  }
  double value(int64_t row, int64_t column) const {
    int64_t index = row * groups + column / group;
    int number = zeros[index * (bits + 1) + bits] - 128;
    for (int64_t j = 0; j < bits; ++j)
      if (planes[(j * rows + row) * groups * group / 8 + column / 8] >> column % 8 & 1)
        number += zeros[index * (bits + 1) + j];
    return static_cast<double>(halfToFloat(scales[index])) * number;
  }

  int64_t bits, group, rows, columns, groups;
  std::vector<uint8_t> planes;
  std::vector<uint16_t> scales;
  std::vector<uint8_t> zeros;
  FitReport report;
};
} // namespace

TEST(CompactGridTest, StepsReachTheOutermostWords) {
  for (auto [low, high] : {std::pair{-1.0, 0.5}, {-0.3, 0.7}, {0.25, 0.75}, {-2.0, -1.0}, {-1e-7, 3e-8}, {1e-3, 1000.0}}) {
    double step = static_cast<double>(findStep(low, high, 1));
    EXPECT_GE(step * kGreatestNumber, high);
    EXPECT_LE(step * kLeastNumber, low);
    // No smaller number of f16 does.
    double less = static_cast<double>(halfToFloat(static_cast<uint16_t>(floatToHalf(static_cast<float>(step)) - 1)));
    EXPECT_TRUE(less * kGreatestNumber < high || less * kLeastNumber > low);
  }
  EXPECT_EQ(findStep(0, 0, 1), 0.0f);
  EXPECT_EQ(findStep(-1e9, 1e9, 1), 65504.0f);
}

// Of all numbers whose words fit, none are nearer to the parameters by the largest distance, where nothing has to be cut.
TEST(CompactGridTest, RoundingIsNearest) {
  std::vector<float> random = randomWeights(3000, 3);
  for (size_t first = 0; first + 3 <= random.size(); first += 3) {
    double values[] = {std::fabs(random[first]), std::fabs(random[first + 1]), random[first + 2]};
    double high = values[0] + values[1] + values[2];
    for (double share : {0.92, 1.0, 1.1}) {
      double step = static_cast<double>(findStep(values[2], high, share));
      int numbers[3];
      roundToGrid(values, 2, step, numbers);
      EXPECT_GE(numbers[0], 0);
      EXPECT_GE(numbers[1], 0);
      EXPECT_GE(numbers[2], kLeastNumber);
      EXPECT_LE(numbers[0] + numbers[1] + numbers[2], kGreatestNumber);
      double distance = 0, least = HUGE_VAL;
      for (int i = 0; i < 3; ++i)
        distance = std::max(distance, std::fabs(numbers[i] - values[i] / step));
      int centre[3];
      for (int i = 0; i < 3; ++i)
        centre[i] = static_cast<int>(std::floor(values[i] / step));
      // Cutting takes at most 8 percent of 255 steps from three numbers.
      for (int a = -9; a <= 1; ++a)
        for (int b = -9; b <= 1; ++b)
          for (int c = -9; c <= 1; ++c) {
            int x = centre[0] + a, y = centre[1] + b, z = centre[2] + c;
            if (x < 0 || y < 0 || z < kLeastNumber || x + y + z > kGreatestNumber)
              continue;
            least = std::min(least, std::max({std::fabs(x - values[0] / step), std::fabs(y - values[1] / step), std::fabs(z - values[2] / step)}));
          }
      if (least < HUGE_VAL && values[2] / step > kLeastNumber) {
        EXPECT_LE(distance, least + 1e-9);
      }
    }
  }
}

// One bit: the best two words are found by trying all steps, and all cuts of the sorted weights.
TEST(CompactGridTest, OneBitIsTheBestOfAll) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::vector<float> weights = randomWeights(16, seed), sorted = weights;
    std::sort(sorted.begin(), sorted.end());
    double best = HUGE_VAL, reach = std::max(std::fabs(sorted.front()), std::fabs(sorted.back()));
    for (uint16_t half = floatToHalf(static_cast<float>(reach / 400)); half < floatToHalf(static_cast<float>(reach / 50)); ++half) {
      double step = static_cast<double>(halfToFloat(half));
      for (size_t cut = 0; cut <= sorted.size(); ++cut) {
        double error = 0;
        for (auto [first, last] : {std::pair{size_t(0), cut}, {cut, sorted.size()}}) {
          double sum = 0;
          for (size_t i = first; i < last; ++i)
            sum += static_cast<double>(sorted[i]);
          double number = last > first ? std::clamp(std::nearbyint(sum / static_cast<double>(last - first) / step), -128.0, 127.0) : 0;
          for (size_t i = first; i < last; ++i)
            error += std::pow(static_cast<double>(sorted[i]) - step * number, 2);
        }
        best = std::min(best, error);
      }
    }
    Result result(weights, 1, 1, 16, 50);
    ASSERT_EQ(result.report.error, "");
    EXPECT_GE(result.report.squaredError, best * (1 - 1e-5));
    // The fit's own start decides about the cut, as with f16 parameters; the grid costs next to nothing.
    std::vector<uint8_t> planes(2);
    uint16_t scale, zero;
    FitOptions options;
    options.bits = 1;
    options.groupSize = 16;
    options.maxIterations = 50;
    double free = fitHLQ({weights.data(), DataType::F32, 1, 16, 16, 1}, options, planes.data(), &scale, &zero).squaredError;
    EXPECT_LE(result.report.squaredError, free * 1.001);
  }
}

// Weights that are on a grid stay what they are.
TEST(CompactGridTest, WordsOnTheGridAreExact) {
  for (int64_t bits = 1; bits <= 4; ++bits) {
    const int ratios[4][4] = {{255}, {80, 175}, {30, 75, 150}, {15, 35, 70, 135}};
    std::vector<float> weights(3 * 64);
    for (size_t i = 0; i < weights.size(); ++i) {
      int number = -128;
      for (int64_t j = 0; j < bits; ++j)
        number += (i * 7 + i / 16) >> j & 1 ? ratios[bits - 1][j] : 0;
      weights[i] = 0.0078125f * static_cast<float>(number);
    }
    Result result(weights, 3, bits, 64, 50);
    EXPECT_EQ(result.report.squaredError, 0) << bits;
  }
}

TEST(CompactGridTest, ReportedErrorIsThatOfWhatIsStored) {
  std::vector<float> weights = randomWeights(70 * 200, 9);
  // A group of one value, one of zeros, and one beyond the range of f16.
  std::fill_n(weights.begin(), 64, 0.25f);
  std::fill_n(weights.begin() + 200, 64, 0.0f);
  for (int64_t bits = 1; bits <= 4; ++bits) {
    Result result(weights, 70, bits, 64);
    double error = 0;
    for (int64_t row = 0; row < 70; ++row)
      for (int64_t k = 0; k < 200; ++k)
        error += std::pow(static_cast<double>(weights[row * 200 + k]) - result.value(row, k), 2);
    EXPECT_NEAR(result.report.squaredError, error, 1e-5 * error);
    EXPECT_NEAR(result.value(0, 0), 0.25, 1e-3);
    EXPECT_EQ(result.value(1, 0), 0.0);
    EXPECT_EQ(result.report.clampedGroups, 0);
  }
  weights[3] = 1e9f;
  EXPECT_EQ(Result(weights, 70, 2, 64).report.clampedGroups, 1);
}
