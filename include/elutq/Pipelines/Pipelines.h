//===- Pipelines.h - The stages of the compiler -----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Every stage behind the packing of weights is one pipeline. elutq-compile runs these functions, elutq-opt the names.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_PIPELINES_PIPELINES_H
#define ELUTQ_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

#include <functional>

namespace elutq {

struct TileOptions : mlir::PassPipelineOptions<TileOptions> {
  Option<bool> parallel{*this, "parallel", llvm::cl::desc("Tile large ops to parallel tasks"), llvm::cl::init(true)};
};

struct VectorizeOptions : mlir::PassPipelineOptions<VectorizeOptions> {
  Option<std::string> isa{*this, "isa", llvm::cl::desc("Instruction set, as in convert-hlq-to-llvm, whose registers loops are to fit"),
                          llvm::cl::init("generic")};
  Option<bool> remarks{*this, "remarks", llvm::cl::desc("Emit a remark for each linalg op that stays scalar"), llvm::cl::init(false)};
};

struct LowerToLLVMOptions : mlir::PassPipelineOptions<LowerToLLVMOptions> {
  Option<std::string> isa{*this, "isa", llvm::cl::desc("Instruction set of the look-ups, as in convert-hlq-to-llvm"),
                          llvm::cl::init("generic")};
};

/// Linear layers with kernels and layouts to products with packed weights. `threads`: 0 for one per processor.
void buildPackWeightsPipeline(mlir::OpPassManager &manager, unsigned threads);

/// Entries on tensors, with packed weights, to entries that call tasks on memrefs: tile, bufferize, plan, outline.
void buildTileAndBufferizePipeline(mlir::OpPassManager &manager, const TileOptions &options);

/// hlq, lm and linalg ops in tasks to scalar loops, the reference.
void buildToLoopsPipeline(mlir::OpPassManager &manager);

/// hlq, lm and linalg ops in tasks to loops over vectors; hlq.lookup and hlq.accumulate remain.
void buildVectorizePipeline(mlir::OpPassManager &manager, const VectorizeOptions &options);

/// Loops and vectors to the llvm dialect with bare pointers: what mlir-translate takes.
void buildLowerToLLVMPipeline(mlir::OpPassManager &manager, const LowerToLLVMOptions &options);

/// A stage of the compiler, with its name for people.
struct Stage {
  llvm::StringRef name;
  std::function<void(mlir::OpPassManager &)> build;
};

/// What comes between packed weights and the llvm dialect for an instruction set, in this order.
struct LoweringStages {
  explicit LoweringStages(llvm::StringRef isa, bool remarks = false);
  Stage tile, vectorize, lower;
};

/// Registers the pipelines under their names, `elutq-...`.
void registerPipelines();

} // namespace elutq

#endif // ELUTQ_PIPELINES_PIPELINES_H
