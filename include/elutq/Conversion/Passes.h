//===- Passes.h - Conversions between dialects ------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_PASSES_H
#define ELUTQ_CONVERSION_PASSES_H

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Pass/Pass.h"

namespace elutq {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "elutq/Conversion/Passes.h.inc"

} // namespace elutq

#endif // ELUTQ_CONVERSION_PASSES_H
