//===- Passes.td - Conversions between dialects ------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_PASSES_TD
#define ELUTQ_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// LMToVector
//===----------------------------------------------------------------------===//

def ConvertLMToVectorPass : InterfacePass<"convert-lm-to-vector", "::mlir::FunctionOpInterface"> {
  let summary = "Lower bufferized lm ops to loops over vectors";
  let description = [{
    Attention becomes an online softmax over blocks of 16 keys cut at absolute positions: 16-lane partial dot products that
    are added in one fixed tree, vector `math.exp`, and sums over values that live in the result. A row is computed by
    the same operations whatever the number of rows. Heads that are no multiple of 16 wide become scalar loops, as by
    `convert-lm-to-loops`.

    Requires: memref operands. Ensures: no `lm` op remains. Next: `elutq-expand-math`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
  let statistics = [Statistic<"numVectorized", "num-vectorized", "Number of lm ops lowered to vectors">];
}

def ConvertLMToLoopsPass : InterfacePass<"convert-lm-to-loops", "::mlir::FunctionOpInterface"> {
  let summary = "Lower bufferized lm ops to scalar loops, the reference";
  let description = [{
    Attention becomes a softmax in three passes over the visible positions, in ascending order. Differs from
    `convert-lm-to-vector` by rounding only.

    Requires: memref operands. Ensures: no `lm` op remains.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
}

#endif // ELUTQ_CONVERSION_PASSES_TD
