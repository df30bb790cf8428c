//===- GroupFit.cpp - Fit one group of weights ----------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// A round needs no codes, only how many weights each code word gets and their sum, and both follow from how many
// weights exceed each midpoint between sorted code words, and by how much in sum: compare, mask, add. Weights are moved
// to [0, 1] first, so that no scale of the input can overflow or lose digits.
//
//===----------------------------------------------------------------------===//

#include "GroupFit.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace elutq::quantize;

// Four lanes are what every target's baseline has; the order of all additions is fixed by them.
typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));

static Float4 load(const float *pointer) {
  Float4 value;
  std::memcpy(&value, pointer, sizeof value);
  return value;
}

static double sumLanes(Float4 a, Float4 b) {
  Float4 s = a + b;
  return (static_cast<double>(s[0]) + s[2]) + (static_cast<double>(s[1]) + s[3]);
}

static int64_t sumLanes(Int4 a, Int4 b) {
  Int4 s = a + b;
  return static_cast<int64_t>(s[0]) + s[1] + s[2] + s[3];
}

/// For each of `T` thresholds: the number and the sum of the weights above it. Padding must compare as not above.
template <int T>
static void accumulateAbove(const float *weights, int64_t padded, const float *thresholds, double *sums,
                            int64_t *counts) {
  Float4 sum[T][2] = {};
  Int4 count[T][2] = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    for (int half = 0; half < 2; ++half) {
      Float4 w = load(weights + i + 4 * half);
      for (int t = 0; t < T; ++t) {
        float x = thresholds[t];
        Int4 above = w > Float4{x, x, x, x};
        sum[t][half] += (Float4)((Int4)w & above);
        count[t][half] -= above;
      }
    }
  }
  for (int t = 0; t < T; ++t) {
    sums[t] = sumLanes(sum[t][0], sum[t][1]);
    counts[t] = sumLanes(count[t][0], count[t][1]);
  }
}

void CodeBook::update(const float *theta) {
  for (int i = 0; i < size; ++i) {
    float value = theta[bits];
    for (int j = 0; j < bits; ++j)
      value += code[i] >> j & 1 ? theta[j] : 0.0f;
    uint8_t c = code[i];
    int k = i;
    for (; k > 0 && word[k - 1] > value; --k) {
      word[k] = word[k - 1];
      code[k] = code[k - 1];
    }
    word[k] = value;
    code[k] = c;
  }
  // Halves first: the sum of two words may overflow.
  for (int i = 0; i + 1 < size; ++i)
    threshold[i] = 0.5f * word[i] + 0.5f * word[i + 1];
}

namespace {
/// Sufficient statistics of a choice of codes: how many weights each code word has, and their sum.
struct Statistics {
  double count[kMaxCodes];
  double sum[kMaxCodes];

  void collect(const CodeBook &book, const float *weights, int64_t valid, int64_t padded, double total) {
    double above[kMaxCodes];
    int64_t number[kMaxCodes];
    int t = 0;
    for (; t + 3 < book.size; t += 3)
      accumulateAbove<3>(weights, padded, book.threshold + t, above + t, number + t);
    if (t + 1 < book.size)
      accumulateAbove<1>(weights, padded, book.threshold + t, above + t, number + t);
    double lastSum = total;
    int64_t lastNumber = valid;
    for (int i = 0; i + 1 < book.size; ++i) {
      count[i] = static_cast<double>(lastNumber - number[i]);
      sum[i] = lastSum - above[i];
      lastNumber = number[i];
      lastSum = above[i];
    }
    count[book.size - 1] = static_cast<double>(lastNumber);
    sum[book.size - 1] = lastSum;
  }

  /// The same, by code and not by rank.
  void sortByCode(const CodeBook &book, double *counts, double *sums) const {
    for (int i = 0; i < book.size; ++i) {
      counts[book.code[i]] = count[i];
      sums[book.code[i]] = sum[i];
    }
  }
};

/// Normal equations of one group; `Bits` is a constant, so that code patterns are, too.
template <int Bits>
struct NormalEquations {
  static constexpr int kSize = Bits + 1, kCodes = 1 << Bits;

  /// Whether unknown `i` takes part in the word of code `c`; the last unknown is the zero.
  static constexpr bool takesPart(int c, int i) { return i == Bits || (c >> i & 1); }

