//===- PlainGraph.h - From onnx to the llvm dialect -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_PIPELINES_PLAINGRAPH_H
#define ELUTQ_PIPELINES_PLAINGRAPH_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/Pass/PassManager.h"

namespace elutq {

/// Any imported graph with static shapes to linalg, tensor, arith and math ops on signless integers.
void buildPlainGraphToLinalgPipeline(mlir::OpPassManager &pm);

/// What that leaves to the llvm dialect: `main_graph` takes a bare pointer to each input, then to each output.
void buildPlainGraphToLLVMPipeline(mlir::OpPassManager &pm);

/// Any imported graph with static shapes to an entry as language models have them (`elutq-graph-entry`): linalg, tensor, lm and hlq ops.
void buildGraphToEntryPipeline(mlir::OpPassManager &pm, llvm::StringRef entry);

/// Registers `elutq-graph-to-entry`, `elutq-plain-graph-to-linalg` and `elutq-plain-graph-to-llvm`.
void registerPlainGraphPipelines();

} // namespace elutq

#endif // ELUTQ_PIPELINES_PLAINGRAPH_H
