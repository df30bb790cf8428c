//===- Normalize.h - From onnx to hlq, lm and linalg ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_PIPELINES_NORMALIZE_H
#define ELUTQ_PIPELINES_NORMALIZE_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace elutq {

struct NormalizeOptions : mlir::PassPipelineOptions<NormalizeOptions> {
  Option<std::string> entry{*this, "entry", llvm::cl::desc("Name of the entry point (default: decode)"), llvm::cl::init("decode")};
  Option<int64_t> chunk{*this, "chunk", llvm::cl::desc("Largest number of rows of any entry point that shares the caches (default: 64)"),
                        llvm::cl::init(64)};
  Option<int64_t> maxContext{*this, "max-context", llvm::cl::desc("Largest number of positions (default: 4096)"), llvm::cl::init(4096)};
  Option<std::string> kvCache{*this, "kv-cache", llvm::cl::desc("Element type of the caches: f16, f32 or int8 (default: f16)"),
                              llvm::cl::init("f16")};
};

/// Turns an imported language model with bound shapes into one entry point of lm, hlq, linalg, tensor, arith and math ops
/// on tensors. No onnx op remains.
void buildNormalizePipeline(mlir::OpPassManager &pm, const NormalizeOptions &options);

/// Registers `elutq-normalize`.
void registerNormalizePipeline();

} // namespace elutq

#endif // ELUTQ_PIPELINES_NORMALIZE_H
