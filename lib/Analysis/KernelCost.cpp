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
  /// The same for codes of 8 bits: the sums of 16 rows of weights take two (entries of 16 bits) times 16 lanes per row.
  int64_t maxDotRowTile;
};

} // namespace

static constexpr auto byteLane = quantize::PackedLayout::Lane::Byte;
static constexpr auto dwordLane = quantize::PackedLayout::Lane::Dword;

/// In the order of `KernelISA`.
static constexpr ISAProperties properties[] = {
    {"generic", byteLane, 16, 4, 1}, {"neon", byteLane, 16, 4, 1},     {"neon_dotprod", byteLane, 16, 4, 2},
    {"avx2", byteLane, 32, 4, 2},    {"avx512bw", byteLane, 64, 4, 4}, {"avx512vbmi", dwordLane, 16, 8, 8},
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

std::string_view getAlgorithm(int64_t bits) { return bits == 8 ? "dot" : "lut"; }

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

KernelTiles chooseTiles(KernelISA isa, const quantize::PackedLayout &layout, int64_t rows, int64_t n, int64_t groups) {
  // As few passes over the weights as possible, of about the same size.
  int64_t maxRowTile = layout.hasCodes() ? getProperties(isa).maxDotRowTile : getProperties(isa).maxRowTile;
  int64_t passes = std::max<int64_t>((rows + maxRowTile - 1) / maxRowTile, 1);
  int64_t mTile = std::max<int64_t>((rows + passes - 1) / passes, 1);

  int64_t blocks = layout.rowBlocks(n), blockBytes = layout.rowBlockBytes(groups);
  int64_t taskBytes = std::clamp(blocks * blockBytes / wantedTasks, minTaskBytes, maxTaskBytes);
  int64_t nTile = 1;
  for (int64_t candidate = 2; candidate <= blocks && candidate * blockBytes <= taskBytes; ++candidate)
    if (blocks % candidate == 0)
      nTile = candidate;
  // Rather above the wanted size than below the minimum.
  if (nTile * blockBytes < minTaskBytes)
    for (int64_t candidate = nTile + 1; candidate <= blocks && candidate * blockBytes <= maxTaskBytes; ++candidate)
      if (blocks % candidate == 0) {
        nTile = candidate;
        break;
      }
  return {mTile, nTile};
}

} // namespace elutq
