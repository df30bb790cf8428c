//===- VectorizeLinalg.h - Emission of loops over vectors -------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TRANSFORMS_VECTORIZELINALG_H
#define ELUTQ_LIB_TRANSFORMS_VECTORIZELINALG_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/PatternMatch.h"

namespace elutq {

/// Lanes of every vector; a fixed number, as it decides the order of additions.
constexpr int64_t kLanes = 16;

/// Whether neighbouring elements of the last dimension of `value` are neighbours in memory.
bool hasUnitStride(mlir::Value value);

/// The values of the results of `map` at `ivs`.
llvm::SmallVector<mlir::Value> applyMap(mlir::OpBuilder &b, mlir::Location loc, mlir::AffineMap map,
                                        mlir::ValueRange ivs);

/// The largest multiple of `multiple` that is at most `size`.
mlir::Value roundDown(mlir::OpBuilder &b, mlir::Location loc, mlir::Value size, int64_t multiple);

/// Emits `for i = lower to upper step step`; nothing where both bounds are the same constant.
void emitLoop(mlir::OpBuilder &b, mlir::Location loc, mlir::Value lower, mlir::Value upper, int64_t step,
              llvm::function_ref<void(mlir::Value)> body);

/// Emits a loop that carries values, and returns the last ones.
llvm::SmallVector<mlir::Value>
emitFold(mlir::OpBuilder &b, mlir::Location loc, mlir::Value lower, mlir::Value upper, int64_t step,
         mlir::ValueRange inits, llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);

/// Combines the 16 lanes of `vector` in a fixed tree.
mlir::Value reduceLanes(mlir::OpBuilder &b, mlir::Location loc, mlir::Value vector,
                        llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);

/// Upper bounds of the loops of `op`.
llvm::SmallVector<mlir::Value> loopBounds(mlir::OpBuilder &b, mlir::linalg::LinalgOp op);

/// Replaces a product of f32 matrices by loops over vectors; fails, changing nothing, where it is of another form.
llvm::LogicalResult vectorizeContraction(mlir::RewriterBase &rewriter, mlir::linalg::LinalgOp op);

/// Replaces an elementwise op or a reduction by loops over vectors; fails, changing nothing, where it is of another form.
llvm::LogicalResult vectorizeElementwise(mlir::RewriterBase &rewriter, mlir::linalg::LinalgOp op);

} // namespace elutq

#endif // ELUTQ_LIB_TRANSFORMS_VECTORIZELINALG_H
