//===- PackingTest.cpp - Tests of the packed layouts ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Packing.h"
#include "gtest/gtest.h"

#include <random>
#include <vector>

using namespace elutq::quantize;

namespace {
/// Random operands of one matrix.
struct Matrix {
  Matrix(const PackedLayout &layout, int64_t n, int64_t groups)
      : layout(layout), n(n), groups(groups), rowBytes(layout.rowBytes(groups)), planes(layout.numPlanes() * n * rowBytes),
        scales(n * groups * layout.scalesPerGroup() * layout.paramBytes), zeros(n * groups * layout.zerosPerGroup() * layout.zeroBytes()) {
    std::mt19937 random(static_cast<unsigned>(n * 31 + groups));
    for (auto *bytes : {&planes, &scales, &zeros})
      for (uint8_t &byte : *bytes)
        byte = static_cast<uint8_t>(random());
  }
  std::vector<uint8_t> packed(unsigned threads = 1) const {
    std::vector<uint8_t> out(layout.packedBytes(n, groups), 0xee);
    pack(layout, n, groups, planes.data(), scales.data(), zeros.data(), out.data(), threads);
    return out;
  }
  bool bit(int64_t plane, int64_t row, int64_t column) const {
    return planes[(plane * n + row) * rowBytes + column / 8] >> column % 8 & 1;
  }

  PackedLayout layout;
  int64_t n, groups, rowBytes;
  std::vector<uint8_t> planes, scales, zeros;
};

std::vector<PackedLayout> allLayouts() {
  std::vector<PackedLayout> layouts;
  using Lane = PackedLayout::Lane;
  for (auto [lane, rows] : {std::pair{Lane::Dword, 16}, {Lane::Byte, 16}, {Lane::Byte, 32}, {Lane::Byte, 64}})
    for (int64_t bits = 1; bits <= 4; ++bits)
      for (int64_t group : {16, 32, 64, 128, 256, 416})
        for (auto params : {PackedLayout::Params::HLQ, PackedLayout::Params::Uniform, PackedLayout::Params::Symmetric,
                            PackedLayout::Params::Compact})
          for (int64_t paramBytes : {2, 4})
            layouts.push_back({lane, rows, bits, group, params, paramBytes});
  for (int64_t group : {16, 32, 128, 416})
    for (auto params : {PackedLayout::Params::Uniform, PackedLayout::Params::Symmetric})
      layouts.push_back({Lane::Dword, 16, 8, group, params, 2});
  return layouts;
}
} // namespace

TEST(PackingTest, UnpackingGivesTheOperandsBack) {
  for (const PackedLayout &layout : allLayouts()) {
    ASSERT_EQ(layout.verify(), nullptr);
    for (int64_t groups : {1, 3, 4}) {
      Matrix matrix(layout, layout.rows + 5, groups);
      std::vector<uint8_t> packed = matrix.packed();
      ASSERT_EQ(packed.size() % 64, 0u);
      int64_t scaleBytes = groups * layout.scalesPerGroup() * layout.paramBytes, zeroBytes = groups * layout.zerosPerGroup() * layout.zeroBytes();
      std::vector<uint8_t> planes(layout.numPlanes() * matrix.rowBytes), scales(scaleBytes), zeros(zeroBytes);
      for (int64_t row = 0; row < matrix.n; ++row) {
        unpackRow(layout, groups, packed.data(), row, planes.data(), scales.data(), zeros.data());
        for (int64_t j = 0; j < layout.numPlanes(); ++j)
          ASSERT_TRUE(std::equal(planes.begin() + j * matrix.rowBytes, planes.begin() + (j + 1) * matrix.rowBytes,
                                 matrix.planes.begin() + (j * matrix.n + row) * matrix.rowBytes));
        ASSERT_TRUE(std::equal(scales.begin(), scales.end(), matrix.scales.begin() + row * scaleBytes));
        ASSERT_TRUE(std::equal(zeros.begin(), zeros.end(), matrix.zeros.begin() + row * zeroBytes));
      }
    }
  }
}

