//===- KernelCost.cpp - Which kernel computes a product -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Analysis/KernelCost.h"

#include <algorithm>

namespace elutq {

namespace {

/// What the choice needs to know of an instruction set.
struct ISAProperties {
  std::string_view name;
  quantize::PackedLayout::Lane lane;
  /// Rows of weights in one vector.
  int64_t rows;
  /// Tables that fit into the registers that planes and sums leave free.
  int64_t maxRowTile;
  /// The same for stored codes of 8 bits: the sums of 16 rows of weights take two (entries of 16 bits) times 16 lanes per row.
  int64_t maxCodeRowTile;
  /// The same for codes made from planes: the sums of 16 rows of weights take 16 lanes per row.
  int64_t maxDotRowTile;
  /// Whether one instruction adds four products of bytes. Without it words are as fast, and more exact.
  bool hasByteDot;
  /// Cycles per 16 rows and 16 columns of weights: of the look-ups in one byte of the entries, per plane and row of
  /// activations; of making indices, per plane and pass; of the products with bytes and with words, per row of activations;
  /// and of making codes, per plane and byte of a code. Measured by `scripts/bench kernels` (docs/Performance.md).
  double lookup, index, byteDots, wordDots, expand;
};

} // namespace

static constexpr auto byteLane = quantize::PackedLayout::Lane::Byte;
static constexpr auto dwordLane = quantize::PackedLayout::Lane::Dword;

/// In the order of `KernelISA`.
static constexpr ISAProperties properties[] = {
    {"generic", byteLane, 16, 4, 1, 2, false, 40, 4, 64, 24, 12},
    {"neon", byteLane, 16, 4, 1, 4, false, 8, 2, 64, 16, 10},
    {"neon_dotprod", byteLane, 16, 4, 2, 4, true, 8, 2, 8, 16, 10},
    {"avx2", byteLane, 32, 4, 2, 4, false, 6, 1, 40, 9, 8},
    {"avx512bw", byteLane, 64, 4, 4, 8, false, 5, 1, 20, 9, 8},
    {"avx512vbmi", dwordLane, 16, 8, 8, 12, true, 1.2, 0.6, 4.2, 8.4, 7},
};

static const ISAProperties &getProperties(KernelISA isa) { return properties[static_cast<int>(isa)]; }

std::optional<KernelISA> parseKernelISA(std::string_view name) {
  for (const ISAProperties &isa : properties)
    if (isa.name == name)
      return static_cast<KernelISA>(&isa - properties);
  return std::nullopt;
}

std::string_view toString(KernelISA isa) { return getProperties(isa).name; }

quantize::PackedLayout getLayout(KernelISA isa, int64_t bits, int64_t groupSize) {
  quantize::PackedLayout layout;
  layout.bits = bits;
  layout.groupSize = groupSize;
  if (layout.hasCodes()) {
    layout.params = quantize::PackedLayout::Params::Uniform;
    return layout;
  }
  layout.lane = getProperties(isa).lane;
  layout.rows = getProperties(isa).rows;
  return layout;
}

std::optional<KernelAlgorithm> parseKernelAlgorithm(std::string_view name) {
  for (KernelAlgorithm algorithm : {KernelAlgorithm::Lut, KernelAlgorithm::Dot})
    if (toString(algorithm) == name)
      return algorithm;
  return std::nullopt;
}

std::string_view toString(KernelAlgorithm algorithm) { return algorithm == KernelAlgorithm::Lut ? "lut" : "dot"; }

int64_t getTableGroup(int64_t groupSize) {
  for (int64_t tableGroup : {128, 64, 32})
    if (groupSize % tableGroup == 0)
      return tableGroup;
  return 16;
}

/// The weights of a task: many times the cost of starting one, and small enough for tasks to be spread evenly.
static constexpr int64_t maxTaskBytes = 64 << 10;
/// Tasks of a product, if it can be cut into that many without going below `minTaskBytes`.
static constexpr int64_t wantedTasks = 64;
static constexpr int64_t minTaskBytes = 8 << 10;

/// As few passes of `maxTile` over `count` as possible, of about the same size.
static int64_t splitEvenly(int64_t count, int64_t maxTile) {
  int64_t passes = std::max<int64_t>((count + maxTile - 1) / maxTile, 1);
  return std::max<int64_t>((count + passes - 1) / passes, 1);
}

/// The largest row tile of an algorithm.
static int64_t getMaxRowTile(const ISAProperties &isa, KernelAlgorithm algorithm, bool hasCodes) {
  if (algorithm == KernelAlgorithm::Lut)
    return isa.maxRowTile;
  return hasCodes ? isa.maxCodeRowTile : isa.maxDotRowTile;
}

/// Bits of rounded activations that meet codes made from planes.
static int64_t getDotBits(const ISAProperties &isa, int64_t tableBits) { return isa.hasByteDot ? tableBits : 16; }

double estimateCycles(KernelISA isa, KernelAlgorithm algorithm, int64_t bits, int64_t tableBits, int64_t rows) {
  const ISAProperties &p = getProperties(isa);
  double m = rows, planes = bits;
  if (algorithm == KernelAlgorithm::Lut) {
    double passes = (rows + p.maxRowTile - 1) / p.maxRowTile;
    return planes * (tableBits / 8 * p.lookup * m + p.index * passes);
  }
  int64_t dotBits = getDotBits(p, tableBits);
  return planes * p.expand * dotBits / 8 + m * (dotBits == 16 ? p.wordDots : p.byteDots);
}

/// Row blocks of a task.
static int64_t chooseRowBlocks(const quantize::PackedLayout &layout, int64_t n, int64_t groups) {
  int64_t blocks = layout.rowBlocks(n), blockBytes = layout.rowBlockBytes(groups);
  int64_t taskBytes = std::clamp(blocks * blockBytes / wantedTasks, minTaskBytes, maxTaskBytes);
  int64_t nTile = 1;
  for (int64_t candidate = 2; candidate <= blocks && candidate * blockBytes <= taskBytes; ++candidate)
    if (blocks % candidate == 0)
      nTile = candidate;
  // Rather above the wanted size than below the minimum.
  if (nTile * blockBytes < minTaskBytes)
    for (int64_t candidate = nTile + 1; candidate <= blocks && candidate * blockBytes <= maxTaskBytes; ++candidate)
      if (blocks % candidate == 0)
        return candidate;
  return nTile;
}

KernelChoice chooseKernel(KernelISA isa, const quantize::PackedLayout &layout, const ProductShape &shape,
                          int64_t tableBits, std::optional<KernelAlgorithm> algorithm) {
  const ISAProperties &p = getProperties(isa);
  auto estimate = [&](KernelAlgorithm algorithm) {
    return estimateCycles(isa, algorithm, layout.bits, tableBits, shape.rows);
  };
  KernelChoice choice;
  if (layout.hasCodes())
    choice.algorithm = KernelAlgorithm::Dot;
  else if (algorithm)
    choice.algorithm = *algorithm;
  else
    choice.algorithm = estimate(KernelAlgorithm::Dot) < estimate(KernelAlgorithm::Lut) ? KernelAlgorithm::Dot
                                                                                        : KernelAlgorithm::Lut;
  bool makesCodes = choice.algorithm == KernelAlgorithm::Dot && !layout.hasCodes();
  choice.tableBits = makesCodes ? getDotBits(p, tableBits) : tableBits;
  choice.mTile = splitEvenly(shape.rows, getMaxRowTile(p, choice.algorithm, layout.hasCodes()));
  choice.nTile = chooseRowBlocks(layout, shape.n, shape.groups);
  return choice;
}

} // namespace elutq
