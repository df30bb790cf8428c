//===- Patterns.h - Pattern groups of convert-onnx-to-linalg ----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLINALG_PATTERNS_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLINALG_PATTERNS_H

#include "mlir/IR/PatternMatch.h"

namespace elutq::normalize {

/// Unary and binary operators with broadcasting, comparisons, casts, activations.
void populateElementwisePatterns(mlir::RewritePatternSet &patterns);
/// MatMul, Gemm.
void populateLinearPatterns(mlir::RewritePatternSet &patterns);
/// Root-mean-square and layer normalization, with and without the residual addition; rotary embeddings.
void populateNormalizationPatterns(mlir::RewritePatternSet &patterns);
/// ReduceSum, ReduceMean, ReduceMax, ReduceMin, Softmax.
void populateReductionPatterns(mlir::RewritePatternSet &patterns);
/// Reshape and its relatives, Transpose, Concat, Split, Slice, Expand, Gather.
void populateShapePatterns(mlir::RewritePatternSet &patterns);

/// Evaluates an onnx op whose operands are small constants (the arithmetic of shapes) and replaces it; also Shape and Size of
/// values with static types.
mlir::LogicalResult foldConstantOp(mlir::RewriterBase &rewriter, mlir::Operation *op);

/// Checks what every pattern needs: all operands and results that are present have static shapes.
inline mlir::LogicalResult verifyStatic(mlir::PatternRewriter &rewriter, mlir::Operation *op) {
  auto isDynamic = [](mlir::Type type) {
    auto shaped = mlir::dyn_cast<mlir::ShapedType>(type);
    return shaped && !shaped.hasStaticShape();
  };
  if (llvm::any_of(op->getOperandTypes(), isDynamic) || llvm::any_of(op->getResultTypes(), isDynamic))
    return rewriter.notifyMatchFailure(op, "its shapes must be known at compile time");
  return mlir::success();
}

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLINALG_PATTERNS_H
