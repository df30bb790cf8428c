//===- Measurement.cpp - Time a compiled product --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Measurement.h"
#include "Bandwidth.h"
#include "Ceiling.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <cmath>
#include <cstring>

using namespace llvm;
using namespace elutq;
using namespace elutq::bench;

/// Of all copies of the weights, at least, beside eight times the last-level cache.
static constexpr uint64_t kMinStreamBytes = uint64_t(256) << 20;
/// Different activations are limited to this: a product computes its tables from them in any case.
static constexpr uint64_t kMaxInputBytes = uint64_t(64) << 20;
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

static uint64_t getStreamBytes() {
  // What sysconf says is that of all cores together.
  auto text = MemoryBuffer::getFile("/sys/devices/system/cpu/cpu0/cache/index3/size", /*IsText=*/true);
  uint64_t kilobytes = 0;
  if (text)
    (*text)->getBuffer().trim().rtrim('K').getAsInteger(10, kilobytes);
  return std::max(kMinStreamBytes, 8 * (kilobytes << 10));
}

namespace {
/// Copies of a weights section, as the runtime maps them from a file, or in huge pages.
class WeightsMemory {
public:
  static Expected<WeightsMemory> create(const Product &product, int64_t copies, bool hugePages) {
    WeightsMemory result;
    result.stride = alignTo(std::max<uint64_t>(product.weightsBytes, 1), 64);
    Error error = hugePages ? result.fillHugePages(product, copies) : result.fillFile(product, copies);
    if (error)
      return std::move(error);
    return std::move(result);
  }
  const uint8_t *copy(int64_t i) const { return mapping.data() + static_cast<uint64_t>(i) * stride; }

  /// Reads a byte of each page, so that all are mapped.
  void touchPages() const {
    for (size_t i = 0; i < mapping.size(); i += 4096)
      static_cast<void>(*static_cast<const volatile uint8_t *>(mapping.data() + i));
  }

private:
  Error fillHugePages(const Product &product, int64_t copies) {
    if (Error error = toError(runtime::Mapping::mapZeros(stride * copies, "the weights", mapping)))
      return error;
    uint8_t *out = mapping.data();
    if (Error error = product.writeWeights([&](ArrayRef<char> bytes) {
          std::memcpy(out, bytes.data(), bytes.size());
          out += bytes.size();
          return Error::success();
        }))
      return error;
    for (int64_t i = 1; i < copies; ++i)
      std::memcpy(mapping.data() + i * stride, mapping.data(), product.weightsBytes);
    return Error::success();
  }

  Error fillFile(const Product &product, int64_t copies) {
    SmallString<128> path;
    int descriptor = -1;
    if (std::error_code code = sys::fs::createTemporaryFile("elutq-bench", "weights", descriptor, path))
      return createStringError(code, "cannot create a temporary file: " + code.message());
    raw_fd_ostream os(descriptor, /*shouldClose=*/true);
    Error error = Error::success();
    for (int64_t i = 0; i < copies && !error && !os.has_error(); ++i) {
      error = product.writeWeights([&](ArrayRef<char> bytes) {
        os.write(bytes.data(), bytes.size());
        return Error::success();
      });
      os.write_zeros(stride - product.weightsBytes);
    }
    os.close();
    std::error_code written = os.error();
    os.clear_error();
    if (!error && written)
      error = createStringError(written, "cannot write '" + path.str() + "': " + written.message());
    if (!error)
      error = toError(runtime::Mapping::mapFile(path.str().str(), mapping));
    // The mapping keeps the file's bytes.
    sys::fs::remove(path);
    if (!error)
      mapping.adviseWillNeed(0, mapping.size());
    return error;
  }

  runtime::Mapping mapping;
  uint64_t stride = 0;
};
} // namespace

/// Activations.
static std::vector<float> randomInputs(uint64_t count) {
  std::vector<float> result(count);
  uint32_t state = 2463534242u;
  for (float &value : result) {
    // The sum of four uniform numbers is about normal.
    float sum = 0;
    for (int i = 0; i < 4; ++i) {
      state ^= state << 13;
      state ^= state >> 17;
      state ^= state << 5;
      sum += static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
    }
    value = sum * 1.7f;
  }
  return result;
}

Expected<Measurement> bench::measure(const Product &product, const ProductOptions &options, const Weights &weights,
                                     const MeasurementOptions &how) {
  Measurement result;
  uint64_t streamBytes = getStreamBytes();
  result.copies = how.inCache ? 1 : static_cast<int64_t>(divideCeil(streamBytes, std::max<uint64_t>(product.weightsBytes, 1)));
  auto memory = WeightsMemory::create(product, result.copies, how.hugePages);
  if (!memory)
    return memory.takeError();

  uint64_t inputSize = static_cast<uint64_t>(options.m) * static_cast<uint64_t>(options.k);
  // Lines of cache are shared by no two inputs.
  uint64_t inputStride = alignTo(inputSize, 16);
  uint64_t inputs = std::clamp<uint64_t>(kMaxInputBytes / (inputStride * sizeof(float)), 1, static_cast<uint64_t>(result.copies));
  std::vector<float> x = randomInputs(inputStride * inputs);
  runtime::Mapping arena, output, cache;
  uint64_t cacheBytes = x.size() * sizeof(float), outputBytes = static_cast<uint64_t>(options.m * options.n) * sizeof(float);
  for (const runtime::Status &status : {runtime::Mapping::mapZeros(product.arenaBytes, "the arena", arena),
                                        runtime::Mapping::mapZeros(outputBytes, "the results", output),
                                        runtime::Mapping::mapZeros(cacheBytes, "the activations", cache)})
    if (!status.ok())
      return toError(status);
  std::memcpy(cache.data(), x.data(), cacheBytes);
  std::vector<int64_t> tokens(static_cast<size_t>(options.m));
  auto *y = reinterpret_cast<float *>(output.data());

  runtime::ThreadPool pool(how.threads);
  if (pool.getThreads() != how.threads)
    return createStringError("the system refuses to start " + Twine(how.threads) + " threads");
  runtime::currentPool = &pool;
  int64_t next = 0;
  auto runSome = [&](int64_t products) {
    double begin = seconds();
    for (int64_t i = 0; i < products; ++i) {
      product.entry(tokens.data(), options.m, 0, arena.data(), memory->copy(next % result.copies),
                    cache.data() + static_cast<uint64_t>(next) % inputs * inputStride * sizeof(float), y);
      ++next;
    }
    return (seconds() - begin) / static_cast<double>(products);
  };

  memory->touchPages();
  double first = runSome(1);
  if (how.check)
    result.error = deviation(options, weights, x.data(), y);
  double warmUp = seconds();
  while (seconds() - warmUp < kWarmUpSeconds)
    first = std::min(first, runSome(1));
  Bandwidth bandwidth;
  if (Error error = toError(Bandwidth::create(2 * streamBytes, bandwidth)))
    return std::move(error);
  double before = bandwidth.measure(pool);

  int64_t perSample = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(kSampleSeconds / first)));
  std::vector<double> times, bandwidths, shares;
  double begin = seconds();
  do {
    result.ceiling = std::max(result.ceiling, measureCeiling(product, options, pool));
    if (how.inCache)
      runSome(perSample);
    std::vector<double> round;
    double roundBegin = seconds();
    do
      round.push_back(runSome(perSample) * 1e6);
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
