//===- QuantizedModel.cpp - Write the quantized model as ONNX -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuantizedModel.h"
#include "elutq/Quantize/Solver.h"
#include "elutq/Target/ONNX/ExportHLQ.h"
#include "llvm/ADT/STLExtras.h"
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

static quantize::DataType dataType(FloatMatrix::Type type) {
  switch (type) {
  case FloatMatrix::Type::F32:
    return quantize::DataType::F32;
  case FloatMatrix::Type::F16:
    return quantize::DataType::F16;
  case FloatMatrix::Type::BF16:
    return quantize::DataType::BF16;
  }
  llvm_unreachable("unknown type");
}

static Expected<std::optional<HLQMatrix>> quantizeMatrix(const FloatMatrix &matrix, const CompileOptions &options) {
  HLQMatrix result;
  result.bits = chooseBits(matrix, options.quantization);
  if (result.bits == 0)
    return std::nullopt;
  // One group per row: the row, rounded up to what a row of packed planes can hold.
  result.groupSize = options.quantization.groupSize ? options.quantization.groupSize : (matrix.k + 31) / 32 * 32;
  int64_t groups = quantize::numGroups(matrix.k, result.groupSize);
  result.planes.resize(quantize::numPlaneBytes(result.bits, matrix.n, groups, result.groupSize));
  result.scales.resize(matrix.n * groups * quantize::numScales(result.bits) * sizeof(uint16_t));
  result.zeros.resize(matrix.n * groups * sizeof(uint16_t));
  quantize::FitOptions fit;
  fit.bits = result.bits;
  fit.groupSize = result.groupSize;
  fit.threads = options.threads;
  quantize::MatrixView view{matrix.data.data(), dataType(matrix.type), matrix.n,
                            matrix.k,           matrix.rowStride,      matrix.colStride};
  quantize::FitReport report = quantize::fitHLQ(view, fit, reinterpret_cast<uint8_t *>(result.planes.data()),
                                                reinterpret_cast<uint16_t *>(result.scales.data()),
                                                reinterpret_cast<uint16_t *>(result.zeros.data()));
  if (!report.error.empty())
    return createStringError("initializer '" + matrix.name + "': " + report.error);
  if (!options.quiet)
    errs() << "elutq-compile: quantized " << matrix.name << " (" << matrix.n << " x " << matrix.k << ", " << result.bits
           << " bits)\n";
  return std::make_optional(std::move(result));
}

Error elutq::writeQuantizedModel(const CompileOptions &options) {
  return exportHLQONNX(options.input, options.output,
                       [&](const FloatMatrix &matrix) { return quantizeMatrix(matrix, options); });
}
