//===- ParameterSpace.cpp - Code words from free parameters ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ParameterSpace.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>

using namespace elutq::quantize;

ParameterSpace::ParameterSpace(ParameterKind kind, int bits)
    : kind(kind), bits(bits), size(kind == ParameterKind::HLQ ? bits + 1 : kind == ParameterKind::Uniform ? 2 : 1),
      hasZero(kind != ParameterKind::Ternary), design() {
  for (int c = 0; c < 1 << bits; ++c) {
    switch (kind) {
    case ParameterKind::HLQ:
      for (int j = 0; j < bits; ++j)
        design[c][j] = static_cast<float>(c >> j & 1);
      break;
    case ParameterKind::Uniform:
      design[c][0] = static_cast<float>(c);
      break;
    case ParameterKind::Ternary:
      // Two planes of the same scale s and the zero -s: -s, 0, 0, s.
      design[c][0] = static_cast<float>((c & 1) + (c >> 1) - 1);
      break;
    }
    if (hasZero)
      design[c][size - 1] = 1;
  }
}

void ParameterSpace::makeWords(const TileKernels &kernels, const TileParameters &parameters, TileWords &words) const {
  for (int c = 0; c < 1 << bits; ++c) {
    float *word = words.word[c];
    int32_t *code = words.code[c];
    // The zero first, as a product does.
    for (int r = 0; r < kTileRows; ++r) {
      word[r] = hasZero ? parameters[size - 1][r] : 0.0f;
      code[r] = c;
    }
    for (int i = 0; i < numVarying(); ++i)
      if (design[c][i] != 0)
        for (int r = 0; r < kTileRows; ++r)
          word[r] += design[c][i] * parameters[i][r];
  }
  kernels.sortWords(words, bits);
}

bool ParameterSpace::round(TileParameters &parameters, int r) const {
  bool isCut = false;
  for (int i = 0; i < size; ++i) {
    float cut = std::clamp(parameters[i][r], -65504.0f, 65504.0f);
    isCut |= cut != parameters[i][r];
    parameters[i][r] = halfToFloat(floatToHalf(cut));
  }
  return isCut;
}

void ParameterSpace::store(const TileParameters &parameters, int r, uint16_t *scales, uint16_t *zero) const {
  for (int j = 0; j < numScales(); ++j)
    scales[j] = floatToHalf(parameters[kind == ParameterKind::HLQ ? j : 0][r]);
  *zero = floatToHalf(hasZero ? parameters[size - 1][r] : -parameters[0][r]);
}
