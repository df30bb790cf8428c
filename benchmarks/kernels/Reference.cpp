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

/// One row of weights as floats.
static std::vector<float> getRow(const ProductOptions &options, const Weights &weights, int64_t n) {
  int64_t groups = options.getGroups(), rowBytes = groups * options.group / 8;
  bool isHLQ = options.params == "hlq";
  int64_t scalesPerGroup = isHLQ ? options.bits : 1;
  auto load = [](const std::vector<uint16_t> &halves, const std::vector<float> &floats, int64_t i) {
    return halves.empty() ? floats[static_cast<size_t>(i)] : quantize::halfToFloat(halves[static_cast<size_t>(i)]);
  };
  std::vector<float> result(static_cast<size_t>(options.k));
  for (int64_t column = 0; column < options.k; ++column) {
    int64_t group = n * groups + column / options.group;
    auto hasBit = [&](int64_t j) {
      return weights.planes[static_cast<size_t>((j * options.n + n) * rowBytes + column / 8)] >> column % 8 & 1;
    };
    if (!weights.ratios.empty()) {
      const uint8_t *ratios = weights.ratios.data() + group * (options.bits + 1);
      int code = ratios[options.bits] - 128;
      for (int64_t j = 0; j < options.bits; ++j)
        code += hasBit(j) ? ratios[j] : 0;
      result[static_cast<size_t>(column)] = load(weights.scales16, weights.scales32, group) * static_cast<float>(code);
      continue;
    }
    float value = weights.zeroPoint ? -static_cast<float>(weights.zeroPoint) * load(weights.scales16, weights.scales32, group)
                                    : load(weights.zeros16, weights.zeros32, group);
    for (int64_t j = 0; j < options.bits; ++j) {
      if (hasBit(j))
        value += isHLQ ? load(weights.scales16, weights.scales32, group * scalesPerGroup + j)
                       : load(weights.scales16, weights.scales32, group) * static_cast<float>(1 << j);
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
    std::vector<float> row = getRow(options, weights, n);
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
