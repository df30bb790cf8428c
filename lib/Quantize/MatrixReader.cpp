//===- MatrixReader.cpp - Read weights and write codes --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "MatrixReader.h"
#include "elutq/Quantize/Float16.h"

#include <algorithm>
#include <cstring>
#include <ctime>

using namespace elutq::quantize;

static float readWeight(const MatrixView &view, int64_t index) {
  switch (view.type) {
  case DataType::F32:
    return static_cast<const float *>(view.data)[index];
  case DataType::F16:
    return halfToFloat(static_cast<const uint16_t *>(view.data)[index]);
  case DataType::BF16:
    return bfloatToFloat(static_cast<const uint16_t *>(view.data)[index]);
  }
  return 0;
}

/// Puts the element of row `r` and column `c` of a part to `out[r * rowStep + c * colStep]`; one of the steps is 1. Runs along the
/// dimension that is contiguous in memory, as a transposed matrix may well be larger than the cache.
static void readPart(const MatrixView &view, int64_t firstRow, int64_t rows, int64_t firstCol, int64_t cols, float *out,
                     int64_t rowStep, int64_t colStep) {
  int64_t origin = firstRow * view.rowStride + firstCol * view.colStride;
  bool runsAlongRows = view.rowStride < view.colStride;
  int64_t outerCount = runsAlongRows ? cols : rows, innerCount = runsAlongRows ? rows : cols;
  int64_t outerStride = runsAlongRows ? view.colStride : view.rowStride, innerStride = runsAlongRows ? view.rowStride : view.colStride;
  int64_t outerStep = runsAlongRows ? colStep : rowStep, innerStep = runsAlongRows ? rowStep : colStep;
  bool isCopy = view.type == DataType::F32 && innerStride == 1 && innerStep == 1;
  for (int64_t outer = 0; outer < outerCount; ++outer) {
    int64_t start = origin + outer * outerStride;
    if (isCopy) {
      std::memcpy(out + outer * outerStep, static_cast<const float *>(view.data) + start, innerCount * sizeof(float));
      continue;
    }
    for (int64_t inner = 0; inner < innerCount; ++inner)
      out[outer * outerStep + inner * innerStep] = readWeight(view, start + inner * innerStride);
  }
}

void elutq::quantize::readTile(const MatrixView &view, int64_t firstRow, int64_t rows, int64_t firstCol, int64_t cols,
                               float *out, int64_t stride) {
  readPart(view, firstRow, rows, firstCol, cols, out, stride, 1);
}

void elutq::quantize::readColumns(const MatrixView &view, int64_t firstRow, int64_t rows, int64_t firstCol, int64_t cols,
                                  float *out) {
  if (rows < kTileRows)
    std::fill(out, out + cols * kTileRows, 0.0f);
  readPart(view, firstRow, rows, firstCol, cols, out, 1, kTileRows);
}

/// Bit `t` of the result is bit `plane` of code `t`, of 8 codes in the bytes of a number.
static uint8_t gatherPlane(uint64_t codes, int plane) {
  // Every bit is moved to the top byte by one term of the product, and no two meet below.
  return static_cast<uint8_t>((codes >> plane & 0x0101010101010101u) * 0x0102040810204080u >> 56);
}

/// Codes `0` to `7` in the bytes of a number, the first one lowest.
static uint64_t gatherCodes(const uint8_t *codes, int64_t stride) {
  uint64_t result = 0;
  for (int t = 0; t < 8; ++t)
    result |= static_cast<uint64_t>(codes[t * stride]) << 8 * t;
  return result;
}

void elutq::quantize::writeTilePlanes(const uint8_t *codes, int64_t cols, int64_t padded, int64_t bits, int64_t firstRow,
                                      int64_t count, int64_t firstCol, int64_t rows, int64_t rowBytes, uint8_t *planes) {
  uint8_t last[8 * kTileRows] = {};
  for (int64_t i = 0; i < padded; i += 8) {
    const uint8_t *eightColumns = codes + i * kTileRows;
    if (i + 8 > cols) {
      std::fill(last, last + sizeof last, 0);
      if (i < cols)
        std::copy(eightColumns, codes + cols * kTileRows, last);
      eightColumns = last;
    }
    for (int64_t r = 0; r < count; ++r) {
      uint64_t eight = gatherCodes(eightColumns + r, kTileRows);
      for (int j = 0; j < bits; ++j)
        planes[(j * rows + firstRow + r) * rowBytes + (firstCol + i) / 8] = gatherPlane(eight, j);
    }
  }
}

std::string elutq::quantize::unusableWeights(int64_t row, int64_t firstCol, int64_t cols) {
  return "weights of row " + std::to_string(row) + ", columns " + std::to_string(firstCol) + " to " +
         std::to_string(firstCol + cols - 1) + " hold a value that is not a finite number below 1e15";
}

double elutq::quantize::getThreadSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}
