//===- Sampler.cpp - Chooses the next token -------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Sampler.h"

#include <algorithm>
#include <cmath>

using namespace elutq::runtime;

Status Sampler::check(const elutq_sampler_params &params) {
  auto bad = [](const char *name, double value, const char *expected) {
    return Status(ELUTQ_ERROR_ARGUMENT, std::string(name) + " is " + std::to_string(value) + ", but expected " + expected);
  };
  // Written so that NaN is refused too.
  if (!(params.temperature >= 0 && std::isfinite(params.temperature)))
    return bad("temperature", params.temperature, "a number >= 0");
  if (params.top_k < 0)
    return bad("top_k", params.top_k, "a number >= 0");
  if (!(params.top_p > 0 && params.top_p <= 1))
    return bad("top_p", params.top_p, "a number in (0, 1]");
  if (!(params.min_p >= 0 && params.min_p <= 1))
    return bad("min_p", params.min_p, "a number in [0, 1]");
  if (!(params.repeat_penalty > 0 && std::isfinite(params.repeat_penalty)))
    return bad("repeat_penalty", params.repeat_penalty, "a number > 0");
  if (params.repeat_last < 0)
    return bad("repeat_last", params.repeat_last, "a number >= 0");
  return Status();
}

void Sampler::reset() {
  recent.clear();
  state = params.seed;
}

void Sampler::accept(int64_t token) {
  if (params.repeat_penalty == 1)
    return;
  recent.push_back(token);
  if (params.repeat_last > 0 && recent.size() > static_cast<size_t>(params.repeat_last))
    recent.pop_front();
}

/// SplitMix64: one add and a few multiplications, the same sequence on every platform.
uint64_t Sampler::nextRandom() {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

float Sampler::penalize(float logit) const {
  return logit > 0 ? logit / params.repeat_penalty : logit * params.repeat_penalty;
}

/// The largest finite number of `logits`, -INFINITY where there is none.
static float getMaximum(const float *logits, size_t count) {
  // A fixed number of maxima side by side, so that compilers use vectors. A NaN compares false and is never chosen.
  constexpr size_t kLanes = 16;
  auto larger = [](float best, float logit) {
    float finite = logit < INFINITY ? logit : -INFINITY;
    return finite > best ? finite : best;
  };
  float lanes[kLanes], best = -INFINITY;
  std::fill_n(lanes, kLanes, -INFINITY);
  size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = larger(lanes[lane], logits[i + lane]);
  for (float lane : lanes)
    best = larger(best, lane);
  for (size_t i = whole; i < count; ++i)
    best = larger(best, logits[i]);
  return best;
}

int64_t Sampler::findLargest(const float *logits, size_t count) const {
  // Only the block that has the largest logit is searched for its place.
  constexpr size_t kBlock = 1024;
  float best = -INFINITY;
  size_t bestBegin = 0;
  int64_t token = -1;
  auto accept = [&](float logit, size_t begin) {
    if (!(logit > best))
      return false;
    best = logit;
    bestBegin = begin;
    return true;
  };
  auto next = penalized.begin();
  for (size_t begin = 0; begin < count;) {
    bool isPenalized = next != penalized.end() && *next == static_cast<int64_t>(begin);
    if (isPenalized) {
      float logit = penalize(logits[begin]);
      if (logit < INFINITY && accept(logit, begin))
        token = static_cast<int64_t>(begin);
      ++next, ++begin;
      continue;
    }
    size_t end = std::min(count, begin + kBlock);
    if (next != penalized.end() && *next < static_cast<int64_t>(end))
      end = static_cast<size_t>(*next);
    if (accept(getMaximum(logits + begin, end - begin), begin))
      token = -1;
    begin = end;
  }
  if (token >= 0 || best == -INFINITY)
    return token;
  return std::find(logits + bestBegin, logits + count, best) - logits;
}

Status Sampler::sample(const float *logits, size_t count, int64_t &token) {
  penalized.assign(recent.begin(), recent.end());
  std::sort(penalized.begin(), penalized.end());
  penalized.erase(std::unique(penalized.begin(), penalized.end()), penalized.end());
  if (params.temperature == 0) {
    int64_t largest = findLargest(logits, count);
    if (largest < 0)
      return Status(ELUTQ_ERROR_STATE, "no logit is a finite number");
    token = largest;
    return Status();
  }

  auto next = penalized.begin();
  auto getLogit = [&](size_t i) {
    if (next == penalized.end() || *next != static_cast<int64_t>(i))
      return logits[i];
    ++next;
    return penalize(logits[i]);
  };
  candidates.clear();
  for (size_t i = 0; i < count; ++i) {
    float logit = getLogit(i);
    if (std::isfinite(logit))
      candidates.push_back({logit / double(params.temperature), static_cast<int64_t>(i)});
  }
  if (candidates.empty())
    return Status(ELUTQ_ERROR_STATE, "no logit is a finite number");
  token = pick(candidates);
  return Status();
}

int64_t Sampler::pick(std::vector<Candidate> &candidates) {
  // Ties are broken by the id, so that the choice does not depend on the sorting algorithm.
  auto larger = [](const Candidate &a, const Candidate &b) {
    return a.value != b.value ? a.value > b.value : a.token < b.token;
  };
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + (params.top_k - 1), candidates.end(), larger);
    candidates.resize(static_cast<size_t>(params.top_k));
    std::sort(candidates.begin(), candidates.end(), larger);
  }

  double maximum = std::max_element(candidates.begin(), candidates.end(), [](const Candidate &a, const Candidate &b) {
                     return a.value < b.value;
                   })->value;
  double total = 0;
  for (Candidate &candidate : candidates)
    total += candidate.value = std::exp(candidate.value - maximum);

  if (params.top_p < 1) {
    // Only the head of the order matters: sort it in growing pieces instead of the whole vocabulary.
    size_t sorted = 0, keep = 0;
    double sum = 0;
    while (sum < params.top_p * total && keep < candidates.size()) {
      if (keep == sorted) {
        sorted = std::min(candidates.size(), std::max<size_t>(64, 4 * sorted));
        auto begin = candidates.begin() + static_cast<std::ptrdiff_t>(keep);
        std::partial_sort(begin, candidates.begin() + static_cast<std::ptrdiff_t>(sorted), candidates.end(), larger);
      }
      sum += candidates[keep++].value;
    }
    candidates.resize(std::max<size_t>(keep, 1));
    total = sum;
  }
  if (params.min_p > 0) {
    // The largest value is exp(0) = 1.
    auto end = std::remove_if(candidates.begin(), candidates.end(),
                              [&](const Candidate &candidate) { return candidate.value < params.min_p; });
    candidates.erase(end, candidates.end());
    total = 0;
    for (const Candidate &candidate : candidates)
      total += candidate.value;
  }

  double point = static_cast<double>(nextRandom() >> 11) * 0x1p-53 * total;
  for (const Candidate &candidate : candidates) {
    point -= candidate.value;
    if (point < 0)
      return candidate.token;
  }
  // Rounding left a rest: the last candidate's share reaches to the end.
  return candidates.back().token;
}
