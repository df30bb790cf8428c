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

constexpr int kMaxParameters = kMaxPlanes + 1;

/// The free parameters of a group in a tile, `[i][r]`.
typedef float TileParameters[kMaxParameters][kTileRows];

/// The code words of a group are linear in its free parameters: word[c] = sum over i < size of design[c][i] * parameter[i].
/// The kinds of parameters differ in nothing else.
struct ParameterSpace {
  ParameterSpace(ParameterKind kind, int bits);

  /// Parameters whose part in a word depends on the code: all but the zero.
  int numVarying() const { return hasZero ? size - 1 : size; }
  /// Scales that are stored for a group.
  int numScales() const { return kind == ParameterKind::Uniform ? 1 : bits; }
  /// The code words of all rows, sorted.
  void makeWords(const TileKernels &kernels, const TileParameters &parameters, TileWords &words) const;
  /// Rounds the parameters of row `r` to what can be stored. True if one had to be cut to the range of f16.
  bool round(TileParameters &parameters, int r) const;
  /// What is stored of the rounded parameters of row `r`: `numScales` scales and a zero.
  void store(const TileParameters &parameters, int r, uint16_t *scales, uint16_t *zero) const;

  ParameterKind kind;
  int bits, size;
  /// Whether the last parameter is the zero, which is part of every word.
  bool hasZero;
  float design[kMaxWords][kMaxParameters];
};

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_PARAMETERSPACE_H
