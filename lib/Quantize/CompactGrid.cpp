//===- CompactGrid.cpp - Parameters as whole numbers of a step ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CompactGrid.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>
#include <cmath>

using namespace elutq::quantize;

float elutq::quantize::findStep(double low, double high, double share) {
  double least = std::max(high / kGreatestNumber, low / kLeastNumber) * share;
  least = std::clamp(least, 0.0, 65504.0);
  uint16_t half = floatToHalf(static_cast<float>(least));
  // Positive numbers of f16 are in the order of their bits.
  if (static_cast<double>(halfToFloat(half)) < least)
    ++half;
  return halfToFloat(half);
}

void elutq::quantize::roundToGrid(const double *values, int bits, double step, int *numbers) {
  if (!(step > 0)) {
    std::fill(numbers, numbers + bits + 1, 0);
    return;
  }
  int total = 0;
  for (int i = 0; i <= bits; ++i) {
    bool isZero = i == bits;
    double number = std::nearbyint(values[i] / step);
    number = std::clamp(number, isZero ? static_cast<double>(kLeastNumber) : 0.0, isZero ? static_cast<double>(kGreatestNumber) : 255.0);
    numbers[i] = static_cast<int>(number);
    total += numbers[i];
  }
  for (; total > kGreatestNumber; --total) {
    int most = -1;
    for (int i = 0; i <= bits; ++i)
      if (numbers[i] > (i == bits ? kLeastNumber : 0) &&
          (most < 0 || numbers[i] - values[i] / step > numbers[most] - values[most] / step))
        most = i;
    --numbers[most];
  }
}
