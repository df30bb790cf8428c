//===- InitAll.h - Everything the tools register ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_INITALL_H
#define ELUTQ_INITALL_H

#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Dialect/HLQ/Transforms/BufferizableOpInterfaceImpl.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Dialect/LM/Transforms/BufferizableOpInterfaceImpl.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "elutq/Pipelines/Normalize.h"
#include "elutq/Pipelines/PlainGraph.h"
#include "elutq/Pipelines/Pipelines.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/IR/DialectRegistry.h"

namespace elutq {

/// This project's dialects and their interface implementations.
inline void registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<hlq::HLQDialect, lm::LMDialect, onnx::ONNXDialect>();
  hlq::registerBufferizableOpInterfaceExternalModels(registry);
  lm::registerBufferizableOpInterfaceExternalModels(registry);
}

/// This project's passes: one line per Passes.td.
inline void registerAllPasses() {
  hlq::registerHLQPasses();
  registerTransformsPasses();
  registerLMBuildEntryPass();
  registerWidenHalfONNXPass();
  registerRecognizeONNXPass();
  registerConvertONNXToLMPass();
  registerConvertONNXToHLQPass();
  registerConvertONNXToLinalgPass();
  registerRewriteONNXConvolutionsPass();
  registerNormalizePipeline();
  registerPlainGraphPipelines();
  registerPipelines();
  registerConvertHLQToLoopsPass();
  registerConvertHLQToVectorPass();
  registerConvertHLQToLLVMPass();
  registerConvertLMToVectorPass();
  registerConvertLMToLoopsPass();
}

} // namespace elutq

#endif // ELUTQ_INITALL_H
