//===- Sampler.h - Chooses the next token -----------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_SAMPLER_H
#define ELUTQ_RUNTIME_LIB_SAMPLER_H

#include "Status.h"

#include <cstdint>
#include <deque>
#include <vector>

namespace elutq::runtime {

class Sampler {
public:
  static Status check(const elutq_sampler_params &params);

  explicit Sampler(const elutq_sampler_params &params) : params(params), state(params.seed) {}

  Status sample(const float *logits, size_t count, int64_t &token);
  void accept(int64_t token);
  void reset();

private:
  struct Candidate {
    double value; // logit, later probability
    int64_t token;
  };

  uint64_t nextRandom();
  float penalize(float logit) const;
  /// The first of the largest logits that are finite, `penalized` ones changed; -1 for none.
  int64_t findLargest(const float *logits, size_t count) const;
  int64_t pick(std::vector<Candidate> &candidates);

  elutq_sampler_params params;
  uint64_t state;
  std::deque<int64_t> recent;
  std::vector<Candidate> candidates; // kept between calls to avoid allocations
  std::vector<int64_t> penalized;
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_SAMPLER_H
