//===- Reference.cpp - Products of floats to compare with -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Measurement.h"
#include "elutq/Quantize/Float16.h"

#include <cmath>

using namespace elutq;
using namespace elutq::bench;

namespace {
/// Uniformly distributed numbers, the same on every machine.
class Random {
public:
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /// In [low, high).
  float between(float low, float high) { return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24f; }

private:
  uint64_t state = 20251123;
};
} // namespace

Weights Weights::random(const ProductOptions &options) {
  Random random;
  Weights weights;
  int64_t groups = options.getGroups(), rowBytes = groups * options.group / 8;
  weights.planes.resize(static_cast<size_t>(options.bits * options.n * rowBytes));
  for (size_t i = 0; i < weights.planes.size(); i += 8) {
    uint64_t word = random.next();
    for (size_t j = i; j < weights.planes.size() && j < i + 8; ++j, word >>= 8)
      weights.planes[j] = static_cast<uint8_t>(word);
  }
  // Columns behind K have no bits.
  for (int64_t row = 0; options.k % options.group != 0 && row < options.bits * options.n; ++row) {
    uint8_t *bytes = weights.planes.data() + row * rowBytes;
    if (options.k % 8)
      bytes[options.k / 8] &= static_cast<uint8_t>((1u << options.k % 8) - 1);
    std::fill(bytes + (options.k + 7) / 8, bytes + rowBytes, 0);
  }

  bool isHLQ = options.params == "hlq", isWide = options.paramType == "f32";
  if (options.params == "symmetric")
    weights.zeroPoint = int64_t(1) << (options.bits - 1);
  int64_t scalesPerGroup = isHLQ ? options.bits : 1;
  auto add = [&](std::vector<uint16_t> &halves, std::vector<float> &floats, float value) {
    if (isWide)
      floats.push_back(value);
    else
      halves.push_back(quantize::floatToHalf(value));
  };
  for (int64_t i = 0; i < options.n * groups; ++i) {
    float range = 0;
    for (int64_t j = 0; j < scalesPerGroup; ++j) {
      float scale = static_cast<float>(1 << j) * random.between(0.002f, 0.008f);
      range += isHLQ ? scale : scale * static_cast<float>((1 << options.bits) - 1);
      add(weights.scales16, weights.scales32, scale);
    }
    if (weights.zeroPoint == 0)
      add(weights.zeros16, weights.zeros32, -random.between(0.4f, 0.6f) * range);
  }
  return weights;
}

std::vector<float> Weights::row(const ProductOptions &options, int64_t n) const {
  int64_t groups = options.getGroups(), rowBytes = groups * options.group / 8;
  bool isHLQ = options.params == "hlq";
  int64_t scalesPerGroup = isHLQ ? options.bits : 1;
  auto load = [](const std::vector<uint16_t> &halves, const std::vector<float> &floats, int64_t i) {
    return halves.empty() ? floats[static_cast<size_t>(i)] : quantize::halfToFloat(halves[static_cast<size_t>(i)]);
  };
  std::vector<float> result(static_cast<size_t>(options.k));
  for (int64_t column = 0; column < options.k; ++column) {
    int64_t group = n * groups + column / options.group;
    float value = zeroPoint ? -static_cast<float>(zeroPoint) * load(scales16, scales32, group) : load(zeros16, zeros32, group);
    for (int64_t j = 0; j < options.bits; ++j) {
      uint8_t byte = planes[static_cast<size_t>((j * options.n + n) * rowBytes + column / 8)];
      if (byte >> column % 8 & 1)
        value += isHLQ ? load(scales16, scales32, group * scalesPerGroup + j)
                       : load(scales16, scales32, group) * static_cast<float>(1 << j);
    }
    result[static_cast<size_t>(column)] = value;
  }
  return result;
}

/// `count` numbers of [0, size), the first and the last among them, or all of them.
static std::vector<int64_t> sample(int64_t size, int64_t count) {
  std::vector<int64_t> result;
  count = std::min(size, count);
  for (int64_t i = 0; i < count; ++i)
    result.push_back(count == 1 ? 0 : i * (size - 1) / (count - 1));
  return result;
}

double bench::deviation(const ProductOptions &options, const Weights &weights, const float *x, const float *y) {
  double largest = 0, squares = 0;
  int64_t results = 0;
  for (int64_t n : sample(options.n, 1024)) {
    std::vector<float> row = weights.row(options, n);
    for (int64_t m : sample(options.m, 16)) {
      double expected = 0;
      for (int64_t k = 0; k < options.k; ++k)
        expected += static_cast<double>(x[m * options.k + k]) * row[static_cast<size_t>(k)];
      double difference = std::abs(y[m * options.n + n] - expected);
      // A result that is no number is as wrong as can be.
      largest = difference >= largest ? difference : std::isnan(difference) ? HUGE_VAL : largest;
      squares += expected * expected;
      ++results;
    }
  }
  return largest / std::sqrt(squares / static_cast<double>(results));
}
