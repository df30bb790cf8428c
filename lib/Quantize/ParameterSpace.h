//===- ParameterSpace.h - Code words from free parameters --------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_PARAMETERSPACE_H
#define ELUTQ_LIB_QUANTIZE_PARAMETERSPACE_H

#include "TileKernels.h"
#include "elutq/Quantize/HessianSolver.h"

namespace elutq::quantize {

constexpr int kMaxParameters = kMaxPlanes + 2;

/// The free parameters of a group in a tile, `[i][r]`; behind compact ones, which are whole numbers of it once they are rounded, the step.
typedef float TileParameters[kMaxParameters][kTileRows];

/// The code words of a group are linear in its free parameters: word[c] = sum over i < size of design[c][i] * parameter[i].
/// The kinds of parameters differ in nothing else.
struct ParameterSpace {
  ParameterSpace(ParameterKind kind, int bits);

  /// Parameters whose part in a word depends on the code: all but the zero.
  int numVarying() const { return hasZero ? size - 1 : size; }
  /// Whether each plane has a scale of its own.
  bool hasPlaneScales() const { return kind == ParameterKind::HLQ || isCompact(); }
  bool isCompact() const { return kind == ParameterKind::Compact; }
  /// Rows of `TileParameters` that are in use.
  int numRows() const { return isCompact() ? size + 1 : size; }
  /// The code words of all rows, sorted.
  void makeWords(const TileKernels &kernels, const TileParameters &parameters, TileWords &words) const;
  /// Rounds the parameters of row `r` to what can be stored. True if one had to be cut to the range of f16. Compact ones become whole
  /// numbers of the least step by `stepShare`; where a scale is negative, code words change their codes.
  bool round(TileParameters &parameters, int r, double stepShare = 1) const;
  /// Makes the compact scales of row `r` positive without changing its code words; returns the planes whose bits then have to change.
  int flipNegative(TileParameters &parameters, int r) const;
  /// Stores the rounded parameters of row `r` as those of group `index` of a matrix, in the form of `fitHLQ`.
  void store(const TileParameters &parameters, int r, int64_t index, uint16_t *scales, void *zeros) const;

  ParameterKind kind;
  int bits, size;
  /// Whether the last parameter is the zero, which is part of every word.
  bool hasZero;
  float design[kMaxWords][kMaxParameters];
};

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_PARAMETERSPACE_H
