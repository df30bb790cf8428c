//===- CompileStages.cpp - The named pipelines, with this compiler's options -===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CompileStages.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace elutq;

LogicalResult elutq::buildNormalizeStage(mlir::OpPassManager &manager, const NormalizeStageOptions &options) {
  return mlir::parsePassPipeline(formatv("elutq-normalize{{entry={0} max-context={1} chunk={2} kv-cache={3}}",
                                         options.entry, options.maxContext, options.chunk, options.cacheType)
                                     .str(),
                                 manager);
}

LogicalResult elutq::buildQuantizeStage(mlir::OpPassManager &manager, const QuantizationOptions &options, unsigned threads,
                                        bool progress) {
  return mlir::parsePassPipeline(
      formatv("hlq-quantize{{bits={0} group-size={1} embedding-bits={2} head-bits={3} threads={4} progress={5}}",
              options.bits, options.groupSize, options.embeddingBits, options.headBits, threads, progress)
          .str(),
      manager);
}

LogicalResult elutq::buildSelectStage(mlir::OpPassManager &manager, StringRef isa, bool consistent) {
  return mlir::parsePassPipeline(formatv("func.func(hlq-select-kernel{{isa={0}})", isa).str(), manager);
}

LogicalResult elutq::buildPackStage(mlir::OpPassManager &manager, unsigned threads) {
  return mlir::parsePassPipeline(formatv("func.func(hlq-lower-linear),hlq-pack-weights{{threads={0}}", threads).str(),
                                 manager);
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
  return mlir::parsePassPipeline("elutq-lower-to-llvm", manager);
}
