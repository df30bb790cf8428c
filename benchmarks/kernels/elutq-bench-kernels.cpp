//===- elutq-bench-kernels.cpp - Compile and time one product -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Measurement.h"
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
};
} // namespace

static Expected<Options> parseCommandLine(int argc, char **argv) {
  Options options;
  auto &[product, how] = options;
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
  cl::opt<std::string, true> params("params", cl::desc("Parameters of a group: hlq (default), uniform or symmetric"),
                                    cl::location(product.params), cl::init("hlq"), cl::cat(category));
  cl::opt<std::string, true> paramType("param-type", cl::desc("Type of the parameters: f16 (default) or f32"),
                                       cl::location(product.paramType), cl::init("f16"), cl::cat(category));
  cl::opt<int64_t, true> tables("tables", cl::desc("Bits of an activation table's entries: 8 (default) or 16"),
                                cl::location(product.tableBits), cl::init(8), cl::cat(category));
  cl::opt<std::string, true> algorithm("algorithm", cl::desc("auto (default: what the cost model chooses), lut or dot"),
                                       cl::location(product.algorithm), cl::init("auto"), cl::cat(category));
  cl::opt<std::string, true> cpu("mcpu", cl::desc("Processor to compile for; default: native"), cl::location(product.cpu),
                                 cl::init("native"), cl::cat(category));
  cl::opt<std::string, true> features("mattr", cl::desc("Processor features to add or remove"), cl::value_desc("+a,-b"),
                                      cl::location(product.features), cl::cat(category));
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
                            cl::location(how.inCache), cl::cat(category));
  cl::opt<bool, true> huge("huge-pages", cl::desc("Weights in huge pages, not in a mapped file as in a model"),
                           cl::location(how.hugePages), cl::cat(category));
  cl::opt<bool, true> check("check", cl::desc("Compare results with products of floats"), cl::location(how.check), cl::cat(category));
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
  if (Error error = verify(product))
    return std::move(error);
  return Options(options);
}

static void print(const ProductOptions &options, const MeasurementOptions &how, const Product &product,
                  const Measurement &result, raw_ostream &os) {
  double operations = 2.0 * static_cast<double>(options.m) * static_cast<double>(options.n) * static_cast<double>(options.k);
  json::OStream json(os);
  // A measurement has no more digits than these.
  auto number = [&](StringRef name, double value, const char *digits = "%.2f") {
    json.attributeBegin(name);
    json.rawValue([&](raw_ostream &raw) { raw << format(digits, value); });
    json.attributeEnd();
  };
  json.object([&] {
    json.attribute("bits", options.bits);
    json.attribute("params", options.params + " " + options.paramType);
    json.attribute("group", options.group);
    json.attribute("M", options.m);
    json.attribute("N", options.n);
    json.attribute("K", options.k);
    json.attribute("tables", options.tableBits);
    json.attribute("threads", how.threads);
    json.attribute("memory", how.inCache ? "cache" : how.hugePages ? "huge pages" : "file");
    json.attribute("cpu", options.cpu);
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
    json.attribute("copies", result.copies);
    json.attribute("samples", result.samples);
    number("compile_s", product.compileSeconds);
    if (result.error >= 0)
      number("error", result.error, "%.3g");
  });
  os << "\n";
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  auto fail = [](Error error) {
    errs() << "elutq-bench-kernels: error: " << toString(std::move(error)) << "\n";
    return 1;
  };
  auto parsed = parseCommandLine(argc, argv);
  if (!parsed)
    return fail(parsed.takeError());
  const auto &[options, how] = *parsed;
  Weights weights = Weights::random(options);
  auto product = compileProduct(options, weights);
  if (!product)
    return fail(product.takeError());
  auto result = measure(*product, options, weights, how);
  if (!result)
    return fail(result.takeError());
  print(options, how, *product, *result, outs());
  return 0;
}
