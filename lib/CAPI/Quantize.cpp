//===- Quantize.cpp - C interface of the solver ---------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq-c/Quantize.h"
#include "elutq/Quantize/HessianSolver.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

using namespace elutq::quantize;

/// The handle is the object.
struct ElutqHessian {
  std::unique_ptr<Hessian> hessian;
};

static thread_local std::string lastError;

/// Copies the fields that the caller's struct has over the defaults.
template <typename T>
static T complete(const T *given, void (*init)(T *)) {
  T result;
  init(&result);
  if (given)
    std::memcpy(&result, given, std::min<size_t>(given->structSize, sizeof result));
  return result;
}

/// Copies as many fields as the caller's struct has.
template <typename T>
static void hand(T *to, const T &from) {
  uint32_t size = to->structSize;
  std::memcpy(to, &from, std::min<size_t>(size, sizeof from));
  to->structSize = size;
}

/// Runs `work`, which returns an error text; no exception leaves it.
template <typename Work>
static bool guard(const Work &work) {
  try {
    std::string error = work();
    if (error.empty())
      return true;
    lastError = error;
  } catch (const std::bad_alloc &) {
    lastError = "not enough memory";
  } catch (const std::exception &exception) {
    lastError = exception.what();
  }
  return false;
}

uint32_t elutqQuantizeGetVersion(void) { return ELUTQ_QUANTIZE_VERSION; }

const char *elutqQuantizeGetLastError(void) { return lastError.c_str(); }

void elutqHessianOptionsInit(ElutqHessianOptions *options) {
  HessianOptions defaults;
  *options = {};
  options->structSize = sizeof *options;
  options->groupSize = defaults.groupSize;
  options->damping = defaults.damping;
}

void elutqSolveOptionsInit(ElutqSolveOptions *options) {
  HessianSolveOptions defaults;
  *options = {};
  options->structSize = sizeof *options;
  options->bits = static_cast<int32_t>(defaults.bits);
  options->groupSize = HessianOptions().groupSize;
  options->fitIterations = defaults.fitIterations;
  options->starts = defaults.starts;
  options->maxRounds = defaults.maxRounds;
  options->isWeighted = defaults.isWeighted;
  options->hasFeedback = defaults.hasFeedback;
  options->tolerance = defaults.tolerance;
}

ElutqHessian *elutqHessianCreate(const float *h, int64_t size, const ElutqHessianOptions *given) {
  ElutqHessian *result = nullptr;
  guard([&]() -> std::string {
    ElutqHessianOptions options = complete(given, elutqHessianOptionsInit);
    if (!h || options.order < ELUTQ_NATURAL || options.order > ELUTQ_COLUMNS)
      return "expected a Hessian and an order of columns from 0 to 2";
    HessianOptions settings{options.groupSize, options.damping, static_cast<ColumnOrder>(options.order), options.threads};
    std::string error;
    std::unique_ptr<Hessian> hessian = options.isDiagonal ? Hessian::createDiagonal(h, size, settings, error)
                                                          : Hessian::create(h, size, settings, error);
    if (hessian)
      result = new ElutqHessian{std::move(hessian)};
    return error;
  });
  return result;
}

void elutqHessianDestroy(ElutqHessian *hessian) { delete hessian; }

void elutqHessianGetInfo(const ElutqHessian *handle, ElutqHessianInfo *info) {
  const Hessian &hessian = *handle->hessian;
  hand(info, {sizeof *info, hessian.isDiagonal, hessian.size, hessian.groupSize, hessian.deadColumns, hessian.damping});
}

void elutqHessianComputeLoss(const ElutqHessian *handle, const float *weights, const float *values, int64_t rows, double *loss,
                             uint32_t threads) {
  handle->hessian->computeLoss(weights, values, rows, loss, threads);
}

