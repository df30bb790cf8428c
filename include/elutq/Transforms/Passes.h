//===- Passes.h - Passes between bufferization and LLVM ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TRANSFORMS_PASSES_H
#define ELUTQ_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace elutq {

#define GEN_PASS_DECL
#include "elutq/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "elutq/Transforms/Passes.h.inc"

} // namespace elutq

#endif // ELUTQ_TRANSFORMS_PASSES_H
