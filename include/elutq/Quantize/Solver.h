//===- Solver.h - Fit HLQ parameters to float weights ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// In each group of `g` neighbouring weights of a row, HLQ writes `w[k] ~ z + sum over j < bits of s[j] * b[j, k]` with
// `b` in {0, 1}. `fitHLQ` finds `s`, `z` and `b` that make the squared error small, from the weights alone: it starts
// from the uniform grid and alternates between the nearest code words for fixed parameters and the least-squares
// parameters for fixed codes. With 8 bits a weight is one code, `w[k] ~ z + s * q[k]` with `q` in 0 to 255, fitted
// likewise.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_QUANTIZE_SOLVER_H
#define ELUTQ_QUANTIZE_SOLVER_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace elutq::quantize {

enum class DataType { F32, F16, BF16 };

/// A matrix in memory, `rows` outputs by `cols` inputs; strides count elements.
struct MatrixView {
  const void *data = nullptr;
  DataType type = DataType::F32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t rowStride = 0;
  int64_t colStride = 1;
};

/// What the code words of a group are made of. HLQ: a scale for each plane and a zero. Uniform: a scale, doubled from plane to
/// plane, and a zero. Ternary: the words -s, 0 and s of two planes, both with the scale s, and the zero -s. Compact: a step S, a ratio for
/// each plane and a zero, whole numbers, so that every word is a whole number from -128 to 127 times S.
enum class ParameterKind { HLQ = 0, Uniform = 1, Ternary = 2, Compact = 3 };

struct FitOptions {
  /// 1 to 4 planes, or a code of 8 bits.
  int64_t bits = 4;
  /// Weights per group, a multiple of 8; the last group of a row may reach past its end.
  int64_t groupSize = 128;
  /// HLQ or Compact; codes of 8 bits have a scale and a zero with either.
  ParameterKind kind = ParameterKind::HLQ;
  /// Rounds of code choice and least squares after the uniform start; 0 gives the uniform grid.
  int64_t maxIterations = 10;
  /// Worker threads; 0 stands for one per processor. The result does not depend on it.
  unsigned threads = 0;
  /// Called with the rows finished so far, from any worker, one call at a time.
  std::function<void(int64_t done, int64_t total)> progress = {};
};

struct FitReport {
  /// Sum over all weights of the squared error, with parameters rounded to f16.
  double squaredError = 0;
  /// The same for the uniform start; never smaller than `squaredError`.
  double uniformError = 0;
  /// Sum of the squared weights: `squaredError / squaredNorm` is the relative error.
  double squaredNorm = 0;
  /// Groups with a parameter beyond the range of f16, which was cut to it.
  int64_t clampedGroups = 0;
  /// Processor time of all threads together: the weights by it are the speed of one core, whatever else the machine does.
  double cpuSeconds = 0;
  /// Empty, or why there is no result: bad options, or a weight that is not a finite number.
  std::string error;
};

/// Whether weights of `bits` bits can be fitted, packed and multiplied.
inline bool isBits(int64_t bits) { return (bits >= 1 && bits <= 4) || bits == 8; }

/// Bytes of the planes, or of the codes, of a matrix of `rows` rows and `groups` groups per row.
inline int64_t numPlaneBytes(int64_t bits, int64_t rows, int64_t groups, int64_t groupSize) {
  return bits * rows * groups * groupSize / 8;
}

/// Planes of a matrix, codes of 8 bits being one: scales per group and row of HLQ parameters.
inline int64_t numPlanes(int64_t bits) { return bits == 8 ? 1 : bits; }

/// Scales per group and row that `fitHLQ` or `solveWithHessian` writes, and bytes of zeros.
inline int64_t numScales(int64_t bits, ParameterKind kind = ParameterKind::HLQ) {
  return kind == ParameterKind::Uniform || kind == ParameterKind::Compact ? 1 : numPlanes(bits);
}
inline int64_t numZeroBytes(int64_t bits, ParameterKind kind) { return kind == ParameterKind::Compact && bits != 8 ? bits + 1 : 2; }

/// Groups per row of `cols` columns.
inline int64_t numGroups(int64_t cols, int64_t groupSize) { return (cols + groupSize - 1) / groupSize; }

/// Quantizes `weights` of N rows and K columns, `G = ceil(K / g)` groups per row, into
///   `planes` `[bits][N][G*g/8]`, bit `t` of byte `i` is column `8*i + t`, columns from K on are 0;
///   `scales` `[N][G][bits]` and `zeros` `[N][G]`, f16;
/// with 8 bits codes `[N][G*g]` in place of `planes` and `scales` `[N][G]`. Compact parameters have the step in `scales` `[N][G]`, and in
/// `zeros` bytes `[N][G][bits + 1]`: the ratios r_j, and the code c of a weight without bits. The weight is `S * (c - 128 + sum of r_j b_j)`.
/// Columns from K on have no influence on the parameters.
FitReport fitHLQ(const MatrixView &weights, const FitOptions &options, uint8_t *planes, uint16_t *scales,
                 void *zeros);

/// With planes: runs the alternating fit on one group without any rounding to f16 and returns its squared error after the uniform
/// start and after each round, in the unit of the weights.
std::vector<double> traceGroupFit(const float *weights, int64_t count, int64_t bits, int64_t maxIterations);

} // namespace elutq::quantize

#endif // ELUTQ_QUANTIZE_SOLVER_H
