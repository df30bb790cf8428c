//===- Measurement.h - Time a compiled product ------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_BENCHMARKS_KERNELS_MEASUREMENT_H
#define ELUTQ_BENCHMARKS_KERNELS_MEASUREMENT_H

#include "elutq/Tune/ProductMemory.h"

namespace elutq::bench {

using tune::Product, tune::ProductOptions, tune::Weights;

struct MeasurementOptions {
  int threads = 2;
  tune::MemoryOptions memory;
  /// How long to measure.
  double seconds = 1;
  /// Compare with products of floats, too.
  bool check = false;
};

/// Times are medians, in microseconds per product.
struct Measurement {
  double time = 0, bestTime = 0;
  /// Bytes per second, read by as many threads in the same seconds.
  double bandwidth = 0;
  /// Bytes of weights per second by bandwidth, the median of rounds of 0.1 s that compare the two.
  double share = 0;
  /// Operations per second; see measureCeiling.
  double ceiling = 0;
  int64_t copies = 0, samples = 0;
  /// Of the weights.
  double hugePageShare = 0;
  /// Largest deviation of a checked result by the mean magnitude of results; negative where not checked.
  double error = -1;
};

llvm::Expected<Measurement> measure(const Product &product, const ProductOptions &options, const Weights &weights,
                                    const MeasurementOptions &how);

/// Largest deviation of `y` `[m][n]` from products of floats, over a sample of rows and columns, by the root of the mean
/// square of the sample.
double deviation(const ProductOptions &options, const Weights &weights, const float *x, const float *y);

} // namespace elutq::bench

#endif // ELUTQ_BENCHMARKS_KERNELS_MEASUREMENT_H
