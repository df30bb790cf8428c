//===- KernelCostTest.cpp - Tests of the kernel choice --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Analysis/KernelCost.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace elutq;

namespace {

const KernelISA allISAs[] = {KernelISA::Generic, KernelISA::NEON,     KernelISA::NEONDotprod,
                             KernelISA::AVX2,    KernelISA::AVX512BW, KernelISA::AVX512VBMI, KernelISA::AVX512AMX};

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

KernelChoice choose(KernelISA isa, int64_t bits, int64_t rows, int64_t tableBits = 16, int64_t n = 640, int64_t groups = 5) {
  return chooseKernel(isa, getLayout(isa, bits, 128), {rows, n, groups}, tableBits);
}

TEST(KernelCostTest, AlgorithmNamesRoundTrip) {
  for (KernelAlgorithm algorithm : {KernelAlgorithm::Lut, KernelAlgorithm::Dot})
    EXPECT_EQ(parseKernelAlgorithm(toString(algorithm)), algorithm);
  EXPECT_EQ(parseKernelAlgorithm("auto"), std::nullopt);
}

// One row is decoded alone; more rows are cut into passes of about the same size.
TEST(KernelCostTest, RowTile) {
  auto mTile = [&](int64_t rows) { return choose(KernelISA::AVX512VBMI, 2, rows, 8).mTile; };
  EXPECT_EQ(mTile(1), 1);
  EXPECT_EQ(mTile(5), 5);
  EXPECT_EQ(mTile(9), 5);
  EXPECT_EQ(mTile(64), 8);
}

// Dword lanes sum all planes at once: registers hold 24 sums of 16 rows, so more planes or wider entries leave fewer rows.
TEST(KernelCostTest, RowTileOfPlanes) {
  auto mTile = [&](KernelISA isa, int64_t bits, int64_t tableBits) {
    return chooseKernel(isa, getLayout(isa, bits, 128), {32, 640, 5}, tableBits, KernelAlgorithm::Lut).mTile;
  };
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI, 1, 8), 8);
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI, 2, 8), 8);
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI, 3, 8), 8);
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI, 4, 8), 6);
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI, 2, 16), 4);
  EXPECT_EQ(mTile(KernelISA::AVX512VBMI, 4, 16), 4);
  EXPECT_EQ(mTile(KernelISA::AVX512BW, 2, 8), 4);
}

// Making codes costs as much as many look-ups, where an instruction does these: only many rows share that. The more planes,
// the fewer rows.
TEST(KernelCostTest, ProductsForManyRows) {
  for (KernelISA isa : allISAs)
    for (int64_t bits : {1, 2, 3, 4})
      EXPECT_EQ(choose(isa, bits, 1).algorithm, isa == KernelISA::Generic && bits > 1 ? KernelAlgorithm::Dot : KernelAlgorithm::Lut)
          << toString(isa) << " " << bits;
  // Even where few rows of weights share the tables of one row of activations.
  for (KernelISA isa : allISAs)
    if (isa != KernelISA::Generic)
      EXPECT_EQ(choose(isa, 4, 1, 16, 20).algorithm, KernelAlgorithm::Lut) << toString(isa);
  auto firstRows = [&](KernelISA isa, int64_t bits, int64_t tableBits) -> int64_t {
    for (int64_t rows = 1; rows <= 512; ++rows)
      if (choose(isa, bits, rows, tableBits, 4096, 32).algorithm == KernelAlgorithm::Dot)
        return rows;
    return 513;
  };
  for (KernelISA isa : {KernelISA::AVX2, KernelISA::AVX512VBMI})
    for (int64_t bits : {2, 3})
      EXPECT_LE(firstRows(isa, bits + 1, 16), firstRows(isa, bits, 16)) << toString(isa) << " " << bits;
  // Measured: look-ups are faster for two planes at any number of rows; products of three planes of bytes from about 10 rows
  // on, of four planes of words from 8.
  EXPECT_EQ(firstRows(KernelISA::AVX512VBMI, 2, 8), 513);
  EXPECT_NEAR(firstRows(KernelISA::AVX512VBMI, 3, 8), 9, 3);
  EXPECT_EQ(firstRows(KernelISA::AVX512VBMI, 2, 16), 513);
  EXPECT_NEAR(firstRows(KernelISA::AVX512VBMI, 4, 16), 8, 2);
  // Tiles take over early, and with two planes, too.
  for (int64_t bits : {2, 3, 4})
    for (int64_t tableBits : {8, 16})
      EXPECT_NEAR(firstRows(KernelISA::AVX512AMX, bits, tableBits), 8, 4) << bits << " " << tableBits;
  // With AVX2, where products are those of words, entries of 8 bits are looked up faster for three planes at any number of rows.
  EXPECT_EQ(firstRows(KernelISA::AVX2, 3, 8), 513);
  EXPECT_NEAR(firstRows(KernelISA::AVX2, 4, 8), 45, 6);
  EXPECT_NEAR(firstRows(KernelISA::AVX2, 4, 16), 7, 2);
}

