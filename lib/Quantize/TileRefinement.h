//===- TileRefinement.h - Lower the loss of 64 rows --------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_TILEREFINEMENT_H
#define ELUTQ_LIB_QUANTIZE_TILEREFINEMENT_H

#include "ParameterSpace.h"

#include <vector>

namespace elutq::quantize {

/// 64 rows of a matrix, columns in the order in which they are quantized: weights, what they are quantized to, codes `[k][64]`, and
/// parameters `[group][i][64]`.
struct Tile {
  Tile(const Hessian &hessian, const ParameterSpace &space)
      : weights(hessian.size * kTileRows), values(weights.size()), codes(weights.size()),
        parameters(hessian.groups.size() * kMaxParameters * kTileRows) {}

  TileParameters &groupParameters(int64_t group) {
    return *reinterpret_cast<TileParameters *>(parameters.data() + group * kMaxParameters * kTileRows);
  }

  std::vector<float> weights, values;
  std::vector<uint8_t> codes;
  std::vector<float> parameters;
  /// Rows that exist.
  int64_t rows = 0;
};

/// Lowers the damped loss e H e^T, e = w - v, of each row of a tile: with codes fixed the parameters of all groups are solved for
/// together; with parameters fixed each column's code in turn becomes the best one. Neither raises the loss.
class TileRefinement {
public:
  typedef double Losses[kTileRows];

  TileRefinement(const TileKernels &kernels, const Hessian &hessian, const ParameterSpace &space, Tile &tile);

  /// Refines the rows of the tile; parameters must be, and are in the end, what f16 can hold. Appends the damped loss of the tile to
  /// `trace`: at first and after each step.
  void run(int64_t maxRounds, double tolerance, std::vector<double> &trace);

  /// e H e^T, damped and not, after `run`.
  Losses dampedLoss, loss;
  /// Rounds that the row took.
  int64_t rounds[kTileRows] = {};
  /// Groups that had a parameter cut to the range of f16.
  int64_t clampedGroups = 0;

  /// Only computes the losses.
  void computeLosses();

private:
  void computeGradient();
  void computeDampedLoss(Losses &out);
  void makeValues(int64_t group);
  void solveParameters(bool rounds = false);
  void solveBatch(int64_t firstRow, int64_t batchRows, bool rounds);
  void roundRow(int64_t row, const double *factor, int64_t stride, const double *change);
  void flipNegative();
  void chooseCodes();
  void roundParameters();

  const TileKernels &kernels;
  const Hessian &hessian;
  const ParameterSpace &space;
  Tile &tile;
  /// H e, `[k][64]`.
  std::vector<float> gradient;
  int32_t active[kTileRows];
  /// Whether the parameters of a row are rounded already, by the solve for them.
  bool isRounded[kTileRows] = {};
  /// Scratch: products of a group's columns, and the design of all columns for the rows of a batch.
  std::vector<float> product, design;
};

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_TILEREFINEMENT_H
