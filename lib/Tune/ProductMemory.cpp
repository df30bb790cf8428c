//===- ProductMemory.cpp - What compiled products read and write ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Tune/ProductMemory.h"
#include "HugePages.h"
#include "MappedFile.h"
#include "elutq/Support/OutputFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <chrono>
#include <cstring>

using namespace llvm;
using namespace elutq;
using namespace elutq::tune;

/// Of all copies of the weights, at least and at most, beside eight times the last-level cache. Servers have caches for many more cores
/// than a process uses.
static constexpr uint64_t kMinStreamBytes = uint64_t(256) << 20, kMaxStreamBytes = uint64_t(1) << 30;
/// Different activations are limited to this: a product computes its tables from them in any case.
static constexpr uint64_t kMaxInputBytes = uint64_t(64) << 20;

static Error toError(const runtime::Status &status) {
  return status.ok() ? Error::success() : createStringError(status.getText());
}

uint64_t tune::getStreamBytes() {
  // What sysconf says is that of all cores together.
  auto text = MemoryBuffer::getFile("/sys/devices/system/cpu/cpu0/cache/index3/size", /*IsText=*/true);
  uint64_t kilobytes = 0;
  if (text)
    (*text)->getBuffer().trim().rtrim('K').getAsInteger(10, kilobytes);
  return std::clamp(8 * (kilobytes << 10), kMinStreamBytes, kMaxStreamBytes);
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

  double getHugePageShare() const {
    return static_cast<double>(runtime::countHugePageBytes(mapping.data(), mapping.size())) / static_cast<double>(mapping.size());
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
    if (std::error_code code = sys::fs::createTemporaryFile("elutq-tune", "weights", path))
      return createStringError(code, "cannot create a temporary file: " + code.message());
    Error error = writeFile(product, copies, path);
    if (!error)
      error = toError(runtime::Mapping::mapFile(path.str().str(), mapping));
    // The mapping keeps the file's bytes.
    sys::fs::remove(path);
    if (!error)
      mapping.adviseWillNeed(0, mapping.size());
    return error;
  }

  /// As the compiler writes a model: in whole huge pages of the file, which file systems keep as such.
  Error writeFile(const Product &product, int64_t copies, StringRef path) {
    auto file = OutputFile::create(path);
    if (!file)
      return file.takeError();
    for (int64_t i = 0; i < copies; ++i) {
      if (Error error = product.writeWeights([&](ArrayRef<char> bytes) { return file->write(bytes); }))
        return error;
      if (Error error = file->writeZeros(stride - product.weightsBytes))
        return error;
    }
    return file->commit();
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

struct ProductMemory::Impl {
  WeightsMemory weights;
  runtime::Mapping arena, activations, results;
  /// Numbers from one input to the next: lines of cache are shared by no two.
  uint64_t inputStride = 0, inputs = 0;
  int64_t copies = 0, rows = 0, next = 0;
  std::vector<int64_t> tokens;
};

ProductMemory::ProductMemory(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
ProductMemory::ProductMemory(ProductMemory &&other) = default;
ProductMemory::~ProductMemory() = default;

Expected<ProductMemory> ProductMemory::create(const Product &product, const ProductOptions &options, const MemoryOptions &how) {
  auto impl = std::make_unique<Impl>();
  impl->rows = options.m;
  impl->tokens.resize(static_cast<size_t>(options.m));
  impl->copies = how.inCache ? 1 : static_cast<int64_t>(divideCeil(getStreamBytes(), std::max<uint64_t>(product.weightsBytes, 1)));
  auto weights = WeightsMemory::create(product, impl->copies, how.hugePages);
  if (!weights)
    return weights.takeError();
  impl->weights = std::move(*weights);
  impl->weights.touchPages();

  impl->inputStride = alignTo(static_cast<uint64_t>(options.m) * static_cast<uint64_t>(options.k), 16);
  uint64_t inputBytes = impl->inputStride * sizeof(float);
  impl->inputs = std::clamp<uint64_t>(kMaxInputBytes / inputBytes, 1, static_cast<uint64_t>(impl->copies));
  std::vector<float> x = randomInputs(impl->inputStride * impl->inputs);
  uint64_t resultBytes = static_cast<uint64_t>(options.m * options.n) * sizeof(float);
  for (const runtime::Status &status :
       {runtime::Mapping::mapZeros(resultBytes, "the results", impl->results),
        runtime::Mapping::mapZeros(inputBytes * impl->inputs, "the activations", impl->activations)})
    if (!status.ok())
      return toError(status);
  std::memcpy(impl->activations.data(), x.data(), inputBytes * impl->inputs);
  ProductMemory result(std::move(impl));
  if (Error error = result.reserve(product))
    return std::move(error);
  return std::move(result);
}

Error ProductMemory::reserve(const Product &product) {
  if (product.arenaBytes <= impl->arena.size())
    return Error::success();
  return toError(runtime::Mapping::mapZeros(product.arenaBytes, "the arena", impl->arena));
}

double ProductMemory::run(const Product &product, int64_t calls) {
  auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < calls; ++i) {
    uint64_t input = static_cast<uint64_t>(impl->next) % impl->inputs * impl->inputStride * sizeof(float);
    product.entry(impl->tokens.data(), impl->rows, 0, impl->arena.data(), impl->weights.copy(impl->next % impl->copies),
                  impl->activations.data() + input, reinterpret_cast<float *>(impl->results.data()));
    ++impl->next;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / static_cast<double>(calls);
}

int64_t ProductMemory::getCopies() const { return impl->copies; }
double ProductMemory::getHugePageShare() const { return impl->weights.getHugePageShare(); }
const float *ProductMemory::getInput() const { return reinterpret_cast<const float *>(impl->activations.data()); }
const float *ProductMemory::getResult() const { return reinterpret_cast<const float *>(impl->results.data()); }
