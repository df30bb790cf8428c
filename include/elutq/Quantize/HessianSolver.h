//===- HessianSolver.h - Fit HLQ to weights by what inputs say ---*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// A row w of a linear layer is quantized to the row v for which the layer's output changes least on calibration data:
// (w - v) H (w - v)^T is small, where H is the sum of x x^T over the inputs x. `solveWithHessian` fits the parameters of a
// group to its weights, weighted by what an error costs, chooses codes one column after the other while it makes good their
// errors in the columns that follow (GPTQ), and then lowers the loss itself: parameters of all groups of a row jointly, codes one
// by one.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_QUANTIZE_HESSIANSOLVER_H
#define ELUTQ_QUANTIZE_HESSIANSOLVER_H

#include "elutq/Quantize/Solver.h"

#include <memory>

namespace elutq::quantize {

/// In what order columns are quantized. The groups stay what they are: Groups takes those with the largest sum of H's diagonal
/// first, Columns also orders columns within them.
enum class ColumnOrder { Natural = 0, Groups = 1, Columns = 2 };

struct HessianOptions {
  int64_t groupSize = 128;
  /// Added to the diagonal, as a share of its mean.
  double damping = 0.01;
  ColumnOrder order = ColumnOrder::Natural;
  /// Worker threads; 0 stands for one per processor. The result does not depend on it.
  unsigned threads = 0;
};

/// What the matrices that share an input share: the order of columns, H, and the upper factor U of its damped inverse,
/// U^T U = (H + d I)^-1. Takes 8 K^2 bytes, and 16 K^2 while it is made.
class Hessian {
public:
  /// From `h` `[size][size]`, symmetric. Null if it holds something else than finite numbers, is not symmetric, has a negative
  /// diagonal element, or can't be factored with any reasonable damping; `error` says where.
  static std::unique_ptr<Hessian> create(const float *h, int64_t size, const HessianOptions &options, std::string &error);
  /// From the weights of columns alone: nothing is fed back.
  static std::unique_ptr<Hessian> createDiagonal(const float *diagonal, int64_t size, const HessianOptions &options,
                                                 std::string &error);

  /// (w - v) H (w - v)^T for each of `rows` rows of contiguous matrices, without damping.
  void computeLoss(const float *weights, const float *values, int64_t rows, double *loss, unsigned threads = 0) const;

  int64_t size = 0, groupSize = 0;
  /// The share of the mean diagonal that was added; more than asked for where that could not be factored.
  double damping = 0;
  /// H is stored times this power of two, which makes its mean diagonal about 1.
  double scale = 1;
  /// The mean diagonal and what was added to it, d, both times `scale`.
  double meanDiagonal = 0, addedDiagonal = 0;
  /// Columns whose diagonal element is 0.
  int64_t deadColumns = 0;
  bool isDiagonal = false;

  // All below is in the order in which columns are quantized, and H is `scale` times what it was made from.

  /// The columns of the matrix.
  std::vector<int64_t> columns;
  /// Where groups begin, and the end; the groups of the matrix.
  std::vector<int64_t> groupOffsets, groups;
  /// H + d I and U, `[size][size]`; empty if diagonal.
  std::vector<float> damped, factor;
  /// 1 / (H + d I)[k, k] and 1 / U[k, k].
  std::vector<float> inverseDiagonal, inverseFactorDiagonal;
  /// 1 / U[k, k]^2: what an error in column k costs when those behind it make good what they can.
  std::vector<float> costs;
  /// Sums of H + d I over the columns of a group, `[size][groups]`; empty if diagonal.
  std::vector<float> groupSums;

private:
  bool setOrder(const HessianOptions &options, std::string &error, const std::vector<double> &diagonal);
};

struct HessianSolveOptions {
  /// 1 to 4.
  int64_t bits = 2;
  ParameterKind kind = ParameterKind::HLQ;
  /// Rounds of code choice and least squares in a group's fit; 0 gives the uniform grid.
  int64_t fitIterations = 10;
  /// Starting points of a group's fit, of which the best is kept; 1 is the uniform grid alone.
  int64_t starts = 4;
  /// Whether the group's fit is weighted by `Hessian::costs`.
  bool isWeighted = true;
  /// Whether errors are made good in later columns.
  bool hasFeedback = true;
  /// Whether a group's codes stay those of its fit, before feedback within the group.
  bool hasFrozenCodes = false;
  /// Greatest number of rounds of refinement.
  int64_t maxRounds = 8;
  /// A row is refined until a round lowers its loss by less than this share of it.
  double tolerance = 5e-3;
  /// Worker threads; 0 stands for one per processor. The result does not depend on it.
  unsigned threads = 0;
  /// Called with the rows finished so far, from any worker, one call at a time. The work ends early if it returns false.
  std::function<bool(int64_t done, int64_t total)> progress = {};
};

struct HessianReport {
  /// Sum over rows of (w - v) H (w - v)^T.
  double loss = 0;
  double squaredError = 0, squaredNorm = 0;
  /// The sum over rows of (w - v) (H + d I) (w - v)^T, which refinement lowers: before it, and after each solve for the parameters and
  /// each choice of codes. The last steps round parameters to what is stored.
  std::vector<double> trace;
  /// Most rounds of refinement that a row took.
  int64_t rounds = 0;
  /// Groups with a parameter beyond the range of f16, which was cut to it.
  int64_t clampedGroups = 0;
  /// Processor time of all threads together.
  double cpuSeconds = 0;
  /// Empty, or why there is no result.
  std::string error;
};

/// Quantizes `weights` of N rows and `hessian.size` columns into planes, scales and zeros as `fitHLQ` lays them out; uniform
/// parameters have one scale `[N][G]`. `rowLoss` `[N]`, if not null, gets the loss of each row. Each thread uses about
/// 4 KB * K, and for refinement up to 64 MB (or, if that is more, one row's square matrix of its parameters in f32).
HessianReport solveWithHessian(const MatrixView &weights, const Hessian &hessian, const HessianSolveOptions &options,
                               uint8_t *planes, uint16_t *scales, void *zeros, double *rowLoss = nullptr);

} // namespace elutq::quantize

#endif // ELUTQ_QUANTIZE_HESSIANSOLVER_H
