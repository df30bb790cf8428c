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
#include <vector>

namespace elutq {

/// Keeps the errors that passes report, in place of printing them; tells warnings.
class DiagnosticCollector {
public:
  DiagnosticCollector(mlir::MLIRContext &context, std::function<void(llvm::StringRef)> log);

  /// What remarks are handed to, with the node's name; without it, they go nowhere.
  std::function<void(std::string node, std::string text)> takeRemark;

  /// What went wrong in `stage`: the reported error with the node's name, or else `fallback`, or else the stage's name.
  llvm::Error takeError(llvm::StringRef stage, llvm::Error fallback = llvm::Error::success());

  /// What went wrong in `stage`, in one line: the only error that was reported, or every node that errors and their notes name, each
  /// once with what was said of it first. `onlyNodes`: leaves out what is about no node, where some are.
  llvm::Error takeErrors(llvm::StringRef stage, bool onlyNodes);

private:
  /// A node, or an empty string, and what is wrong with it.
  struct Problem {
    std::string node, text;
  };
  std::mutex mutex;
  std::string first;
  unsigned numErrors = 0;
  std::vector<Problem> problems;
  mlir::ScopedDiagnosticHandler handler;
};

/// Writes `text` to a file, whole or not at all, or to standard output where `path` is "-" or empty.
llvm::Error writeText(llvm::StringRef path, llvm::StringRef text);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_DIAGNOSTICS_H