// A group's code words are made once for all rows: the more groups, the more rows have to share them. Measured with tiles: at groups of 32, look-ups
// are faster up to 16 rows for two planes, and four rows for four.
TEST(KernelCostTest, SmallGroups) {
  auto algorithm = [](KernelISA isa, int64_t bits, int64_t rows, int64_t groupSize) {
    return chooseKernel(isa, getLayout(isa, bits, groupSize), {rows, 4096, 4096 / groupSize}, 8).algorithm;
  };
  for (int64_t bits : {2, 3, 4})
    EXPECT_EQ(algorithm(KernelISA::AVX512AMX, bits, 4, 32), KernelAlgorithm::Lut) << bits;
  EXPECT_EQ(algorithm(KernelISA::AVX512AMX, 2, 16, 32), KernelAlgorithm::Lut);
  EXPECT_EQ(algorithm(KernelISA::AVX512AMX, 2, 16, 128), KernelAlgorithm::Dot);
  EXPECT_EQ(algorithm(KernelISA::AVX512AMX, 4, 16, 32), KernelAlgorithm::Dot);
  // With AVX2, groups of 32 make look-ups of many rows dearer than products of words.
  EXPECT_EQ(algorithm(KernelISA::AVX2, 4, 32, 128), KernelAlgorithm::Lut);
  EXPECT_EQ(algorithm(KernelISA::AVX2, 4, 32, 32), KernelAlgorithm::Dot);
}

// A choice stays: with more rows nobody goes back to look-ups.
TEST(KernelCostTest, TheChoiceIsMonotonic) {
  for (KernelISA isa : allISAs)
    for (int64_t bits : {1, 2, 3, 4})
      for (int64_t tableBits : {8, 16}) {
        bool wasDot = false;
        for (int64_t rows = 8; rows <= 512; rows *= 2) {
          bool isDot = choose(isa, bits, rows, tableBits).algorithm == KernelAlgorithm::Dot;
          EXPECT_TRUE(isDot || !wasDot) << toString(isa) << " " << bits << " " << tableBits << " " << rows;
          wasDot = isDot;
        }
      }
}

// What the caller wants is obeyed, except for codes, which no look-up reads.
TEST(KernelCostTest, GivenAlgorithm) {
  auto given = [&](int64_t bits, int64_t rows, KernelAlgorithm algorithm) {
    KernelISA isa = KernelISA::AVX512VBMI;
    return chooseKernel(isa, getLayout(isa, bits, 128), {rows, 640, 5}, 8, algorithm).algorithm;
  };
  EXPECT_EQ(given(4, 1, KernelAlgorithm::Dot), KernelAlgorithm::Dot);
  EXPECT_EQ(given(4, 512, KernelAlgorithm::Lut), KernelAlgorithm::Lut);
  EXPECT_EQ(given(8, 1, KernelAlgorithm::Lut), KernelAlgorithm::Dot);
}

// Without an instruction for products of bytes, words are as fast.
TEST(KernelCostTest, WidthOfEntries) {
  auto tableBits = [&](KernelISA isa, KernelAlgorithm algorithm, int64_t bits) {
    return chooseKernel(isa, getLayout(isa, bits, 128), {64, 640, 5}, 8, algorithm).tableBits;
  };
  EXPECT_EQ(tableBits(KernelISA::AVX512VBMI, KernelAlgorithm::Dot, 4), 8);
  EXPECT_EQ(tableBits(KernelISA::AVX2, KernelAlgorithm::Dot, 4), 16);
  EXPECT_EQ(tableBits(KernelISA::AVX2, KernelAlgorithm::Dot, 8), 8);
  EXPECT_EQ(tableBits(KernelISA::AVX2, KernelAlgorithm::Lut, 4), 8);
}

