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
#define GET_OP_CLASSES
#include "elutq/Dialect/LM/IR/LMOps.h.inc"

#endif // ELUTQ_DIALECT_LM_IR_LM_H
