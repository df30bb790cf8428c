//===- elutq-bench-kernels.cpp - Compile and time one product -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Measurement.h"
#include "elutq/Tune/Tuner.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace elutq;
using namespace elutq::bench;

namespace {
struct Options {
  ProductOptions product;
  MeasurementOptions how;
  std::string cpu, features;
  /// Time the kernels among which elutq-compile --tune chooses.
  bool candidates = false;
};
} // namespace

/// An error if a number or name is out of its range.
static Error verify(const ProductOptions &options) {
  auto positive = [](StringRef name, int64_t value, int64_t limit) -> Error {
    if (value >= 1 && value <= limit)
      return Error::success();
    return createStringError("expected " + name + " to be 1 to " + Twine(limit) + ", but got " + Twine(value));
  };
  constexpr int64_t kLimit = 1 << 20;
  if (Error error = positive("-bits", options.bits, 4))
    return error;
  for (auto [name, value] : {std::pair<StringRef, int64_t>{"-m", options.m}, {"-n", options.n}, {"-k", options.k}})
    if (Error error = positive(name, value, kLimit))
      return error;
  if (!is_contained({16, 32, 64, 128, 256}, options.group))
    return createStringError("expected -group to be 16, 32, 64, 128 or 256, but got " + Twine(options.group));
  if (!is_contained({"hlq", "uniform", "symmetric", "compact"}, options.params))
    return createStringError("expected -params to be hlq, uniform, symmetric or compact, but got '" + options.params + "'");
  if (options.paramType != "f16" && options.paramType != "f32")
    return createStringError("expected -param-type to be f16 or f32, but got '" + options.paramType + "'");
  if (!is_contained({"auto", "lut", "dot"}, options.algorithm))
    return createStringError("expected -algorithm to be auto, lut or dot, but got '" + options.algorithm + "'");
  if (options.tableBits != 8 && options.tableBits != 16)
    return createStringError("expected -tables to be 8 or 16, but got " + Twine(options.tableBits));
  return Error::success();
}

static Expected<Options> parseCommandLine(int argc, char **argv) {
  Options options;
  auto &[product, how, cpu, features, candidates] = options;
  cl::ResetCommandLineParser();
  cl::OptionCategory category("elutq-bench-kernels options");
  cl::opt<int64_t, true> bits("bits", cl::desc("Bits of a weight, 1 to 4; default 2"), cl::location(product.bits), cl::init(2),
                              cl::cat(category));
  cl::opt<int64_t, true> group("group", cl::desc("Columns per group; default 128"), cl::location(product.group), cl::init(128),
                               cl::cat(category));
  cl::opt<int64_t, true> m("m", cl::desc("Rows of activations; default 1"), cl::location(product.m), cl::init(1), cl::cat(category));
  cl::opt<int64_t, true> n("n", cl::desc("Rows of weights; default 4096"), cl::location(product.n), cl::init(4096),
                           cl::cat(category));
  cl::opt<int64_t, true> k("k", cl::desc("Columns; default 4096"), cl::location(product.k), cl::init(4096), cl::cat(category));
  cl::opt<std::string, true> params("params", cl::desc("Parameters of a group: hlq (default), uniform, symmetric or compact"),
                                    cl::location(product.params), cl::init("hlq"), cl::cat(category));
  cl::opt<std::string, true> paramType("param-type", cl::desc("Type of the parameters: f16 (default) or f32"),
                                       cl::location(product.paramType), cl::init("f16"), cl::cat(category));
  cl::opt<int64_t, true> tables("tables", cl::desc("Bits of an activation table's entries: 8 (default) or 16"),
                                cl::location(product.tableBits), cl::init(8), cl::cat(category));
  cl::opt<std::string, true> algorithm("algorithm", cl::desc("auto (default: what the cost model chooses), lut or dot"),
                                       cl::location(product.algorithm), cl::init("auto"), cl::cat(category));
  cl::opt<std::string, true> mcpu("mcpu", cl::desc("Processor to compile for; default: native"), cl::location(cpu),
                                 cl::init("native"), cl::cat(category));
  cl::opt<std::string, true> mattr("mattr", cl::desc("Processor features to add or remove"), cl::value_desc("+a,-b"),
                                      cl::location(features), cl::cat(category));
  cl::opt<std::string, true> kernel("kernel", cl::desc("Use this kernel, not the cost model's"), cl::value_desc("#hlq.kernel<...>"),
                                    cl::location(product.kernel), cl::cat(category));
  cl::opt<std::string, true> layout("layout", cl::desc("Use this layout, not the cost model's"), cl::value_desc("#hlq.layout<...>"),
                                    cl::location(product.layout), cl::cat(category));
  cl::opt<std::string, true> assembly("emit-asm", cl::desc("Write the assembly, too"), cl::value_desc("file"),
                                      cl::location(product.assembly), cl::cat(category));
  cl::opt<int, true> threads("threads", cl::desc("Threads; default 2"), cl::location(how.threads), cl::init(2), cl::cat(category));
  cl::opt<double, true> seconds("seconds", cl::desc("How long to measure; default 1"), cl::location(how.seconds), cl::init(1.0),
                                cl::cat(category));
  cl::opt<bool, true> cache("cache", cl::desc("Read the same weights in every product, not copies beyond all caches"),
                            cl::location(how.memory.inCache), cl::cat(category));
  cl::opt<bool, true> huge("huge-pages", cl::desc("Weights in huge pages, not in a mapped file as in a model"),
                           cl::location(how.memory.hugePages), cl::cat(category));
  cl::opt<bool, true> check("check", cl::desc("Compare results with products of floats"), cl::location(how.check), cl::cat(category));
  cl::opt<bool, true> all("candidates",
                          cl::desc("Time the kernels among which elutq-compile --tune chooses, weights from memory; large matrices in part"),
                          cl::location(candidates), cl::cat(category));
  cl::HideUnrelatedOptions(category);
  // None of these may stay registered, for lld registers some of the same names while it runs.
  scope_exit reset([] { cl::ResetCommandLineParser(); });

  std::string message;
  raw_string_ostream messages(message);
  if (!cl::ParseCommandLineOptions(argc, argv, "Compiles one product of activations and HLQ weights and times it: one line of JSON\n",
                                   &messages)) {
    // What is no number was reported already.
    if (message.empty())
      std::exit(1);
    StringRef line = StringRef(message).trim().split('\n').first;
    line = line.contains(": ") ? line.split(": ").second : line;
    return createStringError(line.split(".  Try:").first.trim() + "; --help lists the options");
  }
  if (how.threads < 1 || how.threads > 1024)
    return createStringError("expected -threads to be 1 to 1024, but got " + Twine(how.threads));
  if (candidates && (how.memory.inCache || how.memory.hugePages || how.check || !product.kernel.empty() ||
                     !product.layout.empty() || !product.assembly.empty()))
    return createStringError("-candidates times kernels of its own in its own way: leave out -cache, -huge-pages, -check, -kernel, "
                             "-layout and -emit-asm");
  if (Error error = verify(product))
    return std::move(error);
  return Options(options);
}

