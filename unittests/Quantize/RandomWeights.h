//===- RandomWeights.h - Weights for tests of the solver ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_UNITTESTS_QUANTIZE_RANDOMWEIGHTS_H
#define ELUTQ_UNITTESTS_QUANTIZE_RANDOMWEIGHTS_H

#include <cstdint>
#include <random>
#include <vector>

/// Normal numbers about 0.01 with a few outliers.
inline std::vector<float> randomWeights(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> weights(count);
  for (float &w : weights)
    w = normal(random) * (random() % 50 == 0 ? 4.0f : 1.0f);
  return weights;
}

#endif // ELUTQ_UNITTESTS_QUANTIZE_RANDOMWEIGHTS_H
