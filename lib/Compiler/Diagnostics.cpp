//===- Diagnostics.cpp - Errors of one line -------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"
#include "elutq/Support/OutputFile.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace elutq;

/// The node's name, or file and line.
static std::string describe(mlir::Location loc) {
  std::string text;
  loc->walk([&](mlir::Location part) {
    if (auto named = dyn_cast<mlir::NameLoc>(part))
      text = named.getName().str();
    else if (auto file = dyn_cast<mlir::FileLineColLoc>(part))
      text = (file.getFilename().getValue() + ":" + Twine(file.getLine()) + ":" + Twine(file.getColumn())).str();
    return text.empty() ? mlir::WalkResult::advance() : mlir::WalkResult::interrupt();
  });
  return text;
}

/// Notes that one line has room for.
static constexpr unsigned kMaxNotes = 16;

/// The text with its notes.
static std::string withNotes(const mlir::Diagnostic &diagnostic) {
  std::string text = diagnostic.str();
  unsigned notes = 0;
  for (const mlir::Diagnostic &note : diagnostic.getNotes())
    if (notes++ < kMaxNotes)
      text += (notes == 1 ? ": " : "; ") + note.str();
  if (notes > kMaxNotes)
    text += "; and " + std::to_string(notes - kMaxNotes) + " more";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

static std::string oneLine(const mlir::Diagnostic &diagnostic) {
  std::string place = describe(diagnostic.getLocation());
  return (place.empty() ? "" : place + ": ") + withNotes(diagnostic);
}

/// Whether the text begins with an operation, and the location is its node's.
static bool namesNode(const mlir::Diagnostic &diagnostic) {
  return StringRef(diagnostic.str()).starts_with("'") && !describe(diagnostic.getLocation()).empty();
}

DiagnosticCollector::DiagnosticCollector(mlir::MLIRContext &context, std::function<void(StringRef)> log)
    : handler(&context, [this, log](mlir::Diagnostic &diagnostic) {
        std::lock_guard<std::mutex> lock(mutex);
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error) {
          if (first.empty())
            first = oneLine(diagnostic);
          ++numErrors;
          if (llvm::all_of(diagnostic.getNotes(), namesNode) && !diagnostic.getNotes().empty()) {
            for (const mlir::Diagnostic &note : diagnostic.getNotes())
              problems.push_back({describe(note.getLocation()), note.str()});
          } else if (namesNode(diagnostic)) {
            problems.push_back({describe(diagnostic.getLocation()), withNotes(diagnostic)});
          } else {
            problems.push_back({"", oneLine(diagnostic)});
          }
        } else if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Warning) {
          log("elutq-compile: warning: " + oneLine(diagnostic) + "\n");
        } else if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Remark && takeRemark) {
          takeRemark(describe(diagnostic.getLocation()), diagnostic.str());
        }
        return mlir::success();
      }) {
  // The op as a whole would be a note of its own; its node's name says where it is.
  context.printOpOnDiagnostic(false);
}

Error DiagnosticCollector::takeError(StringRef stage, Error fallback) {
  std::lock_guard<std::mutex> lock(mutex);
  std::string text;
  std::swap(text, first);
  numErrors = 0;
  problems.clear();
  if (text.empty()) {
    if (fallback)
      return fallback;
    return createStringError("stage '%s' failed", stage.str().c_str());
  }
  consumeError(std::move(fallback));
  return createStringError(text);
}

Error DiagnosticCollector::takeErrors(StringRef stage, bool onlyNodes) {
  std::unique_lock<std::mutex> lock(mutex);
  StringSet<> met;
  std::string nodes, others;
  unsigned count = 0;
  for (const Problem &problem : problems) {
    if (problem.node.empty())
      others += "; " + problem.text;
    else if (met.insert(problem.node).second && count++ < kMaxNotes)
      nodes += (count == 1 ? "" : "; ") + problem.text;
  }
  if (count == 0 || (numErrors == 1 && !others.empty())) {
    lock.unlock();
    return takeError(stage);
  }
  if (count > kMaxNotes)
    nodes += "; and " + std::to_string(count - kMaxNotes) + " more";
  std::string text = "cannot convert " + std::to_string(count) + " operation" + (count == 1 ? "" : "s") + " of the model: " + nodes +
                     (onlyNodes ? "" : others) + "; docs/Operators.md lists what is supported";
  std::replace(text.begin(), text.end(), '\n', ' ');
  first.clear();
  numErrors = 0;
  problems.clear();
  return createStringError(text);
}

Error elutq::writeText(StringRef path, StringRef text) {
  if (path == "-" || path.empty()) {
    outs() << text;
    outs().flush();
    if (std::error_code error = outs().error()) {
      outs().clear_error();
      return createStringError("cannot write to standard output: %s", error.message().c_str());
    }
    return Error::success();
  }
  if (isStream(path)) {
    std::error_code code;
    raw_fd_ostream stream(path, code, sys::fs::CD_OpenExisting, sys::fs::FA_Write, sys::fs::OF_None);
    if (!code) {
      stream << text;
      stream.close();
      code = stream.error();
      stream.clear_error();
    }
    return code ? createStringError("cannot write '%s': %s", path.str().c_str(), code.message().c_str()) : Error::success();
  }
  auto file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  if (Error error = file->write(ArrayRef(text.data(), text.size())))
    return error;
  return file->commit();
}
