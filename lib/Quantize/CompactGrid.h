//===- CompactGrid.h - Parameters as whole numbers of a step -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Compact parameters of a group are a step S, which f16 holds, and whole numbers: the ratio of each plane, not negative, and the zero.
// All code words are from -128 to 127 times S.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_COMPACTGRID_H
#define ELUTQ_LIB_QUANTIZE_COMPACTGRID_H

namespace elutq::quantize {

constexpr int kLeastNumber = -128, kGreatestNumber = 127;

/// Steps that are tried, in percent of the least one that reaches the outermost words: smaller ones cut these and are finer in between.
constexpr int kLeastShare = 92, kGreatestShare = 110;

/// The least step, of f16 and at most 65504, of which `low` and `high` are at most -128 and 127, in units of it by `share`.
float findStep(double low, double high, double share);

/// Rounds `bits` scales, none of them negative, and the zero behind them to `numbers` of steps. Where the greatest word would lie
/// beyond the grid, the numbers that were rounded up most, or down least, are lowered.
void roundToGrid(const double *values, int bits, double step, int *numbers);

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_COMPACTGRID_H
