//===- TileKernelsTest.cpp - Tests of the loops over tiles ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TileKernels.h"
#include "Cholesky.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

using namespace elutq::quantize;

namespace {
template <typename T = float>
std::vector<T> randomNumbers(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<T> normal(T(0.1), T(1));
  std::vector<T> numbers(count);
  for (T &x : numbers)
    x = normal(random);
  return numbers;
}

/// Words of rows with different parameters, as the caller of the kernels makes them.
TileWords randomWords(const TileKernels &kernels, int bits, unsigned seed) {
  TileWords words = {};
  std::vector<float> numbers = randomNumbers(kMaxWords * kTileRows, seed);
  for (int c = 0; c < 1 << bits; ++c)
    for (int r = 0; r < kTileRows; ++r) {
      words.word[c][r] = numbers[c * kTileRows + r];
      words.code[c][r] = c;
    }
  kernels.sortWords(words, bits);
  return words;
}

template <typename T>
bool areSame(const T &a, const T &b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
}

/// Results of all kernels, as one list of bytes.
std::vector<uint8_t> runAll(const TileKernels &kernels) {
  std::vector<uint8_t> all;
  auto add = [&](const auto &values) {
    const auto *bytes = reinterpret_cast<const uint8_t *>(values.data());
    all.insert(all.end(), bytes, bytes + values.size() * sizeof values[0]);
  };
  int64_t stride = 53, columns = 29;
  std::vector<float> a = randomNumbers(kMaxDepth * stride, 1), b = randomNumbers(kMaxDepth * kTileRows, 2),
                     c = randomNumbers(stride * kTileRows, 3);
  kernels.multiply(a.data(), stride, 47, 61, b.data(), kTileRows, c.data(), kTileRows);
  add(c);
  std::vector<double> ad = randomNumbers<double>(kMaxDepth * stride, 1), bd = randomNumbers<double>(kMaxDepth * 70, 2),
                      cd = randomNumbers<double>(stride * 70, 3);
  kernels.multiplyDouble(ad.data(), stride, 47, 64, bd.data(), 70, cd.data(), 70);
  add(cd);
  std::vector<float> out(kTileRows);
  kernels.dotLanes(b.data(), a.data(), 40, out.data());
  add(out);
  for (int bits = 1; bits <= 4; ++bits) {
    TileWords words = randomWords(kernels, bits, bits);
    add(std::vector<TileWords>{words});
    std::vector<float> w = randomNumbers(columns * kTileRows, 7), costs = randomNumbers(columns, 8), values(w.size()), other(w.size());
    std::vector<uint8_t> codes(w.size());
    std::vector<double> counts(kMaxWords * kTileRows), sums(kMaxWords * kTileRows), errors(kTileRows);
    kernels.accumulateAbove(words, bits, columns, w.data(), w.data(), costs.data(),
                            reinterpret_cast<double(*)[kTileRows]>(counts.data()), reinterpret_cast<double(*)[kTileRows]>(sums.data()));
    add(counts);
    add(sums);
    kernels.assign(words, bits, columns, w.data(), costs.data(), values.data(), codes.data(), errors.data());
    add(values);
    add(codes);
    add(errors);
    std::vector<float> rest = w;
    kernels.feedback(words, bits, {columns, rest.data(), a.data(), stride, costs.data(), values.data(), codes.data(), other.data()}, false);
    add(rest);
    add(values);
    add(other);
    std::vector<int32_t> active(kTileRows, -1);
    active[3] = active[60] = 0;
    kernels.descend(words, bits, {columns, w.data(), a.data(), stride, costs.data(), active.data(), values.data(), codes.data(), other.data()});
    add(values);
    add(codes);
    add(other);
  }
  return all;
}
} // namespace

