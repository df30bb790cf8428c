//===- Lowering.h - What all lowerings to LLVM share ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_PIPELINES_LOWERING_H
#define ELUTQ_LIB_PIPELINES_LOWERING_H

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

namespace elutq {

/// Loops over memory become branches, addresses become arithmetic.
inline void addLoopsToControlFlow(mlir::OpPassManager &functions) {
  functions.addPass(mlir::memref::createExpandStridedMetadataPass());
  functions.addPass(mlir::createLowerAffinePass());
  functions.addPass(mlir::createCanonicalizerPass());
  functions.addPass(mlir::createCSEPass());
  functions.addPass(mlir::createLoopInvariantCodeMotionPass());
  functions.addPass(mlir::createSCFToControlFlowPass());
}

/// Functions take a pointer for each memref: what calls them from outside depends on that.
inline void addFunctionsToLLVM(mlir::OpPassManager &manager) {
  manager.addPass(mlir::createFinalizeMemRefToLLVMConversionPass());
  mlir::ConvertFuncToLLVMPassOptions bare;
  bare.useBarePtrCallConv = true;
  manager.addPass(mlir::createConvertFuncToLLVMPass(bare));
  manager.addPass(mlir::createConvertControlFlowToLLVMPass());
  manager.addPass(mlir::createArithToLLVMConversionPass());
}

} // namespace elutq

#endif // ELUTQ_LIB_PIPELINES_LOWERING_H
