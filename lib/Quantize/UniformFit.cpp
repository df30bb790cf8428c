//===- UniformFit.cpp - Fit one group of weights by 8-bit codes -----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "UniformFit.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>
#include <cmath>

using namespace elutq::quantize;

/// The greatest code.
static constexpr float kTop = 255;
/// Sums run in as many lanes as every target's baseline has twice: their order is fixed and LLVM needs no permission to
/// vectorize them.
static constexpr int64_t kSumLanes = 8;

/// The sum over `i < count` of `term(i)`.
template <typename Term>
static double sumOf(int64_t count, const Term &term) {
  float lanes[kSumLanes] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes)
    for (int64_t lane = 0; lane < kSumLanes; ++lane)
      lanes[lane] += term(i + lane);
  for (int64_t lane = 0; i < count; ++i, ++lane)
    lanes[lane] += term(i);
  double sum = 0;
  for (float lane : lanes)
    sum += lane;
  return sum;
}

UniformFit::UniformFit(int64_t groupSize) : source(groupSize), current(groupSize), best(groupSize) {}

/// Rounds to f16 the parameters, with a scale that is `scaleSteps` steps of f16 larger.
UniformFit::Candidate UniformFit::roundToHalf(const Line &line, int scaleSteps) {
  Candidate candidate;
  double scale = std::clamp(line.scale, 0.0, 65504.0), zero = std::clamp(line.zero, -65504.0, 65504.0);
  candidate.clamped = scale != line.scale || zero != line.zero;
  // Positive numbers of f16 are in the order of their bits.
  int half = std::min(floatToHalf(static_cast<float>(scale)) + scaleSteps, 0x7bff);
  candidate.half[0] = static_cast<uint16_t>(half);
  candidate.half[1] = floatToHalf(static_cast<float>(zero));
  return candidate;
}

/// Chooses the nearest code for each weight, into `current`, and returns the squared error.
double UniformFit::assign(float scale, float zero) {
  const float *w = source.data();
  float *q = current.data();
  float inverse = 1.0f / scale;
  // A scale of 0, or one so small that its inverse overflows, leaves the zero alone.
  if (!std::isfinite(inverse))
    inverse = scale = 0;
  // Adding 1.5 * 2^23 rounds to the nearest integer.
  constexpr float magic = 12582912.0f;
  for (int64_t i = 0; i < count; ++i) {
    float x = (w[i] - zero) * inverse;
    x = x < 0 ? 0 : x;
    x = x > kTop ? kTop : x;
    q[i] = (x + magic) - magic;
  }
  return sumOf(count, [&](int64_t i) {
    float difference = w[i] - (zero + scale * q[i]);
    return difference * difference;
  });
}

/// The scale and zero with the least squared error for the codes in `current`; those of `old` where they are
/// undetermined.
UniformFit::Line UniformFit::leastSquares(const Line &old) const {
  const float *w = source.data(), *q = current.data();
  double n = static_cast<double>(count);
  double meanQ = sumOf(count, [&](int64_t i) { return q[i]; }) / n;
  double meanW = sumOf(count, [&](int64_t i) { return w[i]; }) / n;
  auto centre = static_cast<float>(meanQ), level = static_cast<float>(meanW);
  double variance = sumOf(count, [&](int64_t i) { return (q[i] - centre) * (q[i] - centre); });
  double covariance = sumOf(count, [&](int64_t i) { return (q[i] - centre) * (w[i] - level); });
  if (!(variance > 0) || !(covariance > 0))
    return old;
  double scale = covariance / variance;
  return {scale, meanW - scale * meanQ};
}

/// Keeps the candidate if it is better than what there is.
void UniformFit::tryCandidate(const Candidate &candidate) {
  double error = assign(halfToFloat(candidate.half[0]), halfToFloat(candidate.half[1]));
  if (!(error < squaredError))
    return;
  squaredError = error;
  std::copy(candidate.half, candidate.half + 2, theta);
  clamped = candidate.clamped;
  for (int64_t i = 0; i < count; ++i)
    best[i] = static_cast<uint8_t>(current[i]);
}

bool UniformFit::fit(int64_t number, int64_t maxIterations) {
  count = number;
  const float *w = source.data();
  // Beyond any f16 parameter by far, and NaN fails the comparison, too.
  bool valid = true;
  for (int64_t i = 0; i < count; ++i)
    valid &= std::fabs(w[i]) <= 1e15f;
  if (!valid)
    return false;
  auto [low, high] = std::minmax_element(w, w + count);
  Line uniform{(static_cast<double>(*high) - *low) / kTop, *low};

  Line fitted = uniform;
  double error = assign(static_cast<float>(fitted.scale), static_cast<float>(fitted.zero));
  for (int64_t i = 0; i < maxIterations; ++i) {
    Line next = leastSquares(fitted);
    double nextError = assign(static_cast<float>(next.scale), static_cast<float>(next.zero));
    if (!(nextError < error))
      break;
    fitted = next;
    // Below the noise of f16 parameters.
    bool isSettled = error - nextError <= 1e-4 * error;
    error = nextError;
    if (isSettled)
      break;
  }

  // Where f16 is coarse, a scale that was rounded down does not reach the largest weight: the next larger one is tried,
  // too.
  squaredError = HUGE_VAL;
  tryCandidate(roundToHalf(uniform, 0));
  uniformError = squaredError;
  if (maxIterations > 0) {
    tryCandidate(roundToHalf(uniform, 1));
    tryCandidate(roundToHalf(fitted, 0));
    tryCandidate(roundToHalf(fitted, 1));
  }
  squaredNorm = sumOf(count, [&](int64_t i) { return w[i] * w[i]; });
  return true;
}
