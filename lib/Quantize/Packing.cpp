//===- Packing.cpp - Packed planes in memory ------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Packing.h"
#include "Parallel.h"

#include <cstring>

using namespace elutq::quantize;

const char *PackedLayout::verify() const {
  if ((bits < 1 || bits > 4) && bits != 8)
    return "expected bits to be 1 to 4 or 8";
  if (hasCodes() && lane != Lane::Dword)
    return "expected dword lanes with 8 bits";
  if (hasCodes() && params != Params::Uniform && params != Params::Symmetric)
    return "expected params to be uniform or symmetric with 8 bits";
  if (lane == Lane::Dword ? rows != 16 : rows != 16 && rows != 32 && rows != 64)
    return "expected rows to be 16 with dword lanes, or 16, 32 or 64 with byte lanes";
  if (groupSize != 16 && (groupSize <= 0 || groupSize % 32 != 0))
    return "expected group_size to be 16 or a multiple of 32";
  if (paramBytes != 2 && paramBytes != 4)
    return "expected param_type to be f16 or f32";
  return nullptr;
}

/// Four nibbles to the low halves of four bytes.
static uint32_t spreadNibbles(uint32_t x) {
  x = (x | x << 8) & 0x00ff00ffu;
  return (x | x << 4) & 0x0f0f0f0fu;
}

/// The inverse of `spreadNibbles`, ignoring the high halves.
static uint32_t gatherNibbles(uint32_t x) {
  x &= 0x0f0f0f0fu;
  x = (x | x >> 4) & 0x00ff00ffu;
  return (x | x >> 8) & 0xffffu;
}

/// Plane bytes are little endian whatever the machine.
static uint32_t readWord(const uint8_t *bytes) {
  return bytes[0] | static_cast<uint32_t>(bytes[1]) << 8 | static_cast<uint32_t>(bytes[2]) << 16 |
         static_cast<uint32_t>(bytes[3]) << 24;
}

static void writeWord(uint8_t *bytes, uint32_t word) {
  for (int i = 0; i < 4; ++i)
    bytes[i] = static_cast<uint8_t>(word >> 8 * i);
}

static uint32_t packWord(uint32_t columns) { return spreadNibbles(columns & 0xffffu) | spreadNibbles(columns >> 16) << 4; }
static uint32_t unpackWord(uint32_t packed) { return gatherNibbles(packed) | gatherNibbles(packed >> 4) << 16; }

namespace {
/// The operands of one matrix and how far apart their rows are.
struct Packer {
  const PackedLayout &layout;
  int64_t n, groups;
  const uint8_t *planes;
  const uint8_t *scales;
  const uint8_t *zeros;
  int64_t rowBytes = layout.rowBytes(groups);

  void packBlock(int64_t block, uint8_t *out) const {
    int64_t firstRow = block * layout.rows;
    int64_t validRows = std::min(layout.rows, n - firstRow);
    std::memset(out, 0, layout.rowBlockBytes(groups));
    for (int64_t unit = 0, units = layout.unitsPerRow(groups); unit < units; ++unit, out += layout.unitBytes()) {
      packPlanes(firstRow, validRows, unit, out);
      packParams(firstRow, validRows, unit, out + layout.unitPlaneBytes());
    }
  }

  void packPlanes(int64_t firstRow, int64_t validRows, int64_t unit, uint8_t *out) const {
    int64_t stepBytes = layout.stepBytes();
    int64_t firstByte = unit * layout.stepsPerUnit() * stepBytes;
    // The last unit of dword lanes may end in half a step.
    for (int64_t plane = 0; plane < layout.numPlanes(); ++plane) {
      for (int64_t step = 0; step < layout.stepsPerUnit(); ++step, out += layout.vectorBytes()) {
        int64_t byte = firstByte + step * stepBytes;
        const uint8_t *source = planes + (plane * n + firstRow) * rowBytes + byte;
        if (layout.hasCodes()) {
          for (int64_t row = 0; row < validRows; ++row)
            std::memcpy(out + 4 * row, source + row * rowBytes, 4);
        } else if (layout.lane == PackedLayout::Lane::Byte) {
          for (int64_t row = 0; row < validRows; ++row)
            out[row] = source[row * rowBytes];
        } else if (byte + 4 <= rowBytes) {
          for (int64_t row = 0; row < validRows; ++row)
            writeWord(out + 4 * row, packWord(readWord(source + row * rowBytes)));
        } else {
          for (int64_t row = 0; row < validRows; ++row)
            writeWord(out + 4 * row, packWord(source[row * rowBytes] | source[row * rowBytes + 1] << 8));
        }
      }
    }
  }

