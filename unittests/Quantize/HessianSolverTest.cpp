//===- HessianSolverTest.cpp - Tests of the solver in H's metric ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/HessianSolver.h"
#include "RandomWeights.h"
#include "elutq/Quantize/Float16.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <random>

using namespace elutq::quantize;

namespace {
typedef std::vector<std::vector<long double>> Matrix;

/// The sum of x x^T over `tokens` inputs with correlated, skewed elements of very different size.
std::vector<float> randomHessian(int64_t size, int64_t tokens, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> sizes(size), h(size * size), x(size);
  for (double &s : sizes)
    s = std::exp(normal(random));
  for (int64_t t = 0; t < tokens; ++t) {
    double common = normal(random), last = 0;
    for (int64_t k = 0; k < size; ++k) {
      double value = normal(random);
      x[k] = sizes[k] * (0.3 + common * (k % 3 == 0) + value + 0.5 * last);
      last = value;
    }
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j)
        h[i * size + j] += x[i] * x[j];
  }
  return std::vector<float>(h.begin(), h.end());
}

MatrixView viewOf(const std::vector<float> &weights, int64_t rows) {
  int64_t cols = static_cast<int64_t>(weights.size()) / rows;
  return {weights.data(), DataType::F32, rows, cols, cols, 1};
}

std::unique_ptr<Hessian> makeHessian(const std::vector<float> &h, int64_t size, const HessianOptions &options) {
  std::string error;
  std::unique_ptr<Hessian> hessian = Hessian::create(h.data(), size, options, error);
  EXPECT_EQ(error, "");
  return hessian;
}

HessianSolveOptions optionsOf(int64_t bits, ParameterKind kind = ParameterKind::HLQ) {
  HessianSolveOptions options;
  options.bits = bits;
  options.kind = kind;
  options.threads = 1;
  return options;
}

/// A quantized matrix and the value of each of its weights.
struct Result {
  Result(const MatrixView &view, const Hessian &hessian, const HessianSolveOptions &options)
      : bits(options.bits), rows(view.rows), columns(view.cols), group(hessian.groupSize), groups(numGroups(view.cols, group)),
        isCompact(options.kind == ParameterKind::Compact), numScales(elutq::quantize::numScales(bits, options.kind)), planes(bits * rows * groups * group / 8, 0xee),
        scales(rows * groups * numScales), zeros(rows * groups * numZeroBytes(bits, options.kind)), rowLoss(rows),
        report(solveWithHessian(view, hessian, options, planes.data(), scales.data(), zeros.data(), rowLoss.data())) {}
  uint16_t zero(int64_t index) const { return static_cast<uint16_t>(zeros[2 * index] | zeros[2 * index + 1] << 8); }
  unsigned code(int64_t row, int64_t column) const {
    unsigned code = 0;
    for (int64_t j = 0; j < bits; ++j)
      code |= (planes[(j * rows + row) * groups * group / 8 + column / 8] >> column % 8 & 1u) << j;
    return code;
  }
  long double word(int64_t row, int64_t column, unsigned code) const {
    int64_t index = row * groups + column / group;
    if (isCompact) {
      const uint8_t *ratios = zeros.data() + index * (bits + 1);
      int number = ratios[bits] - 128;
      for (int64_t j = 0; j < bits; ++j)
        number += code >> j & 1 ? ratios[j] : 0;
      return static_cast<long double>(halfToFloat(scales[index])) * number;
    }
    long double w = halfToFloat(zero(index));
    for (int64_t j = 0; j < bits; ++j)
      if (code >> j & 1)
        w += static_cast<long double>(halfToFloat(scales[index * numScales + (numScales == 1 ? 0 : j)])) * (numScales == 1 ? 1 << j : 1);
    return w;
  }
  long double value(int64_t row, int64_t column) const { return word(row, column, code(row, column)); }

  int64_t bits, rows, columns, group, groups;
  bool isCompact;
  int64_t numScales;
  std::vector<uint8_t> planes;
  std::vector<uint16_t> scales;
  std::vector<uint8_t> zeros;
  std::vector<double> rowLoss;
  HessianReport report;
};

