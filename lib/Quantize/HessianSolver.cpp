//===- HessianSolver.cpp - Fit HLQ to weights by what inputs say ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// A tile of 64 rows goes through all steps by itself, on one thread.
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/HessianSolver.h"
#include "MatrixReader.h"
#include "Parallel.h"
#include "TileFit.h"
#include "TileRefinement.h"

#include <cmath>
#include <mutex>

using namespace elutq::quantize;

namespace {
/// One call of `solveWithHessian`: where the results go.
struct Solve {
  const MatrixView &view;
  const Hessian &hessian;
  const HessianSolveOptions &options;
  uint8_t *planes;
  uint16_t *scales;
  void *zeros;
  double *rowLoss;
  const TileKernels &kernels = getTileKernels();
  ParameterSpace space{options.kind, static_cast<int>(options.bits)};
  int64_t groups = static_cast<int64_t>(hessian.groups.size());

  HessianReport runTile(int64_t index) const {
    HessianReport report;
    Tile tile(hessian, space);
    int64_t firstRow = index * kTileRows;
    tile.rows = std::min<int64_t>(kTileRows, view.rows - firstRow);
    if (!read(firstRow, tile, report))
      return report;
    quantize(tile, report);
    TileRefinement refinement(kernels, hessian, space, tile);
    if (options.maxRounds > 0 && !hessian.isDiagonal) {
      report.clampedGroups = 0;
      refinement.run(options.maxRounds, options.tolerance, report.trace);
      report.clampedGroups = refinement.clampedGroups;
    } else {
      refinement.computeLosses();
    }
    write(firstRow, tile);
    for (int64_t r = 0; r < tile.rows; ++r) {
      report.loss += refinement.loss[r];
      report.rounds = std::max(report.rounds, refinement.rounds[r]);
      if (rowLoss)
        rowLoss[firstRow + r] = refinement.loss[r];
    }
    for (int64_t k = 0; k < hessian.size; ++k)
      for (int64_t r = 0; r < tile.rows; ++r) {
        auto w = static_cast<double>(tile.weights[k * kTileRows + r]);
        double e = w - static_cast<double>(tile.values[k * kTileRows + r]);
        report.squaredError += e * e;
        report.squaredNorm += w * w;
      }
    return report;
  }

private:
  /// Reads and transposes the rows; rows that the matrix lacks are zero.
  bool read(int64_t firstRow, Tile &tile, HessianReport &report) const {
    std::vector<float> natural(view.cols * kTileRows);
    readColumns(view, firstRow, tile.rows, 0, view.cols, natural.data());
    for (int64_t r = 0; r < tile.rows; ++r)
      for (int64_t k = 0; k < view.cols; ++k)
        if (!isUsableWeight(natural[k * kTileRows + r])) {
          int64_t first = k / hessian.groupSize * hessian.groupSize;
          report.error = unusableWeights(firstRow + r, first, std::min(hessian.groupSize, view.cols - first));
          return false;
        }
    for (int64_t k = 0; k < view.cols; ++k)
      std::copy_n(natural.data() + hessian.columns[k] * kTileRows, kTileRows, tile.weights.data() + k * kTileRows);
    return true;
  }

  /// Fits each group when its turn comes, and chooses its codes.
  void quantize(Tile &tile, HessianReport &report) const {
    std::vector<float> rest = tile.weights;
    TileFit fit(kernels, space, hessian.groupSize);
    TileWords words;
    float errors[kBlockColumns * kTileRows];
    bool hasFeedback = options.hasFeedback && !hessian.isDiagonal;
    for (int64_t group = 0; group < groups; ++group) {
      int64_t begin = hessian.groupOffsets[group], end = hessian.groupOffsets[group + 1];
      fit.fit(end - begin, rest.data() + begin * kTileRows, options.isWeighted ? hessian.costs.data() + begin : nullptr,
              options.fitIterations, options.starts);
      std::copy(&fit.parameters[0][0], &fit.parameters[0][0] + space.numRows() * kTileRows, &tile.groupParameters(group)[0][0]);
      report.clampedGroups += std::count(fit.isCut, fit.isCut + tile.rows, true);
      std::copy(fit.values(), fit.values() + (end - begin) * kTileRows, tile.values.data() + begin * kTileRows);
      std::copy(fit.codes(), fit.codes() + (end - begin) * kTileRows, tile.codes.data() + begin * kTileRows);
      if (!hasFeedback)
        continue;
      space.makeWords(kernels, tile.groupParameters(group), words);
      for (int64_t k = begin; k < end; k += kBlockColumns) {
        int64_t columns = std::min<int64_t>(kBlockColumns, end - k);
        const float *factor = hessian.factor.data() + k * hessian.size;
        kernels.feedback(words, space.bits,
                         {columns, rest.data() + k * kTileRows, factor + k, hessian.size, hessian.inverseFactorDiagonal.data() + k,
                          tile.values.data() + k * kTileRows, tile.codes.data() + k * kTileRows, errors},
                         options.hasFrozenCodes);
        int64_t next = k + columns;
        kernels.multiply(factor + next, hessian.size, hessian.size - next, columns, errors, kTileRows,
                         rest.data() + next * kTileRows, kTileRows);
      }
    }
  }

