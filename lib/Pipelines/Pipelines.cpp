//===- Pipelines.cpp - The stages of the compiler -------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Pipelines/Pipelines.h"
#include "Lowering.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace elutq;

void elutq::buildPackWeightsPipeline(OpPassManager &manager, unsigned threads) {
  manager.addNestedPass<func::FuncOp>(hlq::createLowerLinearPass());
  hlq::PackWeightsPassOptions pack;
  pack.threads = threads;
  manager.addPass(hlq::createPackWeightsPass(pack));
}

void elutq::buildTileAndBufferizePipeline(OpPassManager &manager, const TileOptions &options) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createSimplifyLinalgPass());
  functions.addPass(createCSEPass());
  if (options.parallel) {
    functions.addPass(createSplitAttentionPass());
    functions.addPass(createTileParallelPass());
  }
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
  functions.addPass(createScheduleTasksPass());
  functions.addPass(createSplitEmptyPass());
  functions.addPass(createInsertInPlacePass());

  manager.addPass(createBufferizePass());
  manager.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  manager.addNestedPass<func::FuncOp>(createCSEPass());

  // Layers become one task before anything is expanded, so that each task is lowered once.
  manager.addPass(createPlanMemoryPass());
  manager.addPass(createOutlineTasksPass());
  manager.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  manager.addNestedPass<func::FuncOp>(createCSEPass());
}

void elutq::buildToLoopsPipeline(OpPassManager &manager) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createConvertHLQToLoopsPass());
  functions.addPass(createConvertLMToLoopsPass());
  functions.addPass(createVectorizeLinalgPass(VectorizeLinalgPassOptions{/*vectors=*/false, /*remarks=*/false}));
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
}

void elutq::buildVectorizePipeline(OpPassManager &manager, const VectorizeOptions &options) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createConvertHLQToVectorPass());
  // What 32 registers of 512 bits hold beside their operands, else what 16 of 256 or 32 of 128 hold.
  int64_t accumulators = StringRef(options.isa).starts_with("avx512") ? 16 : 6;
  functions.addPass(createConvertLMToVectorPass(ConvertLMToVectorPassOptions{accumulators}));
  functions.addPass(createVectorizeLinalgPass(VectorizeLinalgPassOptions{/*vectors=*/true, options.remarks}));
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
}

void elutq::buildLowerToLLVMPipeline(OpPassManager &manager, const LowerToLLVMOptions &options) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createExpandMathPass());
  functions.addPass(createConvertHLQToLLVMPass(ConvertHLQToLLVMPassOptions{options.isa}));
  functions.addPass(createForallToForLoopPass());
  functions.addPass(createHoistAllocasPass());
  addLoopsToControlFlow(functions);
  // sin, cos and the like of vectors become one call per lane here, of scalars a libm call.
  functions.addPass(createConvertMathToLLVMPass());
  manager.addPass(createConvertMathToLibmPass());
  ConvertVectorToLLVMPassOptions vectors;
  vectors.amx = options.isa == "avx512amx";
  manager.addPass(createConvertVectorToLLVMPass(vectors));
  manager.addNestedPass<func::FuncOp>(createArithToLLVMConversionPass());
  addFunctionsToLLVM(manager);
  manager.addPass(createReconcileUnrealizedCastsPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  manager.addPass(createVerifyLLVMPass());
}

LoweringStages::LoweringStages(StringRef isa, bool remarks) {
  tile = {"tile and bufferize", [](OpPassManager &manager) { buildTileAndBufferizePipeline(manager, TileOptions()); }};
  vectorize = {"vectorize", [isa = isa.str(), remarks](OpPassManager &manager) {
                 VectorizeOptions options;
                 options.isa = isa;
                 options.remarks = remarks;
                 buildVectorizePipeline(manager, options);
               }};
  lower = {"lower to llvm", [isa = isa.str()](OpPassManager &manager) {
             LowerToLLVMOptions options;
             options.isa = isa;
             buildLowerToLLVMPipeline(manager, options);
           }};
}

void elutq::registerPipelines() {
  PassPipelineRegistration<TileOptions>(
      "elutq-tile-and-bufferize", "Entries on tensors to entries that call tasks on memrefs", buildTileAndBufferizePipeline);
  PassPipelineRegistration<>("elutq-to-loops", "hlq, lm and linalg ops in tasks to scalar loops", buildToLoopsPipeline);
  PassPipelineRegistration<VectorizeOptions>("elutq-vectorize", "hlq, lm and linalg ops in tasks to loops over vectors",
                                             buildVectorizePipeline);
  PassPipelineRegistration<LowerToLLVMOptions>("elutq-lower-to-llvm", "Loops and vectors to the llvm dialect",
                                               buildLowerToLLVMPipeline);
}