// The words of the layout's description, read literally.
TEST(PackingTest, DwordLanesHoldNibblesOfNeighbours) {
  PackedLayout layout{PackedLayout::Lane::Dword, 16, 2, 64, PackedLayout::Params::HLQ, 2};
  Matrix matrix(layout, 16, 3);
  std::vector<uint8_t> packed = matrix.packed();
  EXPECT_EQ(layout.unitBytes(), 2 * 2 * 64 + 3 * 16 * 2);
  EXPECT_EQ(layout.rowBlockBytes(3), (3 * layout.unitBytes() + 63) / 64 * 64);
  for (int64_t group = 0; group < 3; ++group) {
    const uint8_t *unit = packed.data() + group * layout.unitBytes();
    for (int64_t j = 0; j < 2; ++j)
      for (int64_t step = 0; step < 2; ++step)
        for (int64_t r = 0; r < 16; ++r)
          for (int64_t b = 0; b < 4; ++b)
            for (int64_t bit = 0; bit < 8; ++bit) {
              int64_t column = 32 * step + 4 * b + (bit < 4 ? bit : 16 + bit - 4);
              ASSERT_EQ(unit[(j * 2 + step) * 64 + 4 * r + b] >> bit & 1, matrix.bit(j, r, group * 64 + column));
            }
    const uint8_t *params = unit + 256;
    for (int64_t r = 0; r < 16; ++r) {
      for (int64_t j = 0; j < 2; ++j)
        ASSERT_EQ(params[(j * 16 + r) * 2], matrix.scales[((r * 3 + group) * 2 + j) * 2]);
      ASSERT_EQ(params[(2 * 16 + r) * 2 + 1], matrix.zeros[(r * 3 + group) * 2 + 1]);
    }
  }
}

TEST(PackingTest, CompactParametersAreAScaleAndBytes) {
  PackedLayout layout{PackedLayout::Lane::Dword, 16, 3, 64, PackedLayout::Params::Compact, 2};
  Matrix matrix(layout, 20, 2);
  std::vector<uint8_t> packed = matrix.packed();
  EXPECT_EQ(layout.unitBytes(), 3 * 2 * 64 + 16 * 2 + 4 * 16);
  for (int64_t group = 0; group < 2; ++group)
    for (int64_t row = 0; row < 20; ++row) {
      const uint8_t *params = packed.data() + row / 16 * layout.rowBlockBytes(2) + group * layout.unitBytes() + 384;
      EXPECT_EQ(params[row % 16 * 2 + 1], matrix.scales[(row * 2 + group) * 2 + 1]);
      for (int64_t j = 0; j < 4; ++j)
        EXPECT_EQ(params[32 + j * 16 + row % 16], matrix.zeros[(row * 2 + group) * 4 + j]);
    }
  // 4.4375, 3.375 and 2.3125 bits per weight in groups of 128.
  for (int64_t bits : {4, 3, 2}) {
    PackedLayout wide{PackedLayout::Lane::Dword, 16, bits, 128, PackedLayout::Params::Compact, 2};
    EXPECT_EQ(wide.unitBytes() * 8, 16 * (128 * bits + 8 * (bits + 3)));
  }
}

TEST(PackingTest, ByteLanesHoldEightColumns) {
  PackedLayout layout{PackedLayout::Lane::Byte, 32, 3, 32, PackedLayout::Params::Uniform, 4};
  Matrix matrix(layout, 40, 2);
  std::vector<uint8_t> packed = matrix.packed();
  EXPECT_EQ(layout.unitBytes(), 3 * 4 * 32 + 2 * 32 * 4);
  for (int64_t row = 0; row < 64; ++row)
    for (int64_t j = 0; j < 3; ++j)
      for (int64_t column = 0; column < 64; ++column) {
        const uint8_t *unit =
            packed.data() + row / 32 * layout.rowBlockBytes(2) + column / 32 * layout.unitBytes();
        bool bit = unit[(j * 4 + column % 32 / 8) * 32 + row % 32] >> column % 8 & 1;
        ASSERT_EQ(bit, row < 40 && matrix.bit(j, row, column)); // padded rows are zero
      }
}

