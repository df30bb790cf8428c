//===- CompileStages.h - The named pipelines, with this compiler's options -===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_COMPILESTAGES_H
#define ELUTQ_LIB_COMPILER_COMPILESTAGES_H

#include "elutq/Compiler/Options.h"
#include "mlir/Pass/PassManager.h"

namespace elutq {

struct NormalizeStageOptions {
  std::string entry;
  int64_t maxContext, chunk;
  std::string cacheType;
};

llvm::LogicalResult buildNormalizeStage(mlir::OpPassManager &manager, const NormalizeStageOptions &options);
llvm::LogicalResult buildQuantizeStage(mlir::OpPassManager &manager, const QuantizationOptions &options, unsigned threads, bool progress);
llvm::LogicalResult buildSelectStage(mlir::OpPassManager &manager, llvm::StringRef isa);
llvm::LogicalResult buildPackStage(mlir::OpPassManager &manager, unsigned threads);
llvm::LogicalResult buildTileStage(mlir::OpPassManager &manager, llvm::StringRef isa);
llvm::LogicalResult buildLoopsStage(mlir::OpPassManager &manager);
llvm::LogicalResult buildVectorStage(mlir::OpPassManager &manager, llvm::StringRef isa);
llvm::LogicalResult buildLLVMStage(mlir::OpPassManager &manager, llvm::StringRef isa);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_COMPILESTAGES_H
