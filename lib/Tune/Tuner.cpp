//===- Tuner.cpp - Choose kernels by timing them --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Tune/Tuner.h"
#include "CpuFeatures.h"
#include "ThreadPool.h"
#include "elutq/Tune/ProductMemory.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/ScopeExit.h"

#include <chrono>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

using namespace llvm;
using namespace elutq;
using namespace elutq::tune;

/// Packed weights of a product whose time says enough: many tasks of each thread.
static constexpr int64_t kSliceBytes = int64_t(16) << 20;
/// Kernels take turns, so that what disturbs the machine disturbs all of them. The best turn of each counts.
static constexpr int kTurns = 8;
static constexpr double kTurnSeconds = 0.008;
/// What is slower than the best by this factor in so many turns gets no other one.
static constexpr double kHopeless = 1.4;
static constexpr int kFairTurns = 3;
/// Measurements of one kernel differ by this share.
static constexpr double kNoise = 0.03;

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static quantize::PackedLayout getPackedLayout(const ProductOptions &options, KernelISA isa) {
  using Params = quantize::PackedLayout::Params;
  quantize::PackedLayout layout = getLayout(isa, options.bits, options.group);
  layout.params = options.params == "hlq"       ? Params::HLQ
                  : options.params == "uniform" ? Params::Uniform
                  : options.params == "compact" ? Params::Compact
                                                : Params::Symmetric;
  layout.paramBytes = options.paramType == "f32" ? 4 : 2;
  return layout;
}

/// The number of rows of weights that are enough to time `kernels`: all, or a multiple of the rows of each one's task.
static int64_t getSliceRows(ArrayRef<KernelChoice> kernels, const quantize::PackedLayout &layout, int64_t n, int64_t groups) {
  int64_t blocks = 1;
  for (const KernelChoice &kernel : kernels)
    blocks = std::lcm(blocks, kernel.nTile);
  int64_t bytes = blocks * layout.rowBlockBytes(groups);
  return std::min(n, blocks * std::max<int64_t>(kSliceBytes / bytes, 1) * layout.rows);
}

Expected<std::vector<TimedKernel>> tune::timeKernels(const ProductOptions &options, const cpu::TargetInfo &target, int threads) {
  KernelISA isa = *parseKernelISA(target.getISA());
  quantize::PackedLayout layout = getPackedLayout(options, isa);
  ProductShape shape{options.m, options.n, options.getGroups()};
  std::vector<KernelChoice> kernels =
      listKernels(isa, layout, shape, options.tableBits, parseKernelAlgorithm(options.algorithm));
  ProductOptions slice = options;
  slice.n = getSliceRows(kernels, layout, options.n, shape.groups);

  Weights weights = Weights::random(slice);
  std::vector<Product> products;
  for (const KernelChoice &kernel : kernels) {
    slice.choice = kernel;
    auto product = compileProduct(slice, weights, target);
    if (!product)
      return product.takeError();
    products.push_back(std::move(*product));
  }
  auto memory = ProductMemory::create(products.front(), slice, MemoryOptions());
  if (!memory)
    return memory.takeError();
  for (const Product &product : products)
    if (Error error = memory->reserve(product))
      return std::move(error);

  runtime::ThreadPool pool(threads);
  runtime::currentPool = &pool;
  scope_exit reset([] { runtime::currentPool = nullptr; });
  std::vector<TimedKernel> result;
  for (const auto &[kernel, product] : zip(kernels, products)) {
    // Once for what only the first call does.
    memory->run(product, 1);
    result.push_back({kernel, HUGE_VAL});
  }
  double best = HUGE_VAL;
  for (int turn = 0; turn < kTurns; ++turn)
    for (const auto &[timed, product] : zip(result, products)) {
      // The model's kernel is what the others are compared with.
      if (turn >= kFairTurns && timed.time > kHopeless * best && &timed != &result.front())
        continue;
      std::vector<double> times;
      double begin = seconds();
      do
        times.push_back(memory->run(product, 1) * 1e6);
      while (seconds() - begin < kTurnSeconds);
      std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
      timed.time = std::min(timed.time, times[times.size() / 2]);
      best = std::min(best, timed.time);
    }
  return result;
}

/// Everything that the time of `linear` depends on.
static ProductOptions getOptions(hlq::LinearOp linear, const hlq::KernelSelector &selector) {
  auto inputType = cast<mlir::ShapedType>(linear.getInput().getType());
  hlq::LayoutAttr layout = selector.selectLayout(linear);
  ProductOptions options;
  options.bits = linear.getBits();
  options.group = linear.getGroupSize();
  options.m = inputType.getDimSize(0);
  options.n = linear.getNumRows();
  options.k = inputType.getDimSize(1);
  options.params = hlq::stringifyParams(layout.getParams()).str();
  options.paramType = layout.getParamType().isF32() ? "f32" : "f16";
  options.tableBits = selector.getTableBits(linear);
  if (auto algorithm = selector.getAlgorithm())
    options.algorithm = std::string(toString(*algorithm));
  return options;
}

