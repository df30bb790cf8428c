//===- PlainGraph.cpp - elutq-plain-graph-to-... --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Pipelines/PlainGraph.h"
#include "Lowering.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;

namespace elutq {

void buildPlainGraphToLinalgPipeline(OpPassManager &pm) {
  pm.addPass(createConvertONNXToLinalgPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createDropSignsPass());
}

void buildPlainGraphToLLVMPipeline(OpPassManager &pm) {
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
  bufferization::BufferResultsToOutParamsPassOptions outParams;
  outParams.modifyPublicFunctions = true;
  pm.addPass(bufferization::createBufferResultsToOutParamsPass(outParams));
  bufferization::buildBufferDeallocationPipeline(pm);
  pm.addPass(createConvertBufferizationToMemRefPass());
  OpPassManager &functions = pm.nest<func::FuncOp>();
  functions.addPass(createCopyToLinalgPass());
  functions.addPass(createConvertLinalgToLoopsPass());
  addLoopsToControlFlow(functions);
  functions.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  addFunctionsToLLVM(pm);
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
}

void buildGraphToEntryPipeline(OpPassManager &pm, llvm::StringRef entry) {
  pm.addNestedPass<func::FuncOp>(createRewriteONNXConvolutionsPass());
  pm.addPass(createConvertONNXToLMPass());
  pm.addPass(createConvertONNXToHLQPass());
  buildPlainGraphToLinalgPipeline(pm);
  pm.addPass(createGraphEntryPass(GraphEntryPassOptions{entry.str()}));
}

void registerPlainGraphPipelines() {
  PassPipelineRegistration<>("elutq-graph-to-entry", "Any imported graph with static shapes to an entry of lm, hlq and linalg",
                             [](OpPassManager &pm) { buildGraphToEntryPipeline(pm, "shape0"); });
  PassPipelineRegistration<>("elutq-plain-graph-to-linalg", "Any imported graph with static shapes to linalg ops on signless integers",
                             buildPlainGraphToLinalgPipeline);
  PassPipelineRegistration<>("elutq-plain-graph-to-llvm", "What elutq-plain-graph-to-linalg leaves to the llvm dialect",
                             buildPlainGraphToLLVMPipeline);
}

} // namespace elutq