  /// Squared error of the chosen codes under `theta`.
  static double error(const double *counts, const double *sums, const Theta &theta, double squares) {
    double result = squares;
    for (int c = 0; c < kCodes; ++c) {
      double word = theta.value[Bits];
      for (int j = 0; j < Bits; ++j)
        word += takesPart(c, j) ? theta.value[j] : 0.0;
      result += word * (counts[c] * word - 2 * sums[c]);
    }
    return std::max(result, 0.0);
  }

  /// The parameters with the least squared error for the chosen codes. A tiny pull towards the old parameters keeps
  /// what an empty code word leaves undetermined where it was.
  static Theta solve(const double *counts, const double *sums, const Theta &old, double weights) {
    double a[kSize][kSize], b[kSize];
    double ridge = 1e-7 * weights;
    for (int i = 0; i < kSize; ++i) {
      b[i] = ridge * old.value[i];
      for (int j = 0; j <= i; ++j)
        a[i][j] = i == j ? ridge : 0.0;
      for (int c = 0; c < kCodes; ++c) {
        if (!takesPart(c, i))
          continue;
        b[i] += sums[c];
        for (int j = 0; j <= i; ++j)
          if (takesPart(c, j))
            a[i][j] += counts[c];
      }
    }
    // Cholesky: the ridge makes the matrix positive definite.
    double inverse[kSize];
    for (int i = 0; i < kSize; ++i) {
      for (int j = 0; j <= i; ++j) {
        double s = a[i][j];
        for (int k = 0; k < j; ++k)
          s -= a[i][k] * a[j][k];
        if (i == j)
          inverse[i] = 1.0 / std::sqrt(std::max(s, ridge * 1e-3));
        else
          a[i][j] = s * inverse[j];
      }
      double s = b[i];
      for (int k = 0; k < i; ++k)
        s -= a[i][k] * b[k];
      b[i] = s * inverse[i];
    }
    Theta theta;
    for (int i = kSize; i-- > 0;) {
      double s = b[i];
      for (int k = i + 1; k < kSize; ++k)
        s -= a[k][i] * theta.value[k];
      theta.value[i] = s * inverse[i];
    }
    return theta;
  }
};
} // namespace

GroupFit::GroupFit(int bits, int64_t groupSize)
    : bits(bits), book(bits), source(groupSize + kLanes), scaled(groupSize + kLanes), best(groupSize + kLanes),
      other(groupSize + kLanes) {}

Theta GroupFit::uniformStart() const {
  Theta theta;
  for (int j = 0; j < bits; ++j)
    theta.value[j] = static_cast<double>(1 << j) / ((1 << bits) - 1);
  return theta;
}

template <int Bits>
Theta GroupFit::alternate(int64_t maxIterations, std::vector<double> *trace) {
  using Equations = NormalEquations<Bits>;
  Float4 sum[2] = {}, square[2] = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    for (int half = 0; half < 2; ++half) {
      Float4 w = load(scaled.data() + i + 4 * half);
      Float4 x = (Float4)((Int4)w & (w >= Float4{}));
      sum[half] += x;
      square[half] += x * x;
    }
  }
  double total = sumLanes(sum[0], sum[1]), squares = sumLanes(square[0], square[1]);

  Theta theta = uniformStart();
  double error = HUGE_VAL, counts[kMaxCodes], sums[kMaxCodes];
  Statistics statistics;
  auto chooseCodes = [&] {
    float rounded[kMaxBits + 1];
    for (int i = 0; i <= Bits; ++i)
      rounded[i] = static_cast<float>(theta.value[i]);
    book.update(rounded);
    statistics.collect(book, scaled.data(), count, padded, total);
    statistics.sortByCode(book, counts, sums);
    error = Equations::error(counts, sums, theta, squares);
    if (trace)
      trace->push_back(error * range * range);
  };
  chooseCodes();
  for (int64_t i = 0; i < maxIterations; ++i) {
    double before = error;
    Theta old = theta;
    theta = Equations::solve(counts, sums, theta, static_cast<double>(count));
    chooseCodes();
    if (!(error < before)) {
      theta = old;
      break;
    }
    // Below the noise of f16 parameters.
    if (before - error <= 1e-4 * before)
      break;
  }
  return theta;
}

