//===- GroupFit.h - Fit one group of weights ---------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_GROUPFIT_H
#define ELUTQ_LIB_QUANTIZE_GROUPFIT_H

#include <cstdint>
#include <vector>

namespace elutq::quantize {

constexpr int64_t kMaxBits = 4;
constexpr int64_t kMaxCodes = 1 << kMaxBits;

/// Buffers of a group are padded to this many weights.
constexpr int64_t kLanes = 8;

/// The parameters of a group: `theta[j]` is the scale of plane `j`, `theta[bits]` the zero.
struct Theta {
  double value[kMaxBits + 1] = {};
};

/// The code words of some parameters in ascending order, and the midpoints between neighbours.
struct CodeBook {
  CodeBook(int bits) : bits(bits), size(1 << bits) {
    for (int i = 0; i < size; ++i)
      code[i] = static_cast<uint8_t>(i);
  }
  /// Recomputes the code words and sorts them, starting from the last order.
  void update(const float *theta);

  int bits, size;
  uint8_t code[kMaxCodes];
  float word[kMaxCodes];
  float threshold[kMaxCodes];
};

/// What the groups of one row block share: scratch memory and the results of the last group.
class GroupFit {
public:
  GroupFit(int bits, int64_t groupSize);

  /// Where the caller puts the weights of a group; `count` of them, the rest up to a multiple of `kLanes` is padding.
  float *weights() { return source.data(); }

  /// Fits the group in `weights()`. False if a weight is not a finite number of reasonable size.
  bool fit(int64_t count, int64_t maxIterations, std::vector<double> *trace = nullptr);

  /// Results: f16 parameters (`bits` scales and the zero), the code of each weight, errors.
  uint16_t theta[kMaxBits + 1];
  const uint8_t *codes() const { return best.data(); }
  double squaredError = 0, uniformError = 0, squaredNorm = 0;
  bool clamped = false;

private:
  struct Candidate {
    uint16_t half[kMaxBits + 1];
    float theta[kMaxBits + 1];
    bool clamped;
  };
  Theta uniformStart() const;
  Theta alternate(int64_t maxIterations, std::vector<double> *trace);
  template <int Bits>
  Theta alternate(int64_t maxIterations, std::vector<double> *trace);
  Candidate roundToHalf(const Theta &normalized, double lowest, double range) const;
  double assign(const Candidate &candidate, uint8_t *codes);

  int bits;
  int64_t count = 0, padded = 0;
  CodeBook book;
  std::vector<float> source, scaled;
  std::vector<uint8_t> best, other;
  double range = 0;
};

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_GROUPFIT_H