/// The solution of A x = b for a symmetric positive definite A, by Gauss's elimination.
std::vector<long double> solveLinear(Matrix a, std::vector<long double> b) {
  size_t n = b.size();
  for (size_t p = 0; p < n; ++p)
    for (size_t i = p + 1; i < n; ++i) {
      long double f = a[i][p] / a[p][p];
      for (size_t j = p; j < n; ++j)
        a[i][j] -= f * a[p][j];
      b[i] -= f * b[p];
    }
  for (size_t i = n; i-- > 0;) {
    for (size_t j = i + 1; j < n; ++j)
      b[i] -= a[i][j] * b[j];
    b[i] /= a[i][i];
  }
  return b;
}

Matrix inverse(const Matrix &a) {
  size_t n = a.size();
  Matrix result(n, std::vector<long double>(n));
  for (size_t j = 0; j < n; ++j) {
    std::vector<long double> unit(n);
    unit[j] = 1;
    unit = solveLinear(a, unit);
    for (size_t i = 0; i < n; ++i)
      result[i][j] = unit[i];
  }
  return result;
}

/// H + d I in the order of quantization and the scale of the matrix it was made from.
Matrix dampedOf(const std::vector<float> &h, const Hessian &hessian) {
  int64_t n = hessian.size;
  long double mean = 0;
  for (int64_t k = 0; k < n; ++k)
    mean += static_cast<long double>(h[k * n + k]) / n;
  Matrix result(n, std::vector<long double>(n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      result[i][j] = h[hessian.columns[i] * n + hessian.columns[j]];
    result[i][i] += hessian.damping * mean;
  }
  return result;
}

/// Upper U with U^T U = A.
Matrix upperFactor(Matrix a) {
  size_t n = a.size();
  for (size_t k = 0; k < n; ++k) {
    long double root = std::sqrt(a[k][k]);
    for (size_t j = 0; j < n; ++j)
      a[k][j] = j < k ? 0 : a[k][j] / root;
    for (size_t i = k + 1; i < n; ++i)
      for (size_t j = i; j < n; ++j)
        a[i][j] -= a[k][i] * a[k][j];
  }
  return a;
}

/// (w - v) H (w - v)^T of a row.
long double lossOf(const std::vector<float> &h, const std::vector<long double> &e) {
  size_t n = e.size();
  long double sum = 0;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      sum += e[i] * static_cast<long double>(h[i * n + j]) * e[j];
  return sum;
}

/// The least loss in the metric of `h` over all parameters, for fixed codes of a row; groups of `group` columns.
long double leastLoss(const Matrix &h, const std::vector<float> &w, const std::vector<unsigned> &codes, int64_t group, int bits) {
  int64_t columns = static_cast<int64_t>(w.size()), groups = numGroups(columns, group), n = groups * (bits + 1);
  Matrix c(columns, std::vector<long double>(n));
  for (int64_t k = 0; k < columns; ++k) {
    for (int j = 0; j < bits; ++j)
      c[k][k / group * (bits + 1) + j] = codes[k] >> j & 1;
    c[k][k / group * (bits + 1) + bits] = 1;
  }
  Matrix hc(columns, std::vector<long double>(n)), a(n, std::vector<long double>(n));
  std::vector<long double> b(n);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t k = 0; k < columns; ++k)
      for (int64_t j = 0; j < n; ++j)
        hc[i][j] += h[i][k] * c[k][j];
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < columns; ++k) {
      b[i] += hc[k][i] * static_cast<long double>(w[k]);
      for (int64_t j = 0; j < n; ++j)
        a[i][j] += c[k][i] * hc[k][j];
    }
  }
  for (int64_t i = 0; i < n; ++i)
    a[i][i] += 1e-9L * (a[i][i] + 1e-9L);
  std::vector<long double> t = solveLinear(a, b), e(columns);
  for (int64_t k = 0; k < columns; ++k) {
    e[k] = w[k];
    for (int64_t j = 0; j < n; ++j)
      e[k] -= c[k][j] * t[j];
  }
  long double loss = 0;
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j < columns; ++j)
      loss += e[i] * h[i][j] * e[j];
  return loss;
}
} // namespace

