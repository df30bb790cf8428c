//===- LM.h - The lm dialect ------------------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_LM_IR_LM_H
#define ELUTQ_DIALECT_LM_IR_LM_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"

#include "elutq/Dialect/LM/IR/LMOpsDialect.h.inc"

namespace elutq::lm {

/// Keys that a cache keeps side by side; capacities and parts are multiples of it.
constexpr int64_t kKeyBlock = 64;

/// The most parts that one row sees.
int64_t getMaxParts(int64_t window, int64_t part, int64_t capacity);

} // namespace elutq::lm

#define GET_OP_CLASSES
#include "elutq/Dialect/LM/IR/LMOps.h.inc"

#endif // ELUTQ_DIALECT_LM_IR_LM_H
