//===- Normalize.cpp - elutq-normalize ------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Pipelines/Normalize.h"
#include "elutq/Conversion/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace elutq {

void buildNormalizePipeline(OpPassManager &pm, const NormalizeOptions &options) {
  LMBuildEntryPassOptions entry;
  entry.entry = options.entry;
  entry.chunk = options.chunk;
  entry.maxContext = options.maxContext;
  entry.kvCache = options.kvCache;
  pm.addPass(createWidenHalfONNXPass());
  pm.addPass(createRecognizeONNXPass());
  pm.addPass(createLMBuildEntryPass(entry));
  pm.addPass(createConvertONNXToLMPass());
  pm.addPass(createConvertONNXToHLQPass());
  pm.addPass(createConvertONNXToLinalgPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void registerNormalizePipeline() {
  PassPipelineRegistration<NormalizeOptions>("elutq-normalize", "Convert an imported language model to one entry point of lm, hlq and linalg",
                                             buildNormalizePipeline);
}

} // namespace elutq
