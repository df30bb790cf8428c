//===- Measurement.cpp - Time a compiled product --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Measurement.h"
#include "Bandwidth.h"
#include "Ceiling.h"

#include <chrono>
#include <cmath>

using namespace llvm;
using namespace elutq;
using namespace elutq::bench;

/// A sample has as many products as take this long.
static constexpr double kSampleSeconds = 400e-6;
static constexpr double kWarmUpSeconds = 0.05;
static constexpr int64_t kMinSamples = 3;
/// Samples between two measurements of bandwidth take about this long.
static constexpr double kRoundSeconds = 0.1;

static Error toError(const runtime::Status &status) {
  return status.ok() ? Error::success() : createStringError(status.getText());
}

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

Expected<Measurement> bench::measure(const Product &product, const ProductOptions &options, const Weights &weights,
                                     const MeasurementOptions &how) {
  Measurement result;
  auto memory = tune::ProductMemory::create(product, options, how.memory);
  if (!memory)
    return memory.takeError();
  result.copies = memory->getCopies();
  result.hugePageShare = memory->getHugePageShare();

  runtime::ThreadPool pool(how.threads);
  if (pool.getThreads() != how.threads)
    return createStringError("the system refuses to start " + Twine(how.threads) + " threads");
  runtime::currentPool = &pool;
  double first = memory->run(product, 1);
  if (how.check)
    result.error = deviation(options, weights, memory->getInput(), memory->getResult());
  double warmUp = seconds();
  while (seconds() - warmUp < kWarmUpSeconds)
    first = std::min(first, memory->run(product, 1));
  Bandwidth bandwidth;
  if (Error error = toError(Bandwidth::create(2 * tune::getStreamBytes(), bandwidth)))
    return std::move(error);
  double before = bandwidth.measure(pool);

  int64_t perSample = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(kSampleSeconds / first)));
  std::vector<double> times, bandwidths, shares;
  double begin = seconds();
  do {
    result.ceiling = std::max(result.ceiling, measureCeiling(product, options, pool));
    if (how.memory.inCache)
      memory->run(product, perSample);
    std::vector<double> round;
    double roundBegin = seconds();
    do
      round.push_back(memory->run(product, perSample) * 1e6);
    while (seconds() - roundBegin < kRoundSeconds);
    // Virtual processors move about, and bandwidth with them: what counts is that before and after the same products.
    double after = bandwidth.measure(pool), mean = (before + after) / 2;
    before = after;
    bandwidths.push_back(mean);
    shares.push_back(static_cast<double>(product.packedBytes) / (median(round) * 1e-6) / mean);
    append_range(times, round);
  } while (seconds() - begin < how.seconds || static_cast<int64_t>(times.size()) < kMinSamples);
  runtime::currentPool = nullptr;

  result.time = median(times);
  result.bestTime = *std::min_element(times.begin(), times.end());
  result.bandwidth = median(bandwidths);
  result.share = median(shares);
  result.samples = static_cast<int64_t>(times.size());
  return result;
}
