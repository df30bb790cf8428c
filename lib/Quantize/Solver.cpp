//===- Solver.cpp - Fit HLQ parameters to float weights -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Solver.h"
#include "GroupFit.h"
#include "MatrixReader.h"
#include "Parallel.h"
#include "UniformFit.h"

#include <cstring>
#include <mutex>

using namespace elutq::quantize;

namespace {
/// One call of `fitHLQ`: where the results go and how rows are cut into blocks.
struct Fit {
  const MatrixView &view;
  const FitOptions &options;
  uint8_t *planes;
  uint16_t *scales;
  uint16_t *zeros;
  int64_t groups = numGroups(view.cols, options.groupSize);
  int64_t rowBytes = numPlaneBytes(options.bits == 8 ? 8 : 1, 1, groups, options.groupSize);
  // A block's tile of one group stays in the second-level cache.
  int64_t blockRows = std::clamp<int64_t>(65536 / options.groupSize, 1, 64);

  FitReport runBlock(int64_t block) const {
    if (options.bits == 8) {
      UniformFit fit(options.groupSize);
      return runBlock(block, fit);
    }
    GroupFit fit(static_cast<int>(options.bits), options.groupSize);
    return runBlock(block, fit);
  }

private:
  template <typename GroupFitTy>
  FitReport runBlock(int64_t block, GroupFitTy &fit) const {
    FitReport report;
    int64_t scalesPerGroup = numScales(options.bits);
    int64_t firstRow = block * blockRows, rows = std::min(blockRows, view.rows - firstRow);
    std::vector<float> tile(rows * options.groupSize);
    std::vector<uint8_t> codes(options.groupSize);
    for (int64_t group = 0; group < groups; ++group) {
      int64_t firstCol = group * options.groupSize, cols = std::min(options.groupSize, view.cols - firstCol);
      readTile(view, firstRow, rows, firstCol, cols, tile.data(), options.groupSize);
      for (int64_t r = 0; r < rows; ++r) {
        int64_t row = firstRow + r, index = row * groups + group;
        std::memcpy(fit.weights(), tile.data() + r * options.groupSize, cols * sizeof(float));
        if (!fit.fit(cols, options.maxIterations)) {
          report.error = unusableWeights(row, firstCol, cols);
          return report;
        }
        std::copy(fit.theta, fit.theta + scalesPerGroup, scales + index * scalesPerGroup);
        zeros[index] = fit.theta[scalesPerGroup];
        std::copy(fit.codes(), fit.codes() + cols, codes.begin());
        std::fill(codes.begin() + cols, codes.end(), 0);
        writeCodes(row, firstCol, codes);
        report.squaredError += fit.squaredError;
        report.uniformError += fit.uniformError;
        report.squaredNorm += fit.squaredNorm;
        report.clampedGroups += fit.clamped;
      }
    }
    return report;
  }

  /// Stores the codes of a group, as planes if there are.
  void writeCodes(int64_t row, int64_t firstCol, const std::vector<uint8_t> &codes) const {
    if (options.bits == 8) {
      std::copy(codes.begin(), codes.end(), planes + row * rowBytes + firstCol);
      return;
    }
    writePlanes(codes.data(), options.groupSize, options.bits, row, firstCol, view.rows, rowBytes, planes);
  }
};
} // namespace

FitReport elutq::quantize::fitHLQ(const MatrixView &weights, const FitOptions &options, uint8_t *planes,
                                  uint16_t *scales, uint16_t *zeros) {
  FitReport total;
  if (!isBits(options.bits))
    total.error = "expected 1 to 4 or 8 bits, but got " + std::to_string(options.bits);
  else if (options.groupSize <= 0 || options.groupSize % 8 != 0)
    total.error = "expected the group size to be a positive multiple of 8, but got " + std::to_string(options.groupSize);
  else if (weights.rows < 0 || weights.cols < 0)
    total.error = "expected a matrix, but got negative dimensions";
  if (!total.error.empty() || weights.rows == 0 || weights.cols == 0)
    return total;

  Fit fit{weights, options, planes, scales, zeros};
  int64_t blocks = (weights.rows + fit.blockRows - 1) / fit.blockRows;
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
    done = std::min(done + fit.blockRows, weights.rows);
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
  GroupFit fit(static_cast<int>(bits), count);
  std::copy(weights, weights + count, fit.weights());
  fit.fit(count, maxIterations, &trace);
  return trace;
}