Theta GroupFit::alternate(int64_t maxIterations, std::vector<double> *trace) {
  switch (bits) {
  case 1:
    return alternate<1>(maxIterations, trace);
  case 2:
    return alternate<2>(maxIterations, trace);
  case 3:
    return alternate<3>(maxIterations, trace);
  default:
    return alternate<4>(maxIterations, trace);
  }
}

GroupFit::Candidate GroupFit::roundToHalf(const Theta &normalized, double lowest, double range) const {
  Candidate candidate;
  candidate.clamped = false;
  for (int i = 0; i <= bits; ++i) {
    double value = normalized.value[i] * range + (i == bits ? lowest : 0.0);
    double cut = std::clamp(value, -65504.0, 65504.0);
    candidate.clamped |= cut != value;
    candidate.half[i] = floatToHalf(static_cast<float>(cut));
    candidate.theta[i] = halfToFloat(candidate.half[i]);
  }
  return candidate;
}

/// The nearest code for each weight and the squared error.
double GroupFit::assign(const Candidate &candidate, uint8_t *codes) {
  book.update(candidate.theta);
  // Padding must not count: it is what the first code word gives exactly.
  std::fill(source.begin() + count, source.begin() + padded, book.word[0]);
  Float4 error[2] = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    for (int half = 0; half < 2; ++half) {
      Float4 w = load(source.data() + i + 4 * half);
      float first = book.word[0];
      Float4 nearest = {first, first, first, first};
      Int4 rank = {};
      for (int t = 0; t + 1 < book.size; ++t) {
        float x = book.threshold[t], v = book.word[t + 1];
        Int4 above = w > Float4{x, x, x, x};
        nearest = (Float4)(((Int4)nearest & ~above) | ((Int4)Float4{v, v, v, v} & above));
        rank -= above;
      }
      Float4 difference = w - nearest;
      for (int lane = 0; lane < 4; ++lane)
        codes[i + 4 * half + lane] = book.code[rank[lane]];
      error[half] += difference * difference;
    }
  }
  std::fill(codes + count, codes + padded, 0);
  return sumLanes(error[0], error[1]);
}

bool GroupFit::fit(int64_t number, int64_t maxIterations, std::vector<double> *trace) {
  count = number;
  padded = (number + kLanes - 1) / kLanes * kLanes;
  float *w = source.data();
  // Beyond any f16 parameter by far, and NaN fails the comparison, too.
  bool valid = true;
  for (int64_t i = 0; i < count; ++i)
    valid &= std::fabs(w[i]) <= 1e15f;
  if (!valid)
    return false;
  float low = w[0], high = w[0];
  for (int64_t i = 1; i < count; ++i) {
    low = w[i] < low ? w[i] : low;
    high = w[i] > high ? w[i] : high;
  }
  range = static_cast<double>(high) - low;

  Theta fitted = uniformStart();
  float inverse = static_cast<float>(1.0 / range);
  // Ranges whose inverse overflows are far below the smallest f16 number: the group is constant.
  if (range > 0 && std::isfinite(inverse)) {
    for (int64_t i = 0; i < count; ++i)
      scaled[i] = (w[i] - low) * inverse;
    std::fill(scaled.begin() + count, scaled.begin() + padded, -1.0f);
    fitted = alternate(maxIterations, trace);
  } else {
    range = 0;
  }

  Candidate uniform = roundToHalf(uniformStart(), low, range), result = roundToHalf(fitted, low, range);
  uniformError = assign(uniform, best.data());
  squaredError = assign(result, other.data());
  if (squaredError < uniformError) {
    std::swap(best, other);
  } else {
    squaredError = uniformError;
    result = uniform;
  }
  std::copy(result.half, result.half + bits + 1, theta);
  clamped = result.clamped;
  std::fill(w + count, w + padded, 0.0f);
  Float4 norm[2] = {};
  for (int64_t i = 0; i < padded; i += kLanes)
    for (int half = 0; half < 2; ++half)
      norm[half] += load(w + i + 4 * half) * load(w + i + 4 * half);
  squaredNorm = sumLanes(norm[0], norm[1]);
  return true;
}
