//===- KernelCostTest.cpp - Tests of the kernel choice --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Analysis/KernelCost.h"

#include <gtest/gtest.h>

using namespace elutq;

namespace {

const KernelISA allISAs[] = {KernelISA::Generic, KernelISA::NEON,     KernelISA::NEONDotprod,
                             KernelISA::AVX2,    KernelISA::AVX512BW, KernelISA::AVX512VBMI};

TEST(KernelCostTest, NamesRoundTrip) {
  for (KernelISA isa : allISAs)
    EXPECT_EQ(parseKernelISA(toString(isa)), isa);
  EXPECT_EQ(parseKernelISA("sse2"), std::nullopt);
}

TEST(KernelCostTest, LayoutsAreWellFormed) {
  for (KernelISA isa : allISAs)
    for (int64_t bits : {3, 8})
      for (int64_t groupSize : {16, 32, 128, 320})
        EXPECT_EQ(getLayout(isa, bits, groupSize).verify(), nullptr);
}

TEST(KernelCostTest, TableGroupDividesTheGroup) {
  EXPECT_EQ(getTableGroup(16), 16);
  EXPECT_EQ(getTableGroup(32), 32);
  EXPECT_EQ(getTableGroup(256), 128);
  EXPECT_EQ(getTableGroup(320), 64);
  EXPECT_EQ(getTableGroup(4128), 32);
}

// One row is decoded alone; more rows are cut into passes of about the same size.
TEST(KernelCostTest, RowTile) {
  auto layout = getLayout(KernelISA::AVX512VBMI, 4, 128);
  auto mTile = [&](int64_t rows) { return chooseTiles(KernelISA::AVX512VBMI, layout, rows, 640, 5).m; };
  EXPECT_EQ(mTile(1), 1);
  EXPECT_EQ(mTile(5), 5);
  EXPECT_EQ(mTile(9), 5);
  EXPECT_EQ(mTile(64), 8);
}

// Codes of 8 bits are multiplied, in fewer rows at once where registers are few.
TEST(KernelCostTest, Codes) {
  EXPECT_EQ(getAlgorithm(4), "lut");
  EXPECT_EQ(getAlgorithm(8), "dot");
  auto mTile = [&](KernelISA isa) { return chooseTiles(isa, getLayout(isa, 8, 128), 64, 640, 5).m; };
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI), 8);
  EXPECT_EQ(mTile(KernelISA::AVX2), 2);
}

// Every task has the same number of row blocks, and 8 to 64 KiB of weights where the matrix can be cut like that.
TEST(KernelCostTest, TasksHaveOneShapeAndAUsefulSize) {
  for (KernelISA isa : allISAs)
    for (int64_t n : {256, 640, 2048, 4096, 14336, 262144})
      for (int64_t bits : {2, 4, 8}) {
        auto layout = getLayout(isa, bits, 128);
        int64_t groups = 5, blocks = layout.rowBlocks(n);
        KernelTiles tiles = chooseTiles(isa, layout, 1, n, groups);
        ASSERT_GE(tiles.n, 1);
        EXPECT_EQ(blocks % tiles.n, 0) << n;
        int64_t bytes = tiles.n * layout.rowBlockBytes(groups);
        EXPECT_LE(bytes, 64 << 10) << n;
        if (blocks * layout.rowBlockBytes(groups) > (64 << 10)) {
          EXPECT_GE(bytes, 8 << 10) << toString(isa) << " " << n << " " << bits;
        }
      }
}

// A prime number of row blocks cannot be cut evenly: one block per task.
TEST(KernelCostTest, PrimeNumberOfBlocks) {
  auto layout = getLayout(KernelISA::AVX2, 4, 128);
  EXPECT_EQ(chooseTiles(KernelISA::AVX2, layout, 1, 32 * 1009, 32).n, 1);
}

} // namespace
