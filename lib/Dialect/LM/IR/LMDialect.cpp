//===- LMDialect.cpp - The lm dialect -------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/LM/IR/LM.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace elutq::lm;

#include "elutq/Dialect/LM/IR/LMOpsDialect.cpp.inc"

void LMDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "elutq/Dialect/LM/IR/LMOps.cpp.inc"
      >();
  declarePromisedInterfaces<bufferization::BufferizableOpInterface, GatherOp, CacheAppendOp, AttentionOp, AttentionPartsOp,
                            MergePartsOp>();
}
