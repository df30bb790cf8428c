//===- CompileStages.cpp - The named pipelines, with this compiler's options -===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CompileStages.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace llvm;
using namespace elutq;

LogicalResult elutq::buildNormalizeStage(mlir::OpPassManager &manager, const NormalizeStageOptions &options) {
  LMBuildEntryPassOptions entry;
  entry.entry = options.entry;
  entry.chunk = options.chunk;
  entry.maxContext = options.maxContext;
  entry.kvCache = options.cacheType;
  manager.addPass(createLMBuildEntryPass(entry));
  manager.addPass(createConvertONNXToHLQPass());
  manager.addPass(createConvertONNXToLMPass());
  manager.addPass(createConvertONNXToLinalgPass());
  manager.addPass(mlir::createCanonicalizerPass());
  manager.addPass(mlir::createCSEPass());
  return success();
}

LogicalResult elutq::buildQuantizeStage(mlir::OpPassManager &manager, const QuantizationOptions &options, unsigned threads,
                                        bool progress) {
  hlq::QuantizePassOptions quantize;
  quantize.bits = options.bits;
  quantize.groupSize = options.groupSize;
  quantize.embeddingBits = options.embeddingBits;
  quantize.headBits = options.headBits;
  quantize.exclude = options.exclude;
  quantize.threads = threads;
  quantize.progress = progress;
  manager.addPass(hlq::createQuantizePass(quantize));
  return success();
}

LogicalResult elutq::buildSelectStage(mlir::OpPassManager &manager, StringRef isa) {
  hlq::SelectKernelPassOptions select;
  select.isa = isa.str();
  manager.addNestedPass<mlir::func::FuncOp>(hlq::createSelectKernelPass(select));
  return success();
}

LogicalResult elutq::buildPackStage(mlir::OpPassManager &manager, unsigned threads) {
  manager.addNestedPass<mlir::func::FuncOp>(hlq::createLowerLinearPass());
  hlq::PackWeightsPassOptions pack;
  pack.threads = threads;
  manager.addPass(hlq::createPackWeightsPass(pack));
  return success();
}

LogicalResult elutq::buildTileStage(mlir::OpPassManager &manager, StringRef isa) {
  return mlir::parsePassPipeline("elutq-tile-and-bufferize", manager);
}

LogicalResult elutq::buildLoopsStage(mlir::OpPassManager &manager) {
  return mlir::parsePassPipeline("elutq-to-loops", manager);
}

LogicalResult elutq::buildVectorStage(mlir::OpPassManager &manager, StringRef isa) {
  return mlir::parsePassPipeline("elutq-vectorize", manager);
}

LogicalResult elutq::buildLLVMStage(mlir::OpPassManager &manager, StringRef isa) {
  return mlir::parsePassPipeline(("elutq-lower-to-llvm{isa=" + isa + "}").str(), manager);
}