// U is upper triangular, and the factor of the inverse: against elimination in long double.
TEST(HessianSolverTest, FactorOfTheInverse) {
  for (int64_t size : {1, 7, 64, 90}) {
    std::vector<float> h = randomHessian(size, 3 * size, static_cast<unsigned>(size));
    for (ColumnOrder order : {ColumnOrder::Natural, ColumnOrder::Groups, ColumnOrder::Columns}) {
      auto hessian = makeHessian(h, size, {16, 0.01, order, 2});
      Matrix expected = upperFactor(inverse(dampedOf(h, *hessian)));
      for (int64_t i = 0; i < size; ++i) {
        auto scale = static_cast<long double>(std::sqrt(hessian->scale));
        for (int64_t j = 0; j < size; ++j)
          EXPECT_NEAR(static_cast<double>(hessian->factor[i * size + j] * scale / expected[i][i]),
                      static_cast<double>(expected[i][j] / expected[i][i]), 2e-5);
        EXPECT_NEAR(static_cast<double>(hessian->costs[i] * expected[i][i] * expected[i][i]) / hessian->scale, 1, 2e-5);
      }
    }
  }
}

// The order keeps groups whole and puts those with the largest diagonal first; the last one may be short wherever it comes.
TEST(HessianSolverTest, OrderOfColumns) {
  std::vector<float> diagonal(20, 1.0f);
  diagonal[17] = 50;
  diagonal[9] = 7;
  diagonal[12] = 8;
  std::string error;
  auto hessian = Hessian::createDiagonal(diagonal.data(), 20, {8, 0.01, ColumnOrder::Columns, 1}, error);
  ASSERT_EQ(error, "");
  EXPECT_EQ(hessian->groups, (std::vector<int64_t>{2, 1, 0}));
  EXPECT_EQ(hessian->groupOffsets, (std::vector<int64_t>{0, 4, 12, 20}));
  EXPECT_EQ(hessian->columns, (std::vector<int64_t>{17, 16, 18, 19, 12, 9, 8, 10, 11, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
}

// Every code is the nearest one to its column's weight after the errors of all columns before it were made good, computed in
// long double from the parameters that were chosen.
TEST(HessianSolverTest, FeedbackIsTheFormula) {
  unsigned seed = 0;
  for (ParameterKind kind : {ParameterKind::HLQ, ParameterKind::Uniform, ParameterKind::Ternary, ParameterKind::Compact})
    for (int64_t bits = 1; bits <= 4; ++bits)
      for (ColumnOrder order : {ColumnOrder::Natural, ColumnOrder::Columns}) {
        if (kind == ParameterKind::Ternary && bits != 2)
          continue;
        int64_t columns = 77;
        std::vector<float> h = randomHessian(columns, 300, ++seed), weights = randomWeights(3 * columns, seed);
        auto hessian = makeHessian(h, columns, {24, 0.01, order, 1});
        HessianSolveOptions options = optionsOf(bits, kind);
        options.maxRounds = 0;
        Result result(viewOf(weights, 3), *hessian, options);
        ASSERT_EQ(result.report.error, "");
        Matrix u = upperFactor(inverse(dampedOf(h, *hessian)));
        for (int64_t row = 0; row < 3; ++row) {
          std::vector<long double> w(columns);
          for (int64_t k = 0; k < columns; ++k)
            w[k] = weights[row * columns + hessian->columns[k]];
          for (int64_t k = 0; k < columns; ++k) {
            int64_t column = hessian->columns[k];
            long double nearest = HUGE_VALL, chosen = result.value(row, column);
            for (unsigned code = 0; code < 1u << bits; ++code)
              nearest = std::min(nearest, std::fabs(w[k] - result.word(row, column, code)));
            ASSERT_NEAR(static_cast<double>(std::fabs(w[k] - chosen)), static_cast<double>(nearest), 1e-5);
            for (int64_t j = k + 1; j < columns; ++j)
              w[j] -= (w[k] - chosen) / u[k][k] * u[k][j];
          }
        }
      }
}

// What the report says of the result, refined or not, is what the formula gives.
TEST(HessianSolverTest, LossIsTheFormula) {
  int64_t columns = 100;
  std::vector<float> h = randomHessian(columns, 400, 3), weights = randomWeights(70 * columns, 4);
  for (ColumnOrder order : {ColumnOrder::Natural, ColumnOrder::Groups})
    for (int64_t rounds : {0, 3}) {
      auto hessian = makeHessian(h, columns, {32, 0.01, order, 1});
      HessianSolveOptions options = optionsOf(3);
      options.maxRounds = rounds;
      Result result(viewOf(weights, 70), *hessian, options);
      std::vector<float> values;
      long double loss = 0, squares = 0;
      for (int64_t row = 0; row < 70; ++row) {
        std::vector<long double> e(columns);
        for (int64_t k = 0; k < columns; ++k) {
          values.push_back(static_cast<float>(result.value(row, k)));
          e[k] = weights[row * columns + k] - result.value(row, k);
          squares += e[k] * e[k];
        }
        auto expected = static_cast<double>(lossOf(h, e));
        EXPECT_NEAR(result.rowLoss[row], expected, 1e-4 * expected);
        loss += expected;
      }
      EXPECT_NEAR(result.report.loss, static_cast<double>(loss), 1e-4 * static_cast<double>(loss));
      EXPECT_NEAR(result.report.squaredError, static_cast<double>(squares), 1e-5 * static_cast<double>(squares));
      std::vector<double> again(70);
      hessian->computeLoss(weights.data(), values.data(), 70, again.data());
      for (int64_t row = 0; row < 70; ++row)
        EXPECT_NEAR(again[row], result.rowLoss[row], 1e-4 * result.rowLoss[row]);
    }
}

// Each step of the refinement lowers the loss or leaves it, for every kind; the sum of what it gains is large, and rounding
// parameters to f16 never costs a row more than that.
TEST(HessianSolverTest, RefinementIsMonotone) {
  int64_t columns = 200, rows = 70;
  std::vector<float> h = randomHessian(columns, 500, 5), weights = randomWeights(rows * columns, 6);
  auto hessian = makeHessian(h, columns, {64, 0.01, ColumnOrder::Natural, 1});
  for (ParameterKind kind : {ParameterKind::HLQ, ParameterKind::Uniform, ParameterKind::Ternary})
    for (int64_t bits = 1; bits <= 4; ++bits) {
      if (kind == ParameterKind::Ternary && bits != 2)
        continue;
      HessianSolveOptions options = optionsOf(bits, kind);
      options.maxRounds = 0;
      Result unrefined(viewOf(weights, rows), *hessian, options);
      options.maxRounds = 6;
      options.tolerance = 0;
      Result refined(viewOf(weights, rows), *hessian, options);
      const std::vector<double> &trace = refined.report.trace;
      ASSERT_EQ(trace.size(), 2u * 6 + 3);
      // The last entry is after rounding.
      for (size_t i = 1; i + 1 < trace.size(); ++i)
        EXPECT_LE(trace[i], trace[i - 1] * (1 + 1e-6)) << "step " << i;
      EXPECT_LT(trace.back(), 0.9 * trace.front());
      EXPECT_LT(trace.back(), 1.02 * trace[trace.size() - 2]);
      EXPECT_LT(refined.report.loss, unrefined.report.loss);
    }
}

// Compact parameters of a row are rounded together: hardly more is lost than by f16 parameters, and less than by rounding each by itself.
TEST(HessianSolverTest, CompactParametersLoseNothing) {
  int64_t columns = 384, rows = 70;
  std::vector<float> h = randomHessian(columns, 900, 5), weights = randomWeights(rows * columns, 6);
  auto hessian = makeHessian(h, columns, {128, 0.01, ColumnOrder::Natural, 1});
  for (int64_t bits = 1; bits <= 4; ++bits) {
    HessianSolveOptions options = optionsOf(bits, ParameterKind::Compact);
    options.maxRounds = 0;
    double unrefined = Result(viewOf(weights, rows), *hessian, options).report.loss;
    options = optionsOf(bits, ParameterKind::Compact);
    Result compact(viewOf(weights, rows), *hessian, options), free(viewOf(weights, rows), *hessian, optionsOf(bits));
    EXPECT_LT(compact.report.loss, 1.01 * free.report.loss) << bits;
    EXPECT_LT(compact.report.loss, 0.9 * unrefined) << bits;
    // What is reported is the loss of what is stored, whose code words are bytes.
    double loss = 0;
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<long double> e(columns);
      for (int64_t k = 0; k < columns; ++k)
        e[k] = weights[row * columns + k] - compact.value(row, k);
      for (int64_t i = 0; i < columns; ++i)
        for (int64_t j = 0; j < columns; ++j)
          loss += static_cast<double>(e[i] * h[i * columns + j] * e[j]);
    }
    EXPECT_NEAR(compact.report.loss, loss, 1e-4 * loss);
    for (int64_t index = 0; index < rows * compact.groups; ++index) {
      int sum = 0;
      for (int64_t j = 0; j <= bits; ++j)
        sum += compact.zeros[index * (bits + 1) + j];
      ASSERT_LE(sum, 255);
    }
    options.threads = 2;
    Result again(viewOf(weights, rows), *hessian, options);
    EXPECT_EQ(compact.planes, again.planes);
    EXPECT_EQ(compact.scales, again.scales);
    EXPECT_EQ(compact.zeros, again.zeros);
  }
}

// With the codes of the result, no parameters have a loss much smaller: the system of a row, whose size makes it factored by blocks or
// not, is the one of the formula.
TEST(HessianSolverTest, ParametersAreLeastSquares) {
  for (int64_t group : {8, 40}) {
    int64_t columns = 270;
    std::vector<float> h = randomHessian(columns, 600, 8), weights = randomWeights(2 * columns, 9);
    auto hessian = makeHessian(h, columns, {group, 0.01, ColumnOrder::Natural, 1});
    Matrix damped = dampedOf(h, *hessian);
    HessianSolveOptions options = optionsOf(3);
    options.maxRounds = 40;
    options.tolerance = 0;
    Result result(viewOf(weights, 2), *hessian, options);
    for (int64_t row = 0; row < 2; ++row) {
      std::vector<float> w(weights.begin() + row * columns, weights.begin() + (row + 1) * columns);
      std::vector<unsigned> codes;
      long double loss = 0;
      std::vector<long double> e(columns);
      for (int64_t k = 0; k < columns; ++k) {
        codes.push_back(result.code(row, k));
        e[k] = w[k] - result.value(row, k);
      }
      for (int64_t i = 0; i < columns; ++i)
        for (int64_t j = 0; j < columns; ++j)
          loss += e[i] * damped[i][j] * e[j];
      long double least = leastLoss(damped, w, codes, group, 3);
      EXPECT_GE(loss, least * (1 - 1e-6L));
      EXPECT_LT(static_cast<double>(loss / least), 1.05);
    }
  }
}

// On a tiny row every assignment of codes can be tried, with exact least squares for each: the solver is between the best of all and
// half as much again, and often finds the best.
TEST(HessianSolverTest, BruteForceBounds) {
  int64_t columns = 6;
  int optimal = 0;
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::vector<float> h = randomHessian(columns, 40, seed), weights = randomWeights(columns, seed + 100);
    // Far from where f16 is coarse.
    for (float &w : weights)
      w *= 16;
    auto hessian = makeHessian(h, columns, {8, 0.01, ColumnOrder::Natural, 1});
    Matrix damped = dampedOf(h, *hessian);
    long double best = HUGE_VALL;
    for (unsigned assignment = 0; assignment < 1u << columns; ++assignment) {
      std::vector<unsigned> codes;
      for (int64_t k = 0; k < columns; ++k)
        codes.push_back(assignment >> k & 1);
      best = std::min(best, leastLoss(damped, weights, codes, 8, 1));
    }
    Result result(viewOf(weights, 1), *hessian, optionsOf(1));
    long double loss = 0;
    for (int64_t i = 0; i < columns; ++i)
      for (int64_t j = 0; j < columns; ++j)
        loss += (weights[i] - result.value(0, i)) * damped[i][j] * (weights[j] - result.value(0, j));
    EXPECT_GE(static_cast<double>(loss), static_cast<double>(best) * 0.999);
    optimal += loss <= best * 1.01L;
  }
  EXPECT_GE(optimal, 10);
}

// A column that costs much is met, one that costs little is not: the fit is the weighted one.
TEST(HessianSolverTest, DiagonalWeights) {
  std::vector<float> weights = randomWeights(5 * 64, 12), diagonal(64);
  for (int k = 0; k < 64; ++k)
    diagonal[k] = k % 4 == 0 ? 100.0f : 0.01f;
  std::string error;
  auto hessian = Hessian::createDiagonal(diagonal.data(), 64, {64, 0, ColumnOrder::Natural, 1}, error);
  auto equal = Hessian::createDiagonal(std::vector<float>(64, 1.0f).data(), 64, {64, 0, ColumnOrder::Natural, 1}, error);
  ASSERT_EQ(error, "");
  Result weighted(viewOf(weights, 5), *hessian, optionsOf(2)), plain(viewOf(weights, 5), *equal, optionsOf(2));
  EXPECT_LT(plain.report.squaredError, weighted.report.squaredError);
  EXPECT_NEAR(plain.report.loss, plain.report.squaredError, 1e-6 * plain.report.loss);
  double expected = 0, of = 0;
  for (int64_t row = 0; row < 5; ++row)
    for (int64_t k = 0; k < 64; ++k) {
      auto e = static_cast<double>(weights[row * 64 + k] - weighted.value(row, k)), p = static_cast<double>(weights[row * 64 + k] - plain.value(row, k));
      expected += static_cast<double>(diagonal[k]) * e * e;
      of += static_cast<double>(diagonal[k]) * p * p;
    }
  EXPECT_NEAR(weighted.report.loss, expected, 1e-4 * expected);
  EXPECT_LT(expected, 0.7 * of);
}

// More starts never fit a group worse.
TEST(HessianSolverTest, MoreStartsAreNoWorse) {
  std::vector<float> weights = randomWeights(100 * 96, 21), ones(96, 1.0f);
  std::string error;
  auto equal = Hessian::createDiagonal(ones.data(), 96, {32, 0, ColumnOrder::Natural, 1}, error);
  for (int64_t bits = 1; bits <= 4; ++bits) {
    double last = HUGE_VAL;
    for (int64_t starts = 1; starts <= 4; ++starts) {
      HessianSolveOptions options = optionsOf(bits);
      options.starts = starts;
      double loss = Result(viewOf(weights, 100), *equal, options).report.loss;
      EXPECT_LE(loss, last * (1 + 1e-3));
      last = loss;
    }
  }
}

TEST(HessianSolverTest, TernaryHasThreeValues) {
  std::vector<float> h = randomHessian(64, 200, 7), weights = randomWeights(4 * 64, 8);
  auto hessian = makeHessian(h, 64, {32, 0.01, ColumnOrder::Natural, 1});
  Result result(viewOf(weights, 4), *hessian, optionsOf(2, ParameterKind::Ternary));
  ASSERT_EQ(result.report.error, "");
  for (int64_t i = 0; i < 4 * 2; ++i) {
    EXPECT_EQ(result.scales[2 * i], result.scales[2 * i + 1]);
    EXPECT_EQ(result.zero(i), result.scales[2 * i] ^ 0x8000);
  }
}

// Neither threads, nor the rows beside a row, nor strides matter, bit for bit.
TEST(HessianSolverTest, RowsStandAlone) {
  int64_t rows = 150, columns = 120;
  std::vector<float> h = randomHessian(columns, 300, 1), weights = randomWeights(rows * columns, 2), transposed(weights.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < columns; ++k)
      transposed[k * rows + r] = weights[r * columns + k];
  auto hessian = makeHessian(h, columns, {32, 0.01, ColumnOrder::Columns, 1}), other = makeHessian(h, columns, {32, 0.01, ColumnOrder::Columns, 3});
  EXPECT_EQ(hessian->factor, other->factor);
  HessianSolveOptions options = optionsOf(3), many = options;
  many.threads = 3;
  int64_t last = 0;
  many.progress = [&](int64_t done, int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, rows);
    last = done;
    return true;
  };
  Result one(viewOf(weights, rows), *hessian, options), three(viewOf(weights, rows), *other, many);
  EXPECT_EQ(last, rows);
  Result strided({transposed.data(), DataType::F32, rows, columns, 1, rows}, *hessian, options);
  for (const Result *same : {&three, &strided}) {
    EXPECT_EQ(one.planes, same->planes);
    EXPECT_EQ(one.scales, same->scales);
    EXPECT_EQ(one.zeros, same->zeros);
    EXPECT_EQ(one.rowLoss, same->rowLoss);
    EXPECT_EQ(one.report.loss, same->report.loss);
    EXPECT_EQ(one.report.trace, same->report.trace);
  }
  Result part({weights.data() + 100 * columns, DataType::F32, 7, columns, columns, 1}, *hessian, options);
  for (int64_t row = 0; row < 7; ++row) {
    EXPECT_EQ(part.rowLoss[row], one.rowLoss[100 + row]);
    for (int64_t k = 0; k < columns; ++k)
      EXPECT_EQ(part.value(row, k), one.value(100 + row, k));
  }
}

