//===- Diagnostics.h - Errors of one line ------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_DIAGNOSTICS_H
#define ELUTQ_LIB_COMPILER_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <mutex>
#include <string>

namespace elutq {

/// Keeps the first error that a pass reports, in place of printing it; tells warnings.
class DiagnosticCollector {
public:
  DiagnosticCollector(mlir::MLIRContext &context, std::function<void(llvm::StringRef)> log);

  /// What remarks are handed to, with the node's name; without it, they go nowhere.
  std::function<void(std::string node, std::string text)> takeRemark;

  /// What went wrong in `stage`: the reported error with the node's name, or else `fallback`, or else the stage's name.
  llvm::Error takeError(llvm::StringRef stage, llvm::Error fallback = llvm::Error::success());

private:
  std::mutex mutex;
  std::string first;
  mlir::ScopedDiagnosticHandler handler;
};

/// Writes `text` to a file, whole or not at all, or to standard output where `path` is "-" or empty.
llvm::Error writeText(llvm::StringRef path, llvm::StringRef text);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_DIAGNOSTICS_H