void elutqSolveGetSizes(int64_t rows, int64_t columns, const ElutqSolveOptions *given, int64_t *planeBytes, int64_t *scales,
                        int64_t *zeros) {
  ElutqSolveOptions options = complete(given, elutqSolveOptionsInit);
  int64_t groups = options.groupSize > 0 ? numGroups(columns, options.groupSize) : 0;
  *planeBytes = numPlaneBytes(options.bits, rows, groups, options.groupSize);
  auto kind = static_cast<ParameterKind>(options.kind);
  *scales = rows * groups * numScales(options.bits, kind);
  *zeros = rows * groups * numZeroBytes(options.bits, kind);
}

static std::string solve(const MatrixView &view, const Hessian *hessian, const ElutqSolveOptions &options, uint8_t *planes,
                         uint16_t *scales, void *zeros, double *rowLoss, ElutqSolveReport *report) {
  ElutqSolveReport result = {};
  if (options.bits == 8) {
    if (hessian || rowLoss || options.kind == ELUTQ_TERNARY)
      return "8 bits are fitted to the weights alone, without a Hessian and losses of rows";
    FitOptions settings;
    settings.bits = 8;
    settings.groupSize = options.groupSize;
    settings.maxIterations = options.fitIterations;
    settings.threads = options.threads;
    FitReport fit = fitHLQ(view, settings, planes, scales, zeros);
    result = {sizeof result, 0, fit.clampedGroups, fit.squaredError, fit.squaredError, fit.squaredNorm, fit.cpuSeconds};
    if (report)
      hand(report, result);
    return fit.error;
  }
  std::unique_ptr<Hessian> equal;
  std::string error;
  if (!hessian) {
    HessianOptions settings;
    settings.groupSize = options.groupSize;
    equal = Hessian::createDiagonal(std::vector<float>(std::max<int64_t>(view.cols, 0), 1.0f).data(), view.cols, settings, error);
    if (!equal)
      return error;
    hessian = equal.get();
  }
  if (hessian->groupSize != options.groupSize)
    return "the Hessian was made for groups of " + std::to_string(hessian->groupSize) + ", not of " + std::to_string(options.groupSize);
  HessianSolveOptions settings;
  settings.bits = options.bits;
  settings.kind = static_cast<ParameterKind>(options.kind);
  settings.fitIterations = options.fitIterations;
  settings.starts = options.starts;
  settings.isWeighted = options.isWeighted;
  settings.hasFeedback = options.hasFeedback;
  settings.hasFrozenCodes = options.hasFrozenCodes;
  settings.maxRounds = options.maxRounds;
  settings.tolerance = options.tolerance;
  settings.threads = options.threads;
  if (options.progress)
    settings.progress = [&](int64_t done, int64_t total) { return options.progress(options.user, done, total) != 0; };
  HessianReport solved = solveWithHessian(view, *hessian, settings, planes, scales, zeros, rowLoss);
  result = {sizeof result,       solved.rounds,      solved.clampedGroups, solved.loss,
            solved.squaredError, solved.squaredNorm, solved.cpuSeconds};
  if (report)
    hand(report, result);
  return solved.error;
}

int32_t elutqSolve(const ElutqMatrix *weights, const ElutqHessian *hessian, const ElutqSolveOptions *given, uint8_t *planes,
                   uint16_t *scales, void *zeros, double *rowLoss, ElutqSolveReport *report) {
  return guard([&]() -> std::string {
    ElutqSolveOptions options = complete(given, elutqSolveOptionsInit);
    if (!weights || weights->structSize < sizeof *weights || !planes || !scales || !zeros)
      return "expected weights, and memory for planes, scales and zeros";
    if (weights->type < ELUTQ_F32 || weights->type > ELUTQ_BF16 || options.kind < ELUTQ_HLQ || options.kind > ELUTQ_COMPACT)
      return "expected a data type from 0 to 2 and a kind of parameters from 0 to 3";
    MatrixView view{weights->data,    static_cast<DataType>(weights->type), weights->rows, weights->columns,
                    weights->rowStride, weights->columnStride};
    return solve(view, hessian ? hessian->hessian.get() : nullptr, options, planes, scales, zeros, rowLoss, report);
  });
}
