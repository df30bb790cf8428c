//===- PlainGraph.h - Any graph as a shared library --------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_PLAINGRAPH_H
#define ELUTQ_LIB_COMPILER_PLAINGRAPH_H

#include "elutq/Compiler/Options.h"
#include "elutq/Target/CPU/TargetInfo.h"
#include "elutq/Target/ONNX/ImportONNX.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace elutq {

/// How the importer reads a graph that is no language model.
ImportOptions plainGraphImport();

/// The name of an element type in elutq/graph.h, numpy's where numpy has one; empty for others.
std::string graphTypeName(mlir::Type type);

/// The error for inputs and outputs that no library can have; `values` names them.
llvm::Error unknownShapes(const llvm::Twine &values);

/// Inputs and outputs of `main_graph` in an imported module, as elutq/graph.h describes them. An error names a value with a dynamic
/// shape or an element type that has no name there.
llvm::Expected<std::string> describeGraph(mlir::ModuleOp module, const cpu::TargetInfo &target);

/// Gives inputs and outputs without elements the shape [0]: as memory of several dimensions, some of them 0, MLIR cannot pass them.
void flattenEmptyTensors(mlir::ModuleOp module);

/// Adds the constant `name`, a string of C.
mlir::LLVM::GlobalOp addText(mlir::ImplicitLocOpBuilder &builder, llvm::StringRef name, llvm::StringRef text);

/// Adds the signature of elutq/graph.h, and what runtime/graph needs, to a module of the llvm dialect that has `main_graph` with so
/// many inputs.
void addGraphInterface(mlir::ModuleOp module, unsigned inputs, llvm::StringRef signature, const cpu::TargetInfo &target);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_PLAINGRAPH_H
