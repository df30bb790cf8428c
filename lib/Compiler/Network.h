//===- Network.h - A graph with layers as a library -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_NETWORK_H
#define ELUTQ_LIB_COMPILER_NETWORK_H

#include "elutq/Compiler/Options.h"
#include "elutq/Target/CPU/TargetInfo.h"
#include "elutq/Target/ONNX/ImportONNX.h"
#include "elutq/Target/ONNX/SymbolicShapes.h"

namespace elutq {

/// How the importer reads a network, with numbers for symbolic dimensions.
ImportOptions networkImport(const GraphShape &shape);

/// Whether an imported graph multiplies by constant matrices: then it is worth the kernels, tasks and threads of language models.
bool hasLayers(mlir::ModuleOp module);

/// The name of the entry for choice number `shape`.
std::string networkEntry(size_t shape);

/// Inputs and outputs of an imported `main_graph`, by their names and types.
struct NetworkValues {
  std::vector<std::pair<std::string, mlir::RankedTensorType>> inputs, outputs;
};

/// Those of an imported graph. An error names a value with a dynamic shape or an element type that has no name in elutq/graph.h.
llvm::Expected<NetworkValues> getNetworkValues(mlir::ModuleOp module);

/// JSON as elutq/graph.h describes version 2. The first choice stands for all, but for the sizes of symbolic dimensions.
std::string describeNetwork(const std::vector<NetworkValues> &choices, const std::vector<GraphShape> &shapes, const SymbolicShapes &names,
                            const cpu::TargetInfo &target);

/// Adds what runtime/graph/Network.cpp reads to a module of the llvm dialect that has the entries of all choices.
llvm::Error addNetworkInterface(mlir::ModuleOp module, const std::vector<NetworkValues> &choices, llvm::StringRef signature);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_NETWORK_H