TEST(HessianSolverTest, StopsWhenAsked) {
  std::vector<float> ones(16, 1.0f), weights(300 * 16, 0.5f);
  std::string error;
  auto equal = Hessian::createDiagonal(ones.data(), 16, {16, 0, ColumnOrder::Natural, 1}, error);
  HessianSolveOptions options = optionsOf(2);
  int64_t last = 0;
  options.progress = [&](int64_t done, int64_t) {
    last = done;
    return done < 128;
  };
  EXPECT_EQ(Result(viewOf(weights, 300), *equal, options).report.error, "stopped");
  EXPECT_EQ(last, 128);
}

// A Hessian of few tokens, without damping, gets as much as it needs; columns without input and a layer without input have a result.
TEST(HessianSolverTest, SingularHessians) {
  int64_t columns = 80;
  std::vector<float> weights = randomWeights(5 * columns, 3), few = randomHessian(columns, 3, 4), dead = randomHessian(columns, 200, 5);
  auto singular = makeHessian(few, columns, {16, 0, ColumnOrder::Natural, 1});
  EXPECT_GT(singular->damping, 0);
  EXPECT_LE(singular->damping, 1e-2);
  for (int64_t k = 0; k < columns; ++k)
    for (int64_t d : {3, 40, 41})
      dead[d * columns + k] = dead[k * columns + d] = 0;
  auto withDead = makeHessian(dead, columns, {16, 0.01, ColumnOrder::Columns, 1});
  EXPECT_EQ(withDead->deadColumns, 3);
  std::vector<float> none(columns * columns);
  auto nothing = makeHessian(none, columns, {16, 0.01, ColumnOrder::Natural, 1});
  EXPECT_EQ(nothing->deadColumns, columns);
  for (const auto *hessian : {&singular, &withDead, &nothing}) {
    Result result(viewOf(weights, 5), **hessian, optionsOf(4));
    ASSERT_EQ(result.report.error, "");
    EXPECT_LT(result.report.squaredError, 0.5 * result.report.squaredNorm);
    EXPECT_TRUE(std::isfinite(result.report.loss));
  }
  // As good as it gets without any feedback.
  std::vector<float> ones(columns, 1.0f);
  std::string error;
  auto equal = Hessian::createDiagonal(ones.data(), columns, {16, 0, ColumnOrder::Natural, 1}, error);
  EXPECT_LE(Result(viewOf(weights, 5), *nothing, optionsOf(3)).report.squaredError,
            1.0001 * Result(viewOf(weights, 5), *equal, optionsOf(3)).report.squaredError);
}