// Tiles multiply one byte of compact codes where those of other planes have two.
TEST(KernelCostTest, CompactCodes) {
  auto estimate = [](KernelISA isa, quantize::PackedLayout::Params params, KernelAlgorithm algorithm, int64_t tableBits) {
    quantize::PackedLayout layout = getLayout(isa, 4, 128);
    layout.params = params;
    return estimateCycles(isa, algorithm, layout, tableBits, {64, 4096, 32});
  };
  for (KernelISA isa : {KernelISA::AVX2, KernelISA::AVX512VBMI, KernelISA::AVX512AMX})
    for (KernelAlgorithm algorithm : {KernelAlgorithm::Lut, KernelAlgorithm::Dot})
      for (int64_t tableBits : {8, 16}) {
        double compact = estimate(isa, quantize::PackedLayout::Params::Compact, algorithm, tableBits);
        double free = estimate(isa, quantize::PackedLayout::Params::HLQ, algorithm, tableBits);
        if (isa == KernelISA::AVX512AMX && algorithm == KernelAlgorithm::Dot && tableBits == 16)
          EXPECT_LT(compact, 0.8 * free);
        else
          EXPECT_EQ(compact, free);
      }
}

// Codes of 8 bits are multiplied, in fewer rows at once where registers are few.
TEST(KernelCostTest, Codes) {
  EXPECT_EQ(choose(KernelISA::AVX512VBMI, 8, 1).algorithm, KernelAlgorithm::Dot);
  EXPECT_EQ(choose(KernelISA::AVX512VBMI, 8, 64).mTile, 8);
  EXPECT_EQ(choose(KernelISA::AVX2, 8, 64).mTile, 2);
}

// Every task has the same number of row blocks, and 8 to 32 KiB of weights where the matrix can be cut like that.
TEST(KernelCostTest, TasksHaveOneShapeAndAUsefulSize) {
  for (KernelISA isa : allISAs)
    for (int64_t n : {256, 640, 2048, 4096, 14336, 262144})
      for (int64_t bits : {2, 4, 8}) {
        auto layout = getLayout(isa, bits, 128);
        int64_t groups = 5, blocks = layout.rowBlocks(n);
        int64_t nTile = chooseKernel(isa, layout, {1, n, groups}, 16).nTile;
        ASSERT_GE(nTile, 1);
        EXPECT_EQ(blocks % nTile, 0) << n;
        int64_t bytes = nTile * layout.rowBlockBytes(groups);
        EXPECT_LE(bytes, 32 << 10) << n;
        if (blocks * layout.rowBlockBytes(groups) > (32 << 10)) {
          EXPECT_GE(bytes, 8 << 10) << toString(isa) << " " << n << " " << bits;
        }
      }
}

// Tasks of many rows take more weights, but leave some for every thread.
TEST(KernelCostTest, TasksOfManyRows) {
  KernelISA isa = KernelISA::AVX512VBMI;
  auto layout = getLayout(isa, 4, 128);
  for (int64_t n : {640, 2048, 4096, 14336}) {
    int64_t few = chooseKernel(isa, layout, {1, n, 32}, 16).nTile, many = chooseKernel(isa, layout, {64, n, 32}, 16).nTile;
    EXPECT_GE(many, few) << n;
    EXPECT_GE(layout.rowBlocks(n) / many, 8) << n;
  }
}

// Tables of very many rows are read anew by every task: few tasks, which elutq-tile-parallel cuts by rows of activations. Rounded activations
// are a quarter of the bytes.
TEST(KernelCostTest, TasksOfVeryManyRows) {
  for (KernelISA isa : {KernelISA::AVX2, KernelISA::AVX512VBMI}) {
    auto layout = getLayout(isa, 2, 128);
    auto tasks = [&](int64_t rows, int64_t n, KernelAlgorithm algorithm) {
      return layout.rowBlocks(n) / chooseKernel(isa, layout, {rows, n, 32}, 8, algorithm).nTile;
    };
    for (int64_t n : {640, 4096, 14336}) {
      EXPECT_GE(tasks(2 * kTaskRows - 1, n, KernelAlgorithm::Lut), 10) << n;
      EXPECT_LE(tasks(2 * kTaskRows, n, KernelAlgorithm::Lut), 7) << n;
      EXPECT_GE(tasks(2 * kTaskRows, n, KernelAlgorithm::Dot), 10) << n;
    }
    // 4 MiB of weights at most.
    int64_t nTile = chooseKernel(isa, layout, {512, 262144, 32}, 8, KernelAlgorithm::Lut).nTile;
    EXPECT_LE(nTile * layout.rowBlockBytes(32), 4 << 20);
  }
}

