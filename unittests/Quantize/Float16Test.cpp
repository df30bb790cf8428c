//===- Float16Test.cpp - Tests of the half precision conversions ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Float16.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace elutq::quantize;

TEST(Float16Test, EveryHalfHasItsValue) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    int exponent = h >> 10 & 31;
    double fraction = h & 1023, value;
    if (exponent == 31)
      value = fraction ? NAN : HUGE_VAL;
    else
      value = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    float got = halfToFloat(static_cast<uint16_t>(h));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(got)) << h;
      continue;
    }
    ASSERT_EQ(got, static_cast<float>(h & 0x8000 ? -value : value)) << h;
    ASSERT_EQ(std::signbit(got), (h & 0x8000) != 0) << h;
    ASSERT_EQ(floatToHalf(got), h);
  }
}

// Between two neighbours the nearer one is taken, and in the middle the even one.
TEST(Float16Test, RoundsToNearestEven) {
  for (uint16_t h = 0; h < 0x7bff; ++h) {
    float low = halfToFloat(h), high = halfToFloat(h + 1), middle = (low + high) / 2;
    ASSERT_EQ(floatToHalf(middle), h & 1 ? h + 1 : h);
    ASSERT_EQ(floatToHalf(std::nextafter(middle, low)), h);
    ASSERT_EQ(floatToHalf(std::nextafter(middle, high)), h + 1);
  }
  EXPECT_EQ(floatToHalf(65519.99f), 0x7bff);
  EXPECT_EQ(floatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(floatToHalf(-1e30f), 0xfc00);
  EXPECT_TRUE(std::isnan(halfToFloat(floatToHalf(NAN))));
}

TEST(Float16Test, BFloatIsTheUpperHalf) {
  EXPECT_EQ(bfloatToFloat(0x3f80), 1.0f);
  EXPECT_EQ(bfloatToFloat(0xc049), -3.140625f);
}