namespace {
/// What products that read one activation must have in common to share its tables.
struct Form {
  KernelAlgorithm algorithm;
  int64_t mTile, tableBits;

  explicit Form(const KernelChoice &choice) : algorithm(choice.algorithm), mTile(choice.mTile), tableBits(choice.tableBits) {}
  auto asTuple() const { return std::tie(algorithm, mTile, tableBits); }
  bool operator==(const Form &other) const { return asTuple() == other.asTuple(); }
  bool operator<(const Form &other) const { return asTuple() < other.asTuple(); }
};

/// A product and its kernels, the cost model's first.
struct TimedProduct {
  hlq::LinearOp linear;
  ArrayRef<TimedKernel> kernels;
};
} // namespace

/// The fastest of `kernels` of `form`, the first one of it unless the difference is more than noise; null without any.
static const TimedKernel *getFastest(ArrayRef<TimedKernel> kernels, const Form &form) {
  const TimedKernel *first = nullptr, *fastest = nullptr;
  for (const TimedKernel &kernel : kernels) {
    if (!(Form(kernel.choice) == form))
      continue;
    if (!first)
      first = fastest = &kernel;
    else if (kernel.time < fastest->time && kernel.time < (1 - kNoise) * first->time)
      fastest = &kernel;
  }
  return fastest;
}

/// The form with the least time of all `products`, the cost model's unless the difference is more than noise.
static Form chooseForm(ArrayRef<TimedProduct> products) {
  auto getTime = [&](const Form &form) {
    double time = 0;
    for (const TimedProduct &product : products) {
      const TimedKernel *kernel = getFastest(product.kernels, form);
      time += kernel ? kernel->time : HUGE_VAL;
    }
    return time;
  };
  Form best(products.front().kernels.front().choice);
  double limit = (1 - kNoise) * getTime(best);
  for (const TimedKernel &kernel : products.front().kernels) {
    Form form(kernel.choice);
    if (double time = getTime(form); time < limit) {
      best = form;
      limit = time;
    }
  }
  return best;
}

Expected<TunedProducts> tune::tuneKernels(mlir::ModuleOp module, const hlq::KernelSelector &selector,
                                          const cpu::TargetInfo &target,
                                          function_ref<void(const ProductOptions &, ArrayRef<TimedKernel>)> progress) {
  if (Error error = checkRunsHere(target))
    return std::move(error);
  SmallVector<hlq::LinearOp> linears;
  module.walk([&](hlq::LinearOp linear) {
    bool isStatic = cast<mlir::ShapedType>(linear.getInput().getType()).hasStaticShape();
    if (isStatic && !linear->hasAttr(hlq::kernelAttrName) && !linear->hasAttr(hlq::layoutAttrName))
      linears.push_back(linear);
  });

  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, std::string, std::string>;
  std::map<Key, std::vector<TimedKernel>> known;
  // By activation and the cost model's form.
  using Reader = std::pair<const void *, Form>;
  MapVector<Reader, SmallVector<TimedProduct>, std::map<Reader, unsigned>> sharing;
  int threads = runtime::getDefaultThreads();
  for (hlq::LinearOp linear : linears) {
    ProductOptions options = getOptions(linear, selector);
    auto [it, isNew] = known.try_emplace(Key(options.bits, options.group, options.m, options.n, options.k, options.tableBits,
                                             options.params, options.paramType));
    if (isNew) {
      auto timed = timeKernels(options, target, threads);
      if (!timed)
        return timed.takeError();
      it->second = std::move(*timed);
      progress(options, it->second);
    }
    sharing[Reader(linear.getInput().getAsOpaquePointer(), it->second.front().choice)].push_back({linear, it->second});
  }

  TunedProducts result;
  for (const auto &[key, products] : sharing) {
    Form form = chooseForm(products);
    for (const TimedProduct &product : products) {
      const TimedKernel &model = product.kernels.front(), &chosen = *getFastest(product.kernels, form);
      auto toAttr = [&](const TimedKernel &kernel) {
        return hlq::getKernelAttr(module.getContext(), selector.getISA(), kernel.choice);
      };
      TunedProduct tuned{toAttr(model), toAttr(chosen), model.time, chosen.time};
      product.linear->setAttr(hlq::kernelAttrName, tuned.kernel);
      result[product.linear] = tuned;
    }
  }
  return result;
}