// Two groups of 16 share a step: planes of both, then parameters of the first, then of the second.
TEST(PackingTest, GroupsOf16ShareAStepOfDwords) {
  PackedLayout layout{PackedLayout::Lane::Dword, 16, 1, 16, PackedLayout::Params::Symmetric, 2};
  EXPECT_EQ(layout.unitColumns(), 32);
  EXPECT_EQ(layout.unitBytes(), 64 + 2 * 32);
  Matrix matrix(layout, 16, 3);
  std::vector<uint8_t> packed = matrix.packed();
  for (int64_t group = 0; group < 3; ++group)
    for (int64_t r = 0; r < 16; ++r)
      ASSERT_EQ(packed[group / 2 * 128 + 64 + group % 2 * 32 + 2 * r], matrix.scales[(r * 3 + group) * 2]);
  // The fourth group does not exist: no bit and no scale.
  for (int64_t r = 0; r < 16; ++r) {
    ASSERT_EQ(packed[128 + 4 * r] & 0xf0, 0);
    ASSERT_EQ(packed[128 + 64 + 32 + 2 * r], 0);
  }
}

TEST(PackingTest, StepsOfCodesHoldFourColumns) {
  PackedLayout layout{PackedLayout::Lane::Dword, 16, 8, 32, PackedLayout::Params::Uniform, 2};
  EXPECT_EQ(layout.unitColumns(), 32);
  EXPECT_EQ(layout.unitBytes(), 32 * 16 + 2 * 16 * 2);
  Matrix matrix(layout, 20, 3);
  std::vector<uint8_t> packed = matrix.packed();
  for (int64_t row = 0; row < 32; ++row)
    for (int64_t column = 0; column < 96; ++column) {
      const uint8_t *unit = packed.data() + row / 16 * layout.rowBlockBytes(3) + column / 32 * layout.unitBytes();
      uint8_t code = unit[column % 32 / 4 * 64 + 4 * (row % 16) + column % 4];
      ASSERT_EQ(code, row < 20 ? matrix.planes[row * 96 + column] : 0); // padded rows are zero
    }
  for (int64_t group = 0; group < 3; ++group)
    for (int64_t r = 0; r < 16; ++r) {
      const uint8_t *params = packed.data() + group * layout.unitBytes() + 32 * 16;
      ASSERT_EQ(params[2 * r], matrix.scales[(r * 3 + group) * 2]);
      ASSERT_EQ(params[2 * (16 + r)], matrix.zeros[(r * 3 + group) * 2]);
    }
}

TEST(PackingTest, ThreadsDoNotMatter) {
  PackedLayout layout;
  Matrix matrix(layout, 100, 5);
  EXPECT_EQ(matrix.packed(1), matrix.packed(3));
}

TEST(PackingTest, BadLayoutsAreNamed) {
  EXPECT_STREQ((PackedLayout{PackedLayout::Lane::Dword, 32}.verify()),
               "expected rows to be 16 with dword lanes, or 16, 32 or 64 with byte lanes");
  EXPECT_STREQ((PackedLayout{PackedLayout::Lane::Byte, 16, 5}.verify()), "expected bits to be 1 to 4 or 8");
  EXPECT_STREQ((PackedLayout{PackedLayout::Lane::Byte, 16, 8}.verify()), "expected dword lanes with 8 bits");
  EXPECT_STREQ((PackedLayout{PackedLayout::Lane::Dword, 16, 8}.verify()),
               "expected params to be uniform or symmetric with 8 bits");
  EXPECT_STREQ((PackedLayout{PackedLayout::Lane::Byte, 16, 4, 24}.verify()),
               "expected group_size to be 16 or a multiple of 32");
}
