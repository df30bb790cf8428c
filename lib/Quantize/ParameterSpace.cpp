//===- ParameterSpace.cpp - Code words from free parameters ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ParameterSpace.h"
#include "CompactGrid.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>
#include <cmath>

using namespace elutq::quantize;

ParameterSpace::ParameterSpace(ParameterKind kind, int bits)
    : kind(kind), bits(bits), size(hasPlaneScales() ? bits + 1 : kind == ParameterKind::Uniform ? 2 : 1),
      hasZero(kind != ParameterKind::Ternary), design() {
  for (int c = 0; c < 1 << bits; ++c) {
    switch (kind) {
    case ParameterKind::HLQ:
    case ParameterKind::Compact:
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

int ParameterSpace::flipNegative(TileParameters &parameters, int r) const {
  int flipped = 0;
  for (int j = 0; j < bits; ++j) {
    if (!(parameters[j][r] < 0))
      continue;
    parameters[bits][r] += parameters[j][r];
    parameters[j][r] = -parameters[j][r];
    flipped |= 1 << j;
  }
  return flipped;
}

bool ParameterSpace::round(TileParameters &parameters, int r, double stepShare) const {
  bool isCut = false;
  if (isCompact()) {
    flipNegative(parameters, r);
    double values[kMaxParameters], high = 0;
    for (int i = 0; i < size; ++i)
      high += values[i] = static_cast<double>(parameters[i][r]);
    float step = findStep(values[bits], high, stepShare);
    int numbers[kMaxParameters];
    roundToGrid(values, bits, static_cast<double>(step), numbers);
    for (int i = 0; i < size; ++i)
      parameters[i][r] = step * static_cast<float>(numbers[i]);
    parameters[size][r] = step;
    return step >= 65504 && std::max(high / kGreatestNumber, values[bits] / kLeastNumber) > 65504;
  }
  for (int i = 0; i < size; ++i) {
    float cut = std::clamp(parameters[i][r], -65504.0f, 65504.0f);
    isCut |= cut != parameters[i][r];
    parameters[i][r] = halfToFloat(floatToHalf(cut));
  }
  return isCut;
}

void ParameterSpace::store(const TileParameters &parameters, int r, int64_t index, uint16_t *scales, void *zeros) const {
  if (isCompact()) {
    float step = parameters[size][r];
    scales[index] = floatToHalf(step);
    auto *numbers = static_cast<uint8_t *>(zeros) + index * size;
    for (int i = 0; i < size; ++i) {
      int number = step > 0 ? static_cast<int>(std::nearbyint(parameters[i][r] / step)) : 0;
      numbers[i] = static_cast<uint8_t>(i == bits ? number - kLeastNumber : number);
    }
    return;
  }
  int count = kind == ParameterKind::Uniform ? 1 : bits;
  for (int j = 0; j < count; ++j)
    scales[index * count + j] = floatToHalf(parameters[kind == ParameterKind::HLQ ? j : 0][r]);
  static_cast<uint16_t *>(zeros)[index] = floatToHalf(hasZero ? parameters[size - 1][r] : -parameters[0][r]);
}