// What this machine has gives the bits of the baseline.
TEST(TileKernelsTest, InstructionSetsAgree) {
  std::vector<uint8_t> expected = runAll(*getTileKernels(TileISA::Baseline));
  for (TileISA isa : {TileISA::AVX2, TileISA::AVX512})
    if (const TileKernels *kernels = getTileKernels(isa))
      EXPECT_TRUE(areSame(expected, runAll(*kernels))) << "instruction set " << static_cast<int>(isa);
}

TEST(TileKernelsTest, Multiply) {
  int64_t stride = 20, rows = 19, depth = 33;
  std::vector<float> a = randomNumbers(depth * stride, 4), b = randomNumbers(depth * kTileRows, 5),
                     c = randomNumbers(rows * kTileRows, 6), before = c;
  getTileKernels().multiply(a.data(), stride, rows, depth, b.data(), kTileRows, c.data(), kTileRows);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t r = 0; r < kTileRows; ++r) {
      double sum = before[i * kTileRows + r];
      for (int64_t k = 0; k < depth; ++k)
        sum -= static_cast<double>(a[k * stride + i]) * static_cast<double>(b[k * kTileRows + r]);
      EXPECT_NEAR(c[i * kTileRows + r], sum, 1e-5 * static_cast<double>(depth));
    }
}

TEST(TileKernelsTest, WordsAreSorted) {
  for (int bits = 1; bits <= 4; ++bits) {
    TileWords words = randomWords(getTileKernels(), bits, 9);
    std::vector<float> numbers = randomNumbers(kMaxWords * kTileRows, 9);
    for (int r = 0; r < kTileRows; ++r)
      for (int i = 0; i < 1 << bits; ++i) {
        EXPECT_EQ(words.word[i][r], numbers[words.code[i][r] * kTileRows + r]);
        if (i == 0)
          continue;
        EXPECT_LE(words.word[i - 1][r], words.word[i][r]);
        EXPECT_NEAR(words.threshold[i - 1][r], (words.word[i - 1][r] + words.word[i][r]) / 2, 1e-6);
      }
  }
}

// V^T V is the matrix, whatever the number of threads; one that is not positive definite is refused; solving and inverting agree.
TEST(TileKernelsTest, Cholesky) {
  int64_t n = 192;
  std::vector<double> x = randomNumbers<double>(n * n, 11), a(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t k = 0; k < n; ++k)
        a[i * n + j] += x[k * n + i] * x[k * n + j];
      a[i * n + j] += i == j ? 10 : 0;
    }
  std::vector<double> v = a, threads = a, small = a;
  ASSERT_TRUE(factorUpper(getTileKernels(), v.data(), n, 1));
  ASSERT_TRUE(factorUpper(getTileKernels(), threads.data(), n, 3));
  ASSERT_TRUE(factorSmall(small.data(), n, n));
  EXPECT_EQ(v, threads);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i; j < n; ++j) {
      long double sum = 0;
      for (int64_t k = 0; k <= i; ++k)
        sum += static_cast<long double>(v[k * n + i]) * v[k * n + j];
      EXPECT_NEAR(static_cast<double>(sum), a[i * n + j], 1e-10 * a[i * n + i]);
      EXPECT_NEAR(v[i * n + j], small[i * n + j], 1e-9);
    }
  std::vector<double> right = randomNumbers<double>(n, 12), solution = right, block(n * kTileRows);
  solveFactored(v.data(), n, n, solution.data());
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j)
      sum += a[i * n + j] * solution[j];
    EXPECT_NEAR(sum, right[i], 1e-8);
  }
  // Columns 64 to 127 of V^-T: V^T times them is the unit matrix.
  invertBlock(getTileKernels(), v.data(), n, 1, block.data());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t r = 0; r < kTileRows; ++r) {
      double sum = 0;
      for (int64_t k = 0; k <= i; ++k)
        sum += v[k * n + i] * block[k * kTileRows + r];
      EXPECT_NEAR(sum, i == kTileRows + r ? 1 : 0, 1e-10);
    }
  a[70 * n + 70] = -1;
  EXPECT_FALSE(factorUpper(getTileKernels(), a.data(), n, 2));
}