  /// Stores codes and parameters in the order of the matrix.
  void write(int64_t firstRow, Tile &tile) const {
    int64_t g = hessian.groupSize, rowBytes = numPlaneBytes(1, 1, groups, g);
    std::vector<uint8_t> codes(tile.codes.size());
    for (int64_t k = 0; k < hessian.size; ++k)
      std::copy_n(tile.codes.data() + k * kTileRows, kTileRows, codes.data() + hessian.columns[k] * kTileRows);
    writeTilePlanes(codes.data(), hessian.size, groups * g, options.bits, firstRow, tile.rows, 0, view.rows, rowBytes, planes);
    for (int64_t r = 0; r < tile.rows; ++r) {
      for (int64_t group = 0; group < groups; ++group) {
        int64_t at = (firstRow + r) * groups + hessian.groups[group];
        space.store(tile.groupParameters(group), static_cast<int>(r), at, scales, zeros);
      }
    }
  }
};
} // namespace

static std::string checkOptions(const MatrixView &weights, const Hessian &hessian, const HessianSolveOptions &options) {
  if (options.bits < 1 || options.bits > kMaxPlanes)
    return "expected 1 to 4 bits, but got " + std::to_string(options.bits);
  if (options.kind == ParameterKind::Ternary && options.bits != 2)
    return "ternary weights have 2 bits, but got " + std::to_string(options.bits);
  if (options.fitIterations < 0 || options.starts < 1 || options.starts > 4 || options.maxRounds < 0)
    return "expected 1 to 4 starts, and no negative number of iterations or rounds";
  if (!(options.tolerance >= 0))
    return "expected the tolerance to be at least 0";
  if (weights.rows < 0 || weights.cols != hessian.size)
    return "expected weights of " + std::to_string(hessian.size) + " columns, as the Hessian has, but got " +
           std::to_string(weights.cols);
  return "";
}

HessianReport elutq::quantize::solveWithHessian(const MatrixView &weights, const Hessian &hessian,
                                                const HessianSolveOptions &options, uint8_t *planes, uint16_t *scales,
                                                void *zeros, double *rowLoss) {
  HessianReport total;
  total.error = checkOptions(weights, hessian, options);
  if (!total.error.empty() || weights.rows == 0)
    return total;

  Solve solve{weights, hessian, options, planes, scales, zeros, rowLoss};
  int64_t tiles = (weights.rows + kTileRows - 1) / kTileRows;
  std::vector<HessianReport> reports(tiles);
  std::mutex mutex;
  int64_t done = 0;
  std::atomic<bool> isStopped{false};
  forEachBlock(tiles, options.threads, [&](int64_t tile) {
    if (isStopped)
      return;
    double start = getThreadSeconds();
    reports[tile] = solve.runTile(tile);
    reports[tile].cpuSeconds = getThreadSeconds() - start;
    if (!options.progress)
      return;
    std::lock_guard<std::mutex> lock(mutex);
    done = std::min(done + kTileRows, weights.rows);
    if (!isStopped && !options.progress(done, weights.rows))
      isStopped = true;
  });
  if (isStopped) {
    total.error = "stopped";
    return total;
  }
  // In the order of the rows, so that sums and the first error do not depend on the threads.
  size_t steps = 0;
  for (const HessianReport &report : reports) {
    if (!report.error.empty()) {
      total.error = report.error;
      return total;
    }
    steps = std::max(steps, report.trace.size());
  }
  total.trace.resize(steps);
  for (const HessianReport &report : reports) {
    total.loss += report.loss;
    total.squaredError += report.squaredError;
    total.squaredNorm += report.squaredNorm;
    total.clampedGroups += report.clampedGroups;
    total.rounds = std::max(total.rounds, report.rounds);
    total.cpuSeconds += report.cpuSeconds;
    for (size_t step = 0; step < steps; ++step)
      total.trace[step] += report.trace[std::min(step, report.trace.size() - 1)];
  }
  return total;
}
