//===- Packing.h - Packed planes in memory ------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// The byte layout that the description of `#hlq.layout` defines, as plain arithmetic: the attribute's methods, the
// packing pass and the tests all come here.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_QUANTIZE_PACKING_H
#define ELUTQ_QUANTIZE_PACKING_H

#include <cstdint>

namespace elutq::quantize {

/// Mirrors `#hlq.layout`; the enumerators have the numbers of the dialect's enums.
struct PackedLayout {
  enum class Lane { Byte = 0, Dword = 1 };
  enum class Params { HLQ = 0, Uniform = 1, Symmetric = 2, Compact = 3 };

  Lane lane = Lane::Dword;
  int64_t rows = 16;
  int64_t bits = 4;
  int64_t groupSize = 128;
  Params params = Params::HLQ;
  /// Bytes of a stored scale or zero: 2 (f16) or 4 (f32).
  int64_t paramBytes = 2;

  /// Whether weights are codes of 8 bits and not planes.
  bool hasCodes() const { return bits == 8; }
  /// Columns that one vector of plane bytes or codes covers.
  int64_t stepColumns() const { return hasCodes() ? 4 : lane == Lane::Dword ? 32 : 8; }
  /// Bytes of a row that one vector covers, before packing.
  int64_t stepBytes() const { return hasCodes() ? 4 : stepColumns() / 8; }
  /// Planes, or 1 for codes.
  int64_t numPlanes() const { return hasCodes() ? 1 : bits; }
  /// Bytes of a row of one plane or of codes, before packing.
  int64_t rowBytes(int64_t groups) const { return groups * groupSize / (hasCodes() ? 1 : 8); }
  /// Groups whose planes are contiguous.
  int64_t groupsPerUnit() const { return groupSize < stepColumns() ? stepColumns() / groupSize : 1; }
  /// Columns whose planes are contiguous.
  int64_t unitColumns() const { return groupSize * groupsPerUnit(); }
  /// Vectors of plane bytes per plane and unit.
  int64_t stepsPerUnit() const { return unitColumns() / stepColumns(); }
  /// Bytes of one vector of plane bytes.
  int64_t vectorBytes() const { return rows * (lane == Lane::Dword ? 4 : 1); }
  /// Scales stored per group and row.
  int64_t scalesPerGroup() const { return params == Params::HLQ ? bits : 1; }
  /// Elements of the zeros stored per group and row, and bytes of one: with compact parameters a ratio for each plane and the code of
  /// a weight without bits.
  int64_t zerosPerGroup() const { return params == Params::Compact ? bits + 1 : params == Params::Symmetric ? 0 : 1; }
  int64_t zeroBytes() const { return params == Params::Compact ? 1 : paramBytes; }
  /// Bytes of the planes of a unit.
  int64_t unitPlaneBytes() const { return numPlanes() * stepsPerUnit() * vectorBytes(); }
  /// Bytes of the parameters of one group.
  int64_t groupParamBytes() const { return (scalesPerGroup() * paramBytes + zerosPerGroup() * zeroBytes()) * rows; }
  /// Bytes of a unit: planes and parameters.
  int64_t unitBytes() const { return unitPlaneBytes() + groupsPerUnit() * groupParamBytes(); }
  /// Units of a row of `groups` groups.
  int64_t unitsPerRow(int64_t groups) const { return (groups + groupsPerUnit() - 1) / groupsPerUnit(); }
  /// Bytes of a row block, padded to 64.
  int64_t rowBlockBytes(int64_t groups) const { return (unitsPerRow(groups) * unitBytes() + 63) / 64 * 64; }
  /// Row blocks of a matrix of `n` rows.
  int64_t rowBlocks(int64_t n) const { return (n + rows - 1) / rows; }
  /// Bytes of a packed matrix.
  int64_t packedBytes(int64_t n, int64_t groups) const { return rowBlocks(n) * rowBlockBytes(groups); }

  /// Null for a layout that is well formed, otherwise what is wrong with it, as the end of a sentence.
  const char *verify() const;
};

/// Packs `planes` `[bits][n][groups * groupSize / 8]` (8 bits: codes `[n][groups * groupSize]`), `scales` `[n][groups][scalesPerGroup]` and `zeros`
/// `[n][groups][zerosPerGroup]` (ignored by layouts without zeros) into `out`, `packedBytes(n, groups)` bytes, all of which are written. Scales are
/// `paramBytes` wide, zeros `zeroBytes`, in any alignment. `threads` 0 stands for one per processor.
void pack(const PackedLayout &layout, int64_t n, int64_t groups, const uint8_t *planes, const void *scales,
          const void *zeros, uint8_t *out, unsigned threads = 1);

/// The inverse of `pack` for one row: `planes` `[bits][groups * groupSize / 8]` (8 bits: codes `[groups * groupSize]`),
/// `scales` `[groups][scalesPerGroup]` and `zeros` `[groups][zerosPerGroup]` (may be null without zeros).
void unpackRow(const PackedLayout &layout, int64_t groups, const uint8_t *packed, int64_t row, uint8_t *planes,
               void *scales, void *zeros);

} // namespace elutq::quantize

#endif // ELUTQ_QUANTIZE_PACKING_H
