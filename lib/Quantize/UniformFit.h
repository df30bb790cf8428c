//===- UniformFit.h - Fit one group of weights by 8-bit codes ----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_UNIFORMFIT_H
#define ELUTQ_LIB_QUANTIZE_UNIFORMFIT_H

#include <cstdint>
#include <vector>

namespace elutq::quantize {

/// What the groups of one row block share, like `GroupFit`: `w ~ z + s * q` with `q` in 0 to 255.
class UniformFit {
public:
  explicit UniformFit(int64_t groupSize);

  /// Where the caller puts the weights of a group.
  float *weights() { return source.data(); }

  /// Fits the group of the `count` weights in `weights()`. False if one is not a finite number of reasonable size.
  bool fit(int64_t count, int64_t maxIterations);

  /// Results: the scale and the zero in f16, the code of each weight, errors.
  uint16_t theta[2];
  const uint8_t *codes() const { return best.data(); }
  double squaredError = 0, uniformError = 0, squaredNorm = 0;
  bool clamped = false;

private:
  struct Line {
    double scale, zero;
  };
  /// A line with parameters that f16 can hold.
  struct Candidate {
    uint16_t half[2];
    bool clamped;
  };
  static Candidate roundToHalf(const Line &line, int scaleSteps);
  double assign(float scale, float zero);
  Line leastSquares(const Line &old) const;
  void tryCandidate(const Candidate &candidate);

  int64_t count = 0;
  std::vector<float> source;
  /// The codes of the last assignment, as whole numbers.
  std::vector<float> current;
  std::vector<uint8_t> best;
};

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_UNIFORMFIT_H
