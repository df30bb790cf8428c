//===- Float16.h - Half precision in software --------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Conversions between f32 and the 16-bit formats, the same on every machine and with every compiler. They are free of
// branches on data, so that loops over them vectorize.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_QUANTIZE_FLOAT16_H
#define ELUTQ_QUANTIZE_FLOAT16_H

#include <cstdint>
#include <cstring>

namespace elutq::quantize {

inline float bitsToFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t floatToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// The value of an IEEE binary16 number; exact.
inline float halfToFloat(uint16_t half) {
  uint32_t magnitude = static_cast<uint32_t>(half & 0x7fffu) << 13;
  // 2^112 moves the exponent from bias 15 to bias 127, and normalizes subnormals on the way.
  uint32_t bits = floatToBits(bitsToFloat(magnitude) * bitsToFloat(0x77800000u));
  uint32_t infOrNan = (half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
  return bitsToFloat(bits | infOrNan | static_cast<uint32_t>(half & 0x8000u) << 16);
}

/// Rounds to IEEE binary16, to nearest, ties to even; beyond 65504 infinity.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = floatToBits(value);
  uint32_t sign = bits >> 16 & 0x8000u;
  uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u;
  } else if (magnitude >= 0x47800000u) { // 65536 and above
    result = 0x7c00u;
  } else if (magnitude < 0x38800000u) { // below 2^-14: adding 0.5 leaves the subnormal's digits, rounded, in the low bits
    result = floatToBits(bitsToFloat(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    result = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
  return static_cast<uint16_t>(sign | result);
}

/// The value of a bfloat16 number; exact.
inline float bfloatToFloat(uint16_t value) { return bitsToFloat(static_cast<uint32_t>(value) << 16); }

} // namespace elutq::quantize

#endif // ELUTQ_QUANTIZE_FLOAT16_H
