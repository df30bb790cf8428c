//===- Solver.cpp - Fit HLQ parameters to float weights -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Solver.h"
#include "MatrixReader.h"
#include "Parallel.h"
#include "TileFit.h"
#include "UniformFit.h"

#include <mutex>

using namespace elutq::quantize;

namespace {
/// One call of `fitHLQ`: where the results go. Blocks are the rows of a tile.
struct Fit {
  const MatrixView &view;
  const FitOptions &options;
  uint8_t *planes;
  uint16_t *scales;
  void *zeros;
  int64_t groups = numGroups(view.cols, options.groupSize);
  int64_t rowBytes = numPlaneBytes(options.bits == 8 ? 8 : 1, 1, groups, options.groupSize);

  FitReport runBlock(int64_t block) const {
    FitReport report;
    int64_t firstRow = block * kTileRows, rows = std::min<int64_t>(kTileRows, view.rows - firstRow);
    if (options.bits == 8)
      fitCodes(firstRow, rows, report);
    else
      fitPlanes(firstRow, rows, report);
    return report;
  }

private:
  void fitPlanes(int64_t firstRow, int64_t rows, FitReport &report) const {
    ParameterSpace space(options.kind, static_cast<int>(options.bits));
    TileFit fit(getTileKernels(), space, options.groupSize);
    std::vector<float> tile(options.groupSize * kTileRows);
    for (int64_t group = 0; group < groups; ++group) {
      int64_t firstCol = group * options.groupSize, cols = std::min(options.groupSize, view.cols - firstCol);
      readColumns(view, firstRow, rows, firstCol, cols, tile.data());
      if (!checkTile(tile, firstRow, rows, firstCol, cols, report))
        return;
      fit.fit(cols, tile.data(), nullptr, options.maxIterations, 1);
      writeTilePlanes(fit.codes(), cols, options.groupSize, options.bits, firstRow, rows, firstCol, view.rows, rowBytes, planes);
      for (int64_t r = 0; r < rows; ++r) {
        int64_t index = (firstRow + r) * groups + group;
        space.store(fit.parameters, static_cast<int>(r), index, scales, zeros);
        report.squaredError += fit.error[r];
        report.uniformError += fit.uniformError[r];
        report.clampedGroups += fit.isCut[r];
      }
    }
  }

  /// Refuses values that are not usable, and adds up the others' squares.
  bool checkTile(const std::vector<float> &tile, int64_t firstRow, int64_t rows, int64_t firstCol, int64_t cols,
                 FitReport &report) const {
    float squares[kTileRows] = {};
    // NaN fails every comparison, so what is good is counted.
    int32_t usable[kTileRows] = {};
    for (int64_t k = 0; k < cols; ++k)
      for (int r = 0; r < kTileRows; ++r) {
        float w = tile[k * kTileRows + r];
        usable[r] += isUsableWeight(w);
        squares[r] += w * w;
      }
    for (int64_t r = 0; r < rows; ++r) {
      if (usable[r] != cols) {
        report.error = unusableWeights(firstRow + r, firstCol, cols);
        return false;
      }
      report.squaredNorm += static_cast<double>(squares[r]);
    }
    return true;
  }

  void fitCodes(int64_t firstRow, int64_t rows, FitReport &report) const {
    UniformFit fit(options.groupSize);
    std::vector<float> tile(rows * options.groupSize);
    for (int64_t group = 0; group < groups; ++group) {
      int64_t firstCol = group * options.groupSize, cols = std::min(options.groupSize, view.cols - firstCol);
      readTile(view, firstRow, rows, firstCol, cols, tile.data(), options.groupSize);
      for (int64_t r = 0; r < rows; ++r) {
        int64_t row = firstRow + r, index = row * groups + group;
        std::copy_n(tile.data() + r * options.groupSize, cols, fit.weights());
        if (!fit.fit(cols, options.maxIterations)) {
          report.error = unusableWeights(row, firstCol, cols);
          return;
        }
        scales[index] = fit.theta[0];
        static_cast<uint16_t *>(zeros)[index] = fit.theta[1];
        uint8_t *out = planes + row * rowBytes + firstCol;
        std::copy_n(fit.codes(), cols, out);
        std::fill(out + cols, out + options.groupSize, 0);
        report.squaredError += fit.squaredError;
        report.uniformError += fit.uniformError;
        report.squaredNorm += fit.squaredNorm;
        report.clampedGroups += fit.clamped;
      }
    }
  }
};
} // namespace

FitReport elutq::quantize::fitHLQ(const MatrixView &weights, const FitOptions &options, uint8_t *planes,
                                  uint16_t *scales, void *zeros) {
  FitReport total;
  if (!isBits(options.bits))
    total.error = "expected 1 to 4 or 8 bits, but got " + std::to_string(options.bits);
  else if (options.groupSize <= 0 || options.groupSize % 8 != 0)
    total.error = "expected the group size to be a positive multiple of 8, but got " + std::to_string(options.groupSize);
  else if (options.kind != ParameterKind::HLQ && options.kind != ParameterKind::Compact)
    total.error = "expected HLQ or compact parameters";
  else if (weights.rows < 0 || weights.cols < 0)
    total.error = "expected a matrix, but got negative dimensions";
  if (!total.error.empty() || weights.rows == 0 || weights.cols == 0)
    return total;

  Fit fit{weights, options, planes, scales, zeros};
  int64_t blocks = (weights.rows + kTileRows - 1) / kTileRows;
  std::vector<FitReport> reports(blocks);
  std::mutex mutex;
  int64_t done = 0;
  forEachBlock(blocks, options.threads, [&](int64_t block) {
    double start = getThreadSeconds();
    reports[block] = fit.runBlock(block);
    reports[block].cpuSeconds = getThreadSeconds() - start;
    if (!options.progress)
      return;
    std::lock_guard<std::mutex> lock(mutex);
    done = std::min(done + kTileRows, weights.rows);
    options.progress(done, weights.rows);
  });
  // In the order of the rows, so that sums and the first error do not depend on the threads.
  for (const FitReport &report : reports) {
    if (!report.error.empty()) {
      total.error = report.error;
      break;
    }
    total.squaredError += report.squaredError;
    total.uniformError += report.uniformError;
    total.squaredNorm += report.squaredNorm;
    total.clampedGroups += report.clampedGroups;
    total.cpuSeconds += report.cpuSeconds;
  }
  return total;
}

std::vector<double> elutq::quantize::traceGroupFit(const float *weights, int64_t count, int64_t bits,
                                                   int64_t maxIterations) {
  std::vector<double> trace;
  ParameterSpace space(ParameterKind::HLQ, static_cast<int>(bits));
  TileFit fit(getTileKernels(), space, count);
  std::vector<float> tile(count * kTileRows);
  readColumns({weights, DataType::F32, 1, count, count, 1}, 0, 1, 0, count, tile.data());
  fit.fit(count, tile.data(), nullptr, maxIterations, 1, &trace);
  return trace;
}