TEST(HessianSolverTest, DegenerateGroups) {
  int64_t columns = 50;
  std::vector<float> h = randomHessian(columns, 200, 6), weights(4 * columns, 0.0f);
  std::fill(weights.begin() + columns, weights.begin() + 2 * columns, 0.75f);
  std::fill(weights.begin() + 2 * columns, weights.begin() + 3 * columns, 1e-40f);
  for (int64_t k = 0; k < columns; ++k)
    weights[3 * columns + k] = k % 3 == 0 ? 1.0f : -1.0f;
  for (int64_t group : {16, 56, 128}) {
    auto hessian = makeHessian(h, columns, {group, 0.01, ColumnOrder::Natural, 1});
    Result result(viewOf(weights, 4), *hessian, optionsOf(2));
    ASSERT_EQ(result.report.error, "");
    for (int64_t k = 0; k < columns; ++k) {
      EXPECT_EQ(result.value(0, k), 0);
      EXPECT_EQ(result.value(1, k), 0.75L);
      EXPECT_EQ(result.value(2, k), 0);
      EXPECT_NEAR(static_cast<double>(result.value(3, k)), weights[3 * columns + k], 2e-3);
    }
    // Columns that the matrix lacks have code 0.
    for (int64_t row = 0; row < 4; ++row)
      for (int64_t k = columns; k < result.groups * group; ++k)
        EXPECT_EQ(result.code(row, k), 0u);
  }
}