// Tiles take twice as many weights with so many rows, of which elutq-tile-parallel gives each task 256.
TEST(KernelCostTest, TasksOfVeryManyRowsByTiles) {
  auto layout = getLayout(KernelISA::AVX512AMX, 2, 128);
  auto tasks = [&](int64_t rows, int64_t n) {
    KernelChoice choice = chooseKernel(KernelISA::AVX512AMX, layout, {rows, n, 32}, 8);
    EXPECT_EQ(choice.algorithm, KernelAlgorithm::Dot);
    return layout.rowBlocks(n) / choice.nTile;
  };
  for (int64_t n : {4096, 14336}) {
    EXPECT_GE(tasks(2 * kTaskRows - 1, n), 16) << n;
    EXPECT_EQ(tasks(2 * kTaskRows, n), 8) << n;
  }
  // Codes of 8 bits are multiplied without tiles.
  auto codes = getLayout(KernelISA::AVX512AMX, 8, 128);
  EXPECT_GE(codes.rowBlocks(4096) / chooseKernel(KernelISA::AVX512AMX, codes, {2 * kTaskRows, 4096, 32}, 8).nTile, 16);
  // 4 MiB of weights at most.
  EXPECT_LE(layout.rowBlocks(262144) / tasks(512, 262144) * layout.rowBlockBytes(32), 4 << 20);
}

// Where blocks cannot be cut evenly, one task takes them all only if they are few.
TEST(KernelCostTest, FewBlocks) {
  KernelISA isa = KernelISA::AVX512VBMI;
  auto layout = getLayout(isa, 2, 128);
  EXPECT_EQ(layout.rowBlocks(203), 13);
  EXPECT_EQ(chooseKernel(isa, layout, {1, 203, 8}, 8).nTile, 1);
  EXPECT_EQ(chooseKernel(isa, layout, {128, 203, 8}, 8).nTile, 1);
  EXPECT_EQ(chooseKernel(isa, layout, {1, 203, 1}, 8).nTile, 13);
}

// Tables have many times the entries of rounded activations: few rows of weights do not pay for those of 16 bits.
TEST(KernelCostTest, FewRowsOfWeights) {
  auto algorithm = [&](int64_t rows, int64_t n) { return choose(KernelISA::AVX512VBMI, 2, rows, 16, n, 8).algorithm; };
  for (int64_t rows : {8, 128}) {
    EXPECT_EQ(algorithm(rows, 4096), KernelAlgorithm::Lut) << rows;
    EXPECT_EQ(algorithm(rows, 203), KernelAlgorithm::Dot) << rows;
  }
  EXPECT_EQ(algorithm(1, 203), KernelAlgorithm::Lut);
}

// A prime number of row blocks cannot be cut evenly: one block per task.
TEST(KernelCostTest, PrimeNumberOfBlocks) {
  auto layout = getLayout(KernelISA::AVX2, 4, 128);
  EXPECT_EQ(chooseKernel(KernelISA::AVX2, layout, {1, 32 * 1009, 32}, 16).nTile, 1);
}

// What is worth timing starts with the model's choice, fits the product, and respects a given algorithm.
TEST(KernelCostTest, KernelsToTime) {
  for (KernelISA isa : allISAs)
    for (int64_t bits : {2, 4, 8})
      for (int64_t rows : {1, 5, 64})
        for (int64_t n : {203, 4096}) {
          auto layout = getLayout(isa, bits, 128);
          ProductShape shape{rows, n, 5};
          std::vector<KernelChoice> kernels = listKernels(isa, layout, shape, 8);
          EXPECT_EQ(kernels.front(), chooseKernel(isa, layout, shape, 8));
          EXPECT_GT(kernels.size(), 1u);
          EXPECT_LE(kernels.size(), 12u);
          for (const KernelChoice &kernel : kernels) {
            EXPECT_EQ(std::count(kernels.begin(), kernels.end(), kernel), 1);
            EXPECT_GE(kernel.mTile, 1);
            EXPECT_LE(kernel.mTile, rows);
            if (isa == KernelISA::AVX512AMX && kernel.algorithm == KernelAlgorithm::Dot)
              EXPECT_LE(kernel.mTile, 16);
            EXPECT_EQ(layout.rowBlocks(n) % kernel.nTile, 0);
          }
          for (const KernelChoice &kernel : listKernels(isa, layout, shape, 8, KernelAlgorithm::Lut))
            EXPECT_EQ(kernel.algorithm, bits == 8 ? KernelAlgorithm::Dot : KernelAlgorithm::Lut);
        }
  // Neither algorithm is out of question for a chunk of prefill at 4 bits.
  KernelISA isa = KernelISA::AVX512VBMI;
  std::vector<KernelChoice> kernels = listKernels(isa, getLayout(isa, 4, 128), {64, 4096, 32}, 16);
  for (KernelAlgorithm algorithm : {KernelAlgorithm::Lut, KernelAlgorithm::Dot})
    EXPECT_TRUE(std::any_of(kernels.begin(), kernels.end(), [&](const KernelChoice &k) { return k.algorithm == algorithm; }));
}

} // namespace
