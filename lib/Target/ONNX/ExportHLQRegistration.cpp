//===- ExportHLQRegistration.cpp - elutq-translate --onnx-to-hlq-onnx -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Quantize/Solver.h"
#include "elutq/Target/ONNX/ExportHLQ.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace llvm;
using namespace mlir;

namespace elutq {

namespace {
struct ExportFlags {
  cl::opt<std::string> output{"hlq-onnx-output", cl::desc("Path of the model that --onnx-to-hlq-onnx writes"),
                              cl::value_desc("path")};
  cl::opt<int64_t> bits{"hlq-onnx-bits", cl::desc("Bits per weight, 1 to 4 or 8 (default 4)"), cl::init(4)};
  cl::opt<int64_t> groupSize{"hlq-onnx-group-size", cl::desc("Weights per group (default 128)"), cl::init(128)};
};
} // namespace

static quantize::DataType getDataType(FloatMatrix::Type type) {
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

static Expected<std::optional<HLQMatrix>> quantizeMatrix(const FloatMatrix &matrix, const ExportFlags &flags) {
  HLQMatrix result;
  result.bits = flags.bits;
  result.groupSize = flags.groupSize;
  int64_t groups = quantize::numGroups(matrix.k, result.groupSize);
  result.planes.resize(quantize::numPlaneBytes(result.bits, matrix.n, groups, result.groupSize));
  result.scales.resize(matrix.n * groups * quantize::numScales(result.bits) * sizeof(uint16_t));
  result.zeros.resize(matrix.n * groups * sizeof(uint16_t));
  quantize::FitOptions options;
  options.bits = result.bits;
  options.groupSize = result.groupSize;
  quantize::MatrixView view{matrix.data.data(), getDataType(matrix.type), matrix.n,
                            matrix.k,           matrix.rowStride,         matrix.colStride};
  quantize::FitReport report = quantize::fitHLQ(view, options, reinterpret_cast<uint8_t *>(result.planes.data()),
                                                reinterpret_cast<uint16_t *>(result.scales.data()),
                                                reinterpret_cast<uint16_t *>(result.zeros.data()));
  if (!report.error.empty())
    return createStringError("initializer '" + matrix.name + "': " + report.error);
  return std::make_optional(std::move(result));
}

static LogicalResult translate(SourceMgr &sources, const ExportFlags &flags, MLIRContext *context) {
  auto fail = [&](const Twine &message) { return emitError(UnknownLoc::get(context)) << message; };
  if (flags.output.empty())
    return fail("--onnx-to-hlq-onnx needs --hlq-onnx-output=path: the model has a second file beside it");
  if (!quantize::isBits(flags.bits) || flags.groupSize < 16 || flags.groupSize % 16 != 0 || flags.groupSize > 1 << 20)
    return fail("expected --hlq-onnx-bits of 1 to 4 or 8 and a --hlq-onnx-group-size that is a multiple of 16");
  StringRef path = sources.getMemoryBuffer(sources.getMainFileID())->getBufferIdentifier();
  if (Error error = exportHLQONNX(path, flags.output,
                                  [&](const FloatMatrix &matrix) { return quantizeMatrix(matrix, flags); }))
    return fail(toString(std::move(error)));
  return success();
}

void registerExportHLQTranslation() {
  static ExportFlags flags;
  TranslateRegistration registration(
      "onnx-to-hlq-onnx", "Quantize the matrices of an ONNX model; the result is ONNX, too",
      [](const std::shared_ptr<SourceMgr> &sources, raw_ostream &, MLIRContext *context) {
        return translate(*sources, flags, context);
      });
}

} // namespace elutq
