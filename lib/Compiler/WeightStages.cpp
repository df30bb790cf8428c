//===- WeightStages.cpp - From float to packed weights --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "WeightStages.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace llvm;
using namespace elutq;

void elutq::buildQuantizeStage(mlir::OpPassManager &manager, const QuantizationOptions &options, unsigned threads,
                                        bool progress) {
  hlq::QuantizePassOptions quantize;
  quantize.bits = options.bits;
  quantize.groupSize = options.groupSize;
  quantize.embeddingBits = options.embeddingBits;
  quantize.headBits = options.headBits;
  quantize.params = options.params;
  quantize.exclude = options.exclude;
  quantize.threads = threads;
  quantize.progress = progress;
  manager.addPass(hlq::createQuantizePass(quantize));
}

StringRef elutq::getAlgorithm(const CompileOptions &options) {
  // One row is decoded by look-ups.
  return options.consistent && options.algorithm == "auto" ? StringRef("lut") : StringRef(options.algorithm);
}

void elutq::buildSelectStage(mlir::OpPassManager &manager, StringRef isa, const CompileOptions &options) {
  hlq::SelectKernelPassOptions select;
  select.isa = isa.str();
  select.wideTables = options.wideTables;
  select.algorithm = getAlgorithm(options).str();
  manager.addNestedPass<mlir::func::FuncOp>(hlq::createSelectKernelPass(select));
}
