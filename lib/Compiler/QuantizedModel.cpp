//===- QuantizedModel.cpp - Write the quantized model as ONNX -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuantizedModel.h"
#include "QuantizationPlan.h"
#include "elutq/Target/ONNX/ExportHLQ.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace elutq;

/// Bits of `matrix`; 0 leaves it in float.
static int64_t chooseBits(const FloatMatrix &matrix, const QuantizationOptions &options) {
  auto anyName = [&](function_ref<bool(StringRef)> test) {
    return test(matrix.name) || any_of(matrix.nodes, [&](const std::string &node) { return test(node); });
  };
  Regex exclude(options.exclude);
  if (!options.exclude.empty() && anyName([&](StringRef name) { return exclude.match(name); }))
    return 0;
  if (matrix.isGathered)
    return matrix.isMultiplied ? std::max(options.embeddingBits, options.headBits) : options.embeddingBits;
  return anyName([](StringRef name) { return name.contains("lm_head"); }) ? options.headBits : options.bits;
}

static Expected<std::optional<HLQMatrix>> quantizeMatrix(const FloatMatrix &matrix, MatrixChoice choice,
                                                         const CompileOptions &options) {
  quantize::FitOptions fit;
  fit.bits = choice.bits;
  if (fit.bits == 0)
    return std::nullopt;
  // One group per row: the row, rounded up to what a row of packed planes can hold.
  fit.groupSize = choice.groupSize ? choice.groupSize : (matrix.k + 31) / 32 * 32;
  fit.threads = options.threads;
  if (options.quantization.params == "compact")
    fit.kind = quantize::ParameterKind::Compact;
  Expected<HLQMatrix> result = fitMatrix(matrix, fit);
  if (!result)
    return result.takeError();
  if (!options.quiet)
    options.log(("elutq-compile: quantized " + matrix.name + " (" + Twine(matrix.n) + " x " + Twine(matrix.k) + ", " + Twine(fit.bits) +
                 " bits)\n")
                    .str());
  return std::move(*result);
}

Error elutq::writeQuantizedModel(const CompileOptions &options) {
  const QuantizationOptions &quantization = options.quantization;
  QuantizationPlan plan;
  if (!quantization.plan.empty()) {
    auto read = readQuantizationPlan(quantization.plan);
    if (!read)
      return read.takeError();
    plan = std::move(*read);
  }
  StringSet<> met;
  auto quantize = [&](const FloatMatrix &matrix) {
    auto planned = plan.find(matrix.name);
    met.insert(matrix.name);
    MatrixChoice choice = planned != plan.end() ? planned->second : MatrixChoice{chooseBits(matrix, quantization), quantization.groupSize};
    return quantizeMatrix(matrix, choice, options);
  };
  auto checkNames = [&]() -> Error {
    for (StringRef name : plan.keys())
      if (!met.contains(name))
        return createStringError("plan '" + quantization.plan + "': the model has no linear layer or table with the matrix '" + name + "'");
    return Error::success();
  };
  return exportHLQONNX(options.input, options.output, quantize, checkNames);
}
