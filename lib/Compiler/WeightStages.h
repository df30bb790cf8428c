//===- WeightStages.h - From float to packed weights -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_WEIGHTSTAGES_H
#define ELUTQ_LIB_COMPILER_WEIGHTSTAGES_H

#include "elutq/Compiler/Options.h"
#include "mlir/Pass/PassManager.h"

namespace elutq {

void buildQuantizeStage(mlir::OpPassManager &manager, const QuantizationOptions &options, unsigned threads, bool progress);
/// The algorithm of `hlq-select-kernel` that `options` ask for.
llvm::StringRef getAlgorithm(const CompileOptions &options);
void buildSelectStage(mlir::OpPassManager &manager, llvm::StringRef isa, const CompileOptions &options);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_WEIGHTSTAGES_H
