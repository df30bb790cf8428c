//===- ImportONNX.h - From ONNX files to the onnx dialect -------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_ONNX_IMPORTONNX_H
#define ELUTQ_TARGET_ONNX_IMPORTONNX_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <string>
#include <vector>

namespace elutq {

struct ImportOptions {
  /// Values for symbolic dimensions of the inputs, by name. Dimensions that are named by a sum ("past + sequence") follow from those of its
  /// terms, and all other shapes are inferred.
  llvm::StringMap<int64_t> dimBindings;
  /// If set, gets the paths of the files that hold external data: they stay mapped, so nothing may be written to them.
  std::vector<std::string> *externalFiles = nullptr;
  /// Imports nodes that the onnx dialect has no operation for, or that it refuses, as operations `unsupported.NAME` with the reason in
  /// the attribute `reason` (empty where the cause is a node in front of it), so that a later error can name them together with what cannot be lowered. The context has to allow
  /// unregistered operations.
  bool keepUnsupported = false;
  /// Imports any graph, not a language model. Operators that ONNX defines by others are replaced by these, unless
  /// `isLowered` says that the compiler knows better (arguments: domain, name), and values that `fold` finds to be constant
  /// are known to the inference of shapes. An If with a constant condition is replaced by its branch,
  /// a Loop or Scan of a known number of turns by copies of its body.
  bool plainGraph = false;
  std::function<bool(llvm::StringRef, llvm::StringRef)> isLowered;
  /// The value of an operation without regions of which all operands are constant or irrelevant; null where it is unknown.
  std::function<mlir::ElementsAttr(mlir::Operation *)> fold;
};

/// Reads the model at `path` (protobuf, or ONNX's text syntax if the name ends in .onnxtxt) as a function `main_graph` in
/// the onnx dialect, and `genai_config.json` beside it, if there is one.
///
/// Model-local functions are inlined, but for those of the domain ai.elutq. Initializers become `arith.constant`: small
/// ones with their values, the others with a resource of the initializer's name whose bytes stay in the mapped file.
/// Locations carry the names of the nodes.
///
/// Whatever the file holds, the worst outcome is an error, which names the part that is wrong.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importONNX(llvm::StringRef path, mlir::MLIRContext *context,
                                                             const ImportOptions &options = {});

/// Registers `--import-onnx` with mlir-translate-like tools.
void registerImportONNXTranslation();

} // namespace elutq

#endif // ELUTQ_TARGET_ONNX_IMPORTONNX_H