/// What both modes say about a product.
static void printProduct(const ProductOptions &options, const MeasurementOptions &how, json::OStream &json) {
  json.attribute("bits", options.bits);
  json.attribute("params", options.params + " " + options.paramType);
  json.attribute("group", options.group);
  json.attribute("M", options.m);
  json.attribute("N", options.n);
  json.attribute("K", options.k);
  json.attribute("tables", options.tableBits);
  json.attribute("threads", how.threads);
}

static void print(const Options &all, const Product &product, const Measurement &result, raw_ostream &os) {
  const ProductOptions &options = all.product;
  const MeasurementOptions &how = all.how;
  double operations = 2.0 * static_cast<double>(options.m) * static_cast<double>(options.n) * static_cast<double>(options.k);
  json::OStream json(os);
  // A measurement has no more digits than these.
  auto number = [&](StringRef name, double value, const char *digits = "%.2f") {
    json.attributeBegin(name);
    json.rawValue([&](raw_ostream &raw) { raw << format(digits, value); });
    json.attributeEnd();
  };
  json.object([&] {
    printProduct(options, how, json);
    json.attribute("memory", how.memory.inCache ? "cache" : how.memory.hugePages ? "huge pages" : "file");
    json.attribute("cpu", all.cpu);
    json.attribute("isa", product.isa);
    json.attribute("kernel", product.kernel);
    json.attribute("layout", product.layout);
    number("us", result.time);
    number("us_best", result.bestTime);
    number("gops", operations / result.time / 1e3, "%.1f");
    number("gb_s", static_cast<double>(product.packedBytes) / result.time / 1e3);
    number("bandwidth_gb_s", result.bandwidth / 1e9);
    number("of_bandwidth", result.share, "%.3f");
    if (result.ceiling > 0)
      number("ceiling_gops", result.ceiling / 1e9, "%.1f");
    json.attribute("bytes", product.packedBytes);
    number("huge_pages", result.hugePageShare);
    json.attribute("copies", result.copies);
    json.attribute("samples", result.samples);
    number("compile_s", product.compileSeconds);
    if (result.error >= 0)
      number("error", result.error, "%.3g");
  });
  os << "\n";
}

/// The kernels of `timed`, the cost model's first, and what that one loses.
static void print(const Options &all, StringRef isa, ArrayRef<tune::TimedKernel> timed, raw_ostream &os) {
  json::OStream json(os);
  json.object([&] {
    printProduct(all.product, all.how, json);
    json.attribute("cpu", all.cpu);
    json.attribute("isa", isa);
    json.attributeArray("kernels", [&] {
      for (const tune::TimedKernel &kernel : timed)
        json.object([&] {
          json.attribute("algorithm", StringRef(elutq::toString(kernel.choice.algorithm)));
          json.attribute("m_tile", kernel.choice.mTile);
          json.attribute("n_tile", kernel.choice.nTile);
          json.attribute("table_bits", kernel.choice.tableBits);
          json.attributeBegin("us");
          json.rawValue([&](raw_ostream &raw) { raw << format("%.2f", kernel.time); });
          json.attributeEnd();
        });
    });
  });
  os << "\n";
}

static Error run(const Options &options) {
  auto target = cpu::resolveTarget("", options.cpu, options.features);
  if (!target)
    return target.takeError();
  if (options.candidates) {
    auto timed = tune::timeKernels(options.product, *target, options.how.threads);
    if (!timed)
      return timed.takeError();
    print(options, target->getISA(), *timed, outs());
    return Error::success();
  }
  Weights weights = Weights::random(options.product);
  auto product = tune::compileProduct(options.product, weights, *target);
  if (!product)
    return product.takeError();
  auto result = measure(*product, options.product, weights, options.how);
  if (!result)
    return result.takeError();
  print(options, *product, *result, outs());
  return Error::success();
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  auto options = parseCommandLine(argc, argv);
  Error error = options ? run(*options) : options.takeError();
  if (!error)
    return 0;
  errs() << "elutq-bench-kernels: error: " << llvm::toString(std::move(error)) << "\n";
  return 1;
}
