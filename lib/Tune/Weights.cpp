//===- Weights.cpp - Random weights to time products with -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Float16.h"
#include "elutq/Tune/Product.h"

using namespace elutq;
using namespace elutq::tune;

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
  int64_t groups = options.getGroups();
  // Codes of 8 bits are one plane of bytes.
  int64_t columnBits = options.bits == 8 ? 8 : 1, planes = options.bits / columnBits;
  int64_t rowBytes = groups * options.group * columnBits / 8;
  weights.planes.resize(static_cast<size_t>(planes * options.n * rowBytes));
  for (size_t i = 0; i < weights.planes.size(); i += 8) {
    uint64_t word = random.next();
    for (size_t j = i; j < weights.planes.size() && j < i + 8; ++j, word >>= 8)
      weights.planes[j] = static_cast<uint8_t>(word);
  }
  // Columns behind K have no bits.
  for (int64_t row = 0; options.k % options.group != 0 && row < planes * options.n; ++row) {
    uint8_t *bytes = weights.planes.data() + row * rowBytes;
    int64_t bits = options.k * columnBits;
    if (bits % 8)
      bytes[bits / 8] &= static_cast<uint8_t>((1u << bits % 8) - 1);
    std::fill(bytes + (bits + 7) / 8, bytes + rowBytes, 0);
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
  for (int64_t i = 0; options.params == "compact" && i < options.n * groups; ++i) {
    add(weights.scales16, weights.scales32, random.between(0.0002f, 0.0008f));
    float step = 255.0f / static_cast<float>((1 << options.bits) - 1);
    int rest = 255;
    for (int64_t j = 0; j < options.bits; ++j) {
      weights.ratios.push_back(static_cast<uint8_t>(step * static_cast<float>(1 << j) * random.between(0.5f, 1.0f)));
      rest -= weights.ratios.back();
    }
    weights.ratios.push_back(static_cast<uint8_t>(random.between(0.0f, 1.0f) * static_cast<float>(rest)));
  }
  if (options.params == "compact")
    return weights;
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
