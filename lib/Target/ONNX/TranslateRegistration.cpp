//===- TranslateRegistration.cpp - elutq-translate --import-onnx -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "elutq/Target/ONNX/ImportONNX.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace llvm;
using namespace mlir;

namespace elutq {

namespace {
struct ImportFlags {
  cl::list<std::string> bindings{"bind-dim", cl::desc("Give a symbolic dimension of the inputs a value"),
                                 cl::value_desc("name=value")};
};
} // namespace

static Expected<ImportOptions> getOptions(const ImportFlags &flags) {
  ImportOptions options;
  for (StringRef binding : flags.bindings) {
    auto [name, text] = binding.rsplit('=');
    int64_t value;
    if (name.empty() || text.getAsInteger(10, value))
      return createStringError("expected --bind-dim=name=value, but got '" + binding + "'");
    options.dimBindings[name] = value;
  }
  return options;
}

static OwningOpRef<ModuleOp> translate(SourceMgr &sources, const ImportFlags &flags, MLIRContext *context) {
  // The importer needs the path: for external data, and to map the file.
  StringRef path = sources.getMemoryBuffer(sources.getMainFileID())->getBufferIdentifier();
  Location location = UnknownLoc::get(context);
  auto options = getOptions(flags);
  if (!options) {
    emitError(location) << toString(options.takeError());
    return nullptr;
  }
  auto module = importONNX(path, context, *options);
  if (!module) {
    emitError(location) << toString(module.takeError());
    return nullptr;
  }
  return std::move(*module);
}

void registerImportONNXTranslation() {
  static ImportFlags flags;
  TranslateToMLIRRegistration registration(
      "import-onnx", "Import an ONNX model (.onnx, .onnxtxt)",
      [](SourceMgr &sources, MLIRContext *context) { return translate(sources, flags, context); },
      [](DialectRegistry &registry) { registry.insert<func::FuncDialect, arith::ArithDialect, onnx::ONNXDialect>(); });
}

} // namespace elutq
