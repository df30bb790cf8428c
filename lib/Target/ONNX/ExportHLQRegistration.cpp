//===- ExportHLQRegistration.cpp - elutq-translate --onnx-to-hlq-onnx -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

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
  cl::opt<std::string> params{"hlq-onnx-params", cl::desc("Parameters of a group: hlq (default) or compact"), cl::init("hlq")};
  cl::opt<int64_t> groupSize{"hlq-onnx-group-size", cl::desc("Weights per group (default 128)"), cl::init(128)};
};
} // namespace

static LogicalResult translate(SourceMgr &sources, const ExportFlags &flags, MLIRContext *context) {
  auto fail = [&](const Twine &message) { return emitError(UnknownLoc::get(context)) << message; };
  if (flags.output.empty())
    return fail("--onnx-to-hlq-onnx needs --hlq-onnx-output=path: the model has a second file beside it");
  if (!quantize::isBits(flags.bits) || flags.groupSize < 16 || flags.groupSize % 16 != 0 || flags.groupSize > 1 << 20)
    return fail("expected --hlq-onnx-bits of 1 to 4 or 8 and a --hlq-onnx-group-size that is a multiple of 16");
  if (flags.params != "hlq" && flags.params != "compact")
    return fail("expected --hlq-onnx-params to be hlq or compact, but got '" + flags.params + "'");
  StringRef path = sources.getMemoryBuffer(sources.getMainFileID())->getBufferIdentifier();
  quantize::FitOptions options;
  options.bits = flags.bits;
  options.groupSize = flags.groupSize;
  if (flags.params == "compact")
    options.kind = quantize::ParameterKind::Compact;
  if (Error error = exportHLQONNX(path, flags.output, [&](const FloatMatrix &matrix) -> Expected<std::optional<HLQMatrix>> {
        return fitMatrix(matrix, options);
      }))
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