TEST(HessianSolverTest, LargeWeightsAreCutToHalfRange) {
  std::vector<float> h = randomHessian(64, 200, 6), weights = randomWeights(64, 1);
  weights[5] = 3e6f;
  auto hessian = makeHessian(h, 64, {32, 0.01, ColumnOrder::Natural, 1});
  for (int64_t rounds : {0, 4}) {
    HessianSolveOptions options = optionsOf(4);
    options.maxRounds = rounds;
    Result result(viewOf(weights, 1), *hessian, options);
    EXPECT_GE(result.report.clampedGroups, 1);
    for (uint16_t scale : result.scales)
      EXPECT_LT(scale & 0x7fff, 0x7c00);
  }
}

TEST(HessianSolverTest, ErrorsNameTheirPlace) {
  std::vector<float> h = randomHessian(24, 100, 2), weights = randomWeights(70 * 24, 3);
  auto errorOf = [&](int64_t i, int64_t j, float value, bool both) {
    std::vector<float> bad = h;
    bad[i * 24 + j] = value;
    if (both)
      bad[j * 24 + i] = value;
    std::string error;
    EXPECT_EQ(Hessian::create(bad.data(), 24, {8, 0.01, ColumnOrder::Natural, 2}, error), nullptr);
    return error;
  };
  EXPECT_EQ(errorOf(5, 7, NAN, true), "the Hessian's element [5, 7] is not a finite number");
  EXPECT_EQ(errorOf(7, 5, INFINITY, false), "the Hessian's element [7, 5] is not a finite number");
  EXPECT_EQ(errorOf(4, 4, -1, true), "the Hessian's diagonal element [4, 4] is -1: expected a finite number of at least 0");
  EXPECT_EQ(errorOf(3, 9, 1e6f, false).substr(0, 69), "expected the Hessian to be symmetric, but element [3, 9] is 1e+06 and");
  EXPECT_EQ(errorOf(3, 9, 1e6f, true),
            "the Hessian is not positive semidefinite: it can't be factored even if its mean diagonal is added to the diagonal");
  std::string error;
  EXPECT_EQ(Hessian::create(h.data(), 24, {12, 0.01, ColumnOrder::Natural, 1}, error), nullptr);
  EXPECT_EQ(error, "expected the group size to be a positive multiple of 8, but got 12");
  error.clear();
  EXPECT_EQ(Hessian::create(h.data(), 24, {8, -1, ColumnOrder::Natural, 1}, error), nullptr);
  EXPECT_EQ(error, "expected the damping to be a finite number of at least 0, but got -1");

  auto hessian = makeHessian(h, 24, {16, 0.01, ColumnOrder::Natural, 1});
  for (float bad : {NAN, INFINITY, -INFINITY, 3e38f}) {
    std::vector<float> broken = weights;
    broken[65 * 24 + 20] = broken[68 * 24] = bad;
    HessianSolveOptions options = optionsOf(2);
    options.threads = 2;
    EXPECT_EQ(Result(viewOf(broken, 70), *hessian, options).report.error,
              "weights of row 65, columns 16 to 23 hold a value that is not a finite number below 1e15");
  }
  auto solveError = [&](const HessianSolveOptions &options, int64_t columns) {
    return solveWithHessian({weights.data(), DataType::F32, 1, columns, columns, 1}, *hessian, options, nullptr, nullptr, nullptr).error;
  };
  EXPECT_EQ(solveError(optionsOf(5), 24), "expected 1 to 4 bits, but got 5");
  EXPECT_EQ(solveError(optionsOf(3, ParameterKind::Ternary), 24), "ternary weights have 2 bits, but got 3");
  EXPECT_EQ(solveError(optionsOf(2), 23), "expected weights of 24 columns, as the Hessian has, but got 23");
}
