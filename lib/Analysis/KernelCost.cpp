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
  /// Rows of activations that share one pass over the weights: tables of 8 and of 16 bits that fit into the registers that
  /// planes and sums leave free, and into the first-level cache. Where dword lanes have many planes, fewer.
  int64_t maxRowTile, maxWideRowTile;
  /// The same for stored codes of 8 bits: the sums of 16 rows of weights take two (entries of 16 bits) times 16 lanes per row.
  int64_t maxCodeRowTile;
  /// The same for codes made from planes: the sums of 16 rows of weights take 16 lanes per row. A tile has no more.
  int64_t maxDotRowTile;
  /// Whether one instruction adds four products of bytes. Without it words are as fast, and more exact.
  bool hasByteDot;
  /// Cycles per 16 rows and 16 columns of weights. `lookup`: of the look-ups in one byte of the entries, per plane and row of
  /// activations. `index`: of making indices, per plane and pass. `byteDots`, `wordDots`: of the products, per row of
  /// activations. `expand`, `expandPlane`: of making codes, and per plane, for each byte of a code. Measured on a Zen 4 at
  /// 3.7 GHz by elutq-bench-kernels (docs/Performance-Zen4.md), those of tiles on an Intel Xeon, in proportion to its look-ups; those of NEON are estimates by
  /// the number of instructions. Generic
  /// code has no instruction for look-ups, and multiplies even one row.
  double lookup, index, byteDots, wordDots, expand, expandPlane;
  /// Cycles per row of activations and 16 columns, shared by all rows of weights: making tables of 8 and of 16 bits, and
  /// rounding activations. A table has four times the entries.
  double narrowTables, wideTables, rounding;
  /// Cycles per plane that look-ups wait for memory, where making codes does not: once for all rows of activations.
  double wait;
  /// Cycles per 16 rows of weights and group: of offset and scale of a plane's sum in look-ups, per plane and row of activations; of making
  /// a group's code words, per byte of a code; of offset and scale of the sums of products, per row of activations. What groups of 128 take of
  /// it is in the numbers above. Measured on an Intel Xeon with AMX, those of NEON and of generic code are estimates.
  double lookupGroup, codeGroup, dotGroup;
};

} // namespace

static constexpr auto byteLane = quantize::PackedLayout::Lane::Byte;
static constexpr auto dwordLane = quantize::PackedLayout::Lane::Dword;