  void packParams(int64_t firstRow, int64_t validRows, int64_t unit, uint8_t *out) const {
    int64_t firstGroup = unit * layout.groupsPerUnit();
    int64_t endGroup = std::min(firstGroup + layout.groupsPerUnit(), groups);
    for (int64_t group = firstGroup; group < endGroup; ++group) {
      out = copyColumns(scales, layout.scalesPerGroup(), layout.paramBytes, group, firstRow, validRows, out);
      out = copyColumns(zeros, layout.zerosPerGroup(), layout.zeroBytes(), group, firstRow, validRows, out);
    }
  }

  /// Puts each of the `perGroup` elements of `bytes` bytes that `source` has for a group and row beside those of the other rows.
  uint8_t *copyColumns(const uint8_t *source, int64_t perGroup, int64_t bytes, int64_t group, int64_t firstRow, int64_t validRows,
                       uint8_t *out) const {
    for (int64_t j = 0; j < perGroup; ++j, out += layout.rows * bytes)
      for (int64_t row = 0; row < validRows; ++row)
        std::memcpy(out + row * bytes, source + (((firstRow + row) * groups + group) * perGroup + j) * bytes, bytes);
    return out;
  }
};
} // namespace

void elutq::quantize::pack(const PackedLayout &layout, int64_t n, int64_t groups, const uint8_t *planes,
                           const void *scales, const void *zeros, uint8_t *out, unsigned threads) {
  Packer packer{layout, n, groups, planes, static_cast<const uint8_t *>(scales), static_cast<const uint8_t *>(zeros)};
  int64_t blockBytes = layout.rowBlockBytes(groups);
  forEachBlock(layout.rowBlocks(n), threads,
               [&](int64_t block) { packer.packBlock(block, out + block * blockBytes); });
}

void elutq::quantize::unpackRow(const PackedLayout &layout, int64_t groups, const uint8_t *packed, int64_t row,
                                uint8_t *planes, void *scales, void *zeros) {
  int64_t lane = row % layout.rows;
  const uint8_t *block = packed + row / layout.rows * layout.rowBlockBytes(groups);
  int64_t rowBytes = layout.rowBytes(groups), stepBytes = layout.stepBytes();
  auto *scaleOut = static_cast<uint8_t *>(scales);
  auto *zeroOut = static_cast<uint8_t *>(zeros);
  for (int64_t unit = 0; unit < layout.unitsPerRow(groups); ++unit, block += layout.unitBytes()) {
    const uint8_t *source = block;
    for (int64_t plane = 0; plane < layout.numPlanes(); ++plane) {
      for (int64_t step = 0; step < layout.stepsPerUnit(); ++step, source += layout.vectorBytes()) {
        int64_t byte = (unit * layout.stepsPerUnit() + step) * stepBytes;
        uint8_t bytes[4] = {source[lane]};
        if (layout.hasCodes())
          std::memcpy(bytes, source + 4 * lane, 4);
        else if (layout.lane == PackedLayout::Lane::Dword)
          writeWord(bytes, unpackWord(readWord(source + 4 * lane)));
        std::memcpy(planes + plane * rowBytes + byte, bytes, std::min(stepBytes, rowBytes - byte));
      }
    }
    int64_t firstGroup = unit * layout.groupsPerUnit();
    int64_t endGroup = std::min(firstGroup + layout.groupsPerUnit(), groups);
    for (int64_t group = firstGroup; group < endGroup; ++group) {
      auto take = [&](uint8_t *to, int64_t perGroup, int64_t bytes) {
        for (int64_t j = 0; j < perGroup; ++j, source += layout.rows * bytes)
          std::memcpy(to + (group * perGroup + j) * bytes, source + lane * bytes, bytes);
      };
      take(scaleOut, layout.scalesPerGroup(), layout.paramBytes);
      take(zeroOut, layout.zerosPerGroup(), layout.zeroBytes());
    }
  }
}