/// In the order of `KernelISA`.
static constexpr ISAProperties properties[] = {
    {"generic", byteLane, 16, 4, 4, 1, 2, false, 180, 20, 120, 115, 225, 0, 80, 160, 40, 0, 60, 200, 60},
    {"neon", byteLane, 16, 4, 4, 1, 4, false, 7, 2, 64, 24, 0, 30, 80, 240, 40, 0, 12, 60, 12},
    {"neon_dotprod", byteLane, 16, 4, 4, 2, 4, true, 7, 2, 9, 24, 0, 30, 80, 240, 40, 0, 12, 60, 12},
    {"avx2", byteLane, 32, 4, 4, 2, 4, false, 3.3, 1.1, 40, 11.5, 0, 15.6, 40, 120, 25, 0, 6.5, 18, 6},
    {"avx512bw", byteLane, 64, 4, 4, 4, 8, false, 4, 0.5, 30, 13.5, 10, 4, 20, 80, 15, 0, 5, 15, 5},
    {"avx512vbmi", dwordLane, 16, 8, 4, 8, 8, true, 1.75, 1, 4.2, 9, 1, 5.8, 32, 80, 8, 2, 2.3, 45, 2.7},
    {"avx512amx", dwordLane, 16, 8, 4, 8, 16, true, 1.75, 1, 1.7, 4, 1, 11.5, 32, 80, 8, 4.5, 3.2, 80, 6},
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

namespace {

/// How a product is cut into tasks: into `tasks`, if that leaves each of them at least `minBytes` of weights, and never into
/// ones of more than `maxBytes`.
struct TaskLimits {
  int64_t tasks, minBytes, maxBytes;
};

} // namespace

/// Few rows of activations: many times the cost of starting a task, and small enough for tasks to be spread evenly.
static constexpr TaskLimits narrowTasks = {64, 8 << 10, 32 << 10};
/// Many rows: a byte of weights is more work, and a task reads what is known of all rows.
static constexpr TaskLimits wideTasks = {16, 1 << 10, 1 << 20};
/// Rows of activations from which a task takes more weights.
static constexpr int64_t wideRows = 16;
/// Look-ups of so many rows of activations that their tables lie beyond the second-level cache, where each task reads them anew:
/// as few tasks as may be, which elutq-tile-parallel cuts by rows of activations as well (docs/Rationale.md).
static constexpr TaskLimits tallTasks = {4, 1 << 10, 4 << 20};
/// As many rows multiplied by tiles (AMX): entries and sums of fewer rows stay in the second-level cache.
static constexpr TaskLimits tallTileTasks = {8, 1 << 10, 4 << 20};

/// As few passes of `maxTile` over `count` as possible, of about the same size.
static int64_t splitEvenly(int64_t count, int64_t maxTile) {
  int64_t passes = std::max<int64_t>((count + maxTile - 1) / maxTile, 1);
  return std::max<int64_t>((count + passes - 1) / passes, 1);
}

/// Rows of activations with dword lanes that are taken at once whatever the number of planes.
static constexpr int64_t minDwordRows = 4;

/// The largest row tile of an algorithm; `bits` of a weight.
static int64_t getMaxRowTile(const ISAProperties &isa, KernelAlgorithm algorithm, int64_t bits, int64_t tableBits) {
  if (algorithm == KernelAlgorithm::Lut) {
    int64_t tile = tableBits == 8 ? isa.maxRowTile : isa.maxWideRowTile;
    if (isa.lane != dwordLane)
      return tile;
    return std::min(tile, std::max(kDwordSums / (bits * tableBits / 8), minDwordRows));
  }
  return bits == 8 ? isa.maxCodeRowTile : isa.maxDotRowTile;
}

/// Bits of rounded activations that meet codes made from planes.
static int64_t getDotBits(const ISAProperties &isa, int64_t tableBits) { return isa.hasByteDot ? tableBits : 16; }

double estimateCycles(KernelISA isa, KernelAlgorithm algorithm, const quantize::PackedLayout &layout, int64_t tableBits, const ProductShape &shape) {
  const ISAProperties &p = getProperties(isa);
  double m = shape.rows, planes = layout.bits;
  // Groups in 16 columns, beyond those of 128.
  double groups = 16.0 / static_cast<double>(std::max<int64_t>(layout.groupSize, 16)) - 16.0 / 128;
  // What 16 rows of weights have to bear of what all share.
  double entries = m * 16 / shape.n;
  if (algorithm == KernelAlgorithm::Lut) {
    int64_t tile = getMaxRowTile(p, algorithm, layout.bits, tableBits), passes = (shape.rows + tile - 1) / tile;
    // Byte lanes pass over the planes for each byte of the entries.
    int64_t parts = tableBits / 8, readings = p.lane == byteLane ? parts : 1;
    return planes * (parts * p.lookup * m + readings * p.index * passes + p.wait + groups * p.lookupGroup * m) +
           entries * (parts == 1 ? p.narrowTables : p.wideTables);
  }
  int64_t dotBits = getDotBits(p, tableBits);
  double codeBytes = dotBits / 8, dots = dotBits == 16 ? p.wordDots : p.byteDots;
  if (isa == KernelISA::AVX512AMX && dotBits == 16 && layout.params == quantize::PackedLayout::Params::Compact) {
    // Tiles multiply the bytes of words one by one, and compact codes have one: two products of bytes in place of four.
    codeBytes = 1;
    dots = (p.byteDots + p.wordDots) / 2;
  }
  return codeBytes * (p.expand + planes * p.expandPlane + groups * p.codeGroup) + m * (dots + groups * p.dotGroup) + entries * p.rounding;
}

/// Whether codes made from planes are multiplied by tiles.
static bool usesTiles(KernelISA isa, KernelAlgorithm algorithm, const quantize::PackedLayout &layout) {
  return isa == KernelISA::AVX512AMX && algorithm == KernelAlgorithm::Dot && !layout.hasCodes();
}

static const TaskLimits &getTaskLimits(KernelISA isa, KernelAlgorithm algorithm, const quantize::PackedLayout &layout, int64_t rows) {
  if (rows >= 2 * kTaskRows && algorithm == KernelAlgorithm::Lut)
    return tallTasks;
  if (rows >= 2 * kTaskRows && usesTiles(isa, algorithm, layout))
    return tallTileTasks;
  return rows >= wideRows ? wideTasks : narrowTasks;
}

/// Row blocks of a task.
static int64_t chooseRowBlocks(KernelISA isa, KernelAlgorithm algorithm, const quantize::PackedLayout &layout, const ProductShape &shape) {
  const TaskLimits &limits = getTaskLimits(isa, algorithm, layout, shape.rows);
  int64_t blocks = layout.rowBlocks(shape.n), blockBytes = layout.rowBlockBytes(shape.groups);
  int64_t taskBytes = std::clamp(blocks * blockBytes / limits.tasks, limits.minBytes, limits.maxBytes);
  int64_t nTile = 1;
  for (int64_t candidate = 2; candidate <= blocks && candidate * blockBytes <= taskBytes; ++candidate)
    if (blocks % candidate == 0)
      nTile = candidate;
  // Rather above the wanted size than below the minimum.
  if (nTile * blockBytes < limits.minBytes)
    for (int64_t candidate = nTile + 1; candidate <= blocks && candidate * blockBytes <= limits.maxBytes; ++candidate)
      if (blocks % candidate == 0)
        return candidate;
  return nTile;
}

KernelChoice chooseKernel(KernelISA isa, const quantize::PackedLayout &layout, const ProductShape &shape,
                          int64_t tableBits, std::optional<KernelAlgorithm> algorithm) {
  const ISAProperties &p = getProperties(isa);
  auto estimate = [&](KernelAlgorithm algorithm) {
    return estimateCycles(isa, algorithm, layout, tableBits, shape);
  };
  KernelChoice choice;
  if (layout.hasCodes())
    choice.algorithm = KernelAlgorithm::Dot;
  else if (algorithm)
    choice.algorithm = *algorithm;
  else if (shape.rows == 1 && isa != KernelISA::Generic)
    // Small products of one row may be as fast with codes, but decoding gives the same bits on all of these.
    choice.algorithm = KernelAlgorithm::Lut;
  else
    choice.algorithm = estimate(KernelAlgorithm::Dot) < estimate(KernelAlgorithm::Lut) ? KernelAlgorithm::Dot
                                                                                        : KernelAlgorithm::Lut;
  bool makesCodes = choice.algorithm == KernelAlgorithm::Dot && !layout.hasCodes();
  choice.tableBits = makesCodes ? getDotBits(p, tableBits) : tableBits;
  choice.mTile = splitEvenly(shape.rows, getMaxRowTile(p, choice.algorithm, layout.bits, choice.tableBits));
  choice.nTile = chooseRowBlocks(isa, choice.algorithm, layout, shape);
  return choice;
}

/// An algorithm is worth timing up to this multiple of the other one's estimate.
static constexpr double hopelessCost = 2.5;

/// Divisors of `blocks` next to half, twice and four times `nTile`.
static std::vector<int64_t> getNearTiles(int64_t blocks, int64_t nTile) {
  auto divisorFrom = [&](int64_t tile, int64_t step) {
    while (tile >= 1 && tile <= blocks && blocks % tile != 0)
      tile += step;
    return tile;
  };
  std::vector<int64_t> tiles = {divisorFrom(nTile / 2, -1), divisorFrom(2 * nTile, 1), divisorFrom(4 * nTile, 1)};
  tiles.erase(std::remove_if(tiles.begin(), tiles.end(), [&](int64_t tile) { return tile < 1 || tile > blocks; }), tiles.end());
  return tiles;
}

std::vector<KernelChoice> listKernels(KernelISA isa, const quantize::PackedLayout &layout, const ProductShape &shape,
                                      int64_t tableBits, std::optional<KernelAlgorithm> algorithm) {
  KernelChoice model = chooseKernel(isa, layout, shape, tableBits, algorithm);
  std::vector<KernelChoice> result;
  auto add = [&](const KernelChoice &choice) {
    if (std::find(result.begin(), result.end(), choice) == result.end())
      result.push_back(choice);
  };
  auto addNear = [&](KernelChoice base) {
    add(base);
    int64_t limit = usesTiles(isa, base.algorithm, layout) ? std::min(shape.rows, getProperties(isa).maxDotRowTile) : shape.rows;
    for (int64_t maxTile : {base.mTile / 2, 2 * base.mTile}) {
      KernelChoice choice = base;
      choice.mTile = splitEvenly(shape.rows, std::clamp<int64_t>(maxTile, 1, limit));
      add(choice);
    }
    for (int64_t nTile : getNearTiles(layout.rowBlocks(shape.n), base.nTile)) {
      KernelChoice choice = base;
      choice.nTile = nTile;
      add(choice);
    }
  };
  addNear(model);
  if (algorithm || layout.hasCodes())
    return result;
  KernelAlgorithm other = model.algorithm == KernelAlgorithm::Lut ? KernelAlgorithm::Dot : KernelAlgorithm::Lut;
  if (estimateCycles(isa, other, layout, tableBits, shape) <=
      hopelessCost * estimateCycles(isa, model.algorithm, layout, tableBits, shape))
    addNear(chooseKernel(isa, layout, shape, tableBits, other));
  return result;
}

} // namespace elutq
