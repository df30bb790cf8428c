//===- Patterns.h - Pattern groups of convert-onnx-to-linalg ----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLINALG_PATTERNS_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLINALG_PATTERNS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/PatternMatch.h"

namespace elutq::normalize {

/// Unary and binary operators with broadcasting, comparisons, casts, activations.
void populateElementwisePatterns(mlir::RewritePatternSet &patterns);
/// MatMul, Gemm.
void populateLinearPatterns(mlir::RewritePatternSet &patterns);
/// Root-mean-square and layer normalization, with and without the residual addition; rotary embeddings.
void populateNormalizationPatterns(mlir::RewritePatternSet &patterns);
/// ReduceSum, ReduceMean, ReduceProd, ReduceMax, ReduceMin, ArgMax, ArgMin, Softmax, Hardmax, LpNormalization.
void populateReductionPatterns(mlir::RewritePatternSet &patterns);
/// Reshape and its relatives, Transpose, Concat, Split, Slice, Expand, Gather.
void populateShapePatterns(mlir::RewritePatternSet &patterns);

/// Slice with computed bounds, Tile, Pad, GatherElements, GatherND, Trilu, EyeLike, OneHot, Range, ReverseSequence, ConstantOfShape,
/// Dropout.
void populateIndexingPatterns(mlir::RewritePatternSet &patterns);
/// ScatterElements, ScatterND, TensorScatter, CumSum, CumProd, TopK, Compress.
void populateScatterPatterns(mlir::RewritePatternSet &patterns);
/// MatMul of integers and of vectors, Einsum.
void populateContractionPatterns(mlir::RewritePatternSet &patterns);
/// QuantizeLinear, DequantizeLinear, MatMulInteger, QLinearMatMul.
void populateQuantizationPatterns(mlir::RewritePatternSet &patterns);
/// Conv, ConvTranspose, ConvInteger, MaxPool, AveragePool, LpPool and the global ones.
void populateWindowPatterns(mlir::RewritePatternSet &patterns);

/// Resize.
void populateResizePatterns(mlir::RewritePatternSet &patterns);

/// f16 and bf16.
inline bool isNarrowFloat(mlir::Type type) { return mlir::isa<mlir::FloatType>(type) && type.getIntOrFloatBitWidth() == 16; }

/// The product of matrices, of batches of them with broadcasting, or with vectors, of any element type but i1.
mlir::Value multiplyMatrices(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value lhs, mlir::Value rhs, mlir::RankedTensorType type);

/// The elements of an integer tensor minus a zero point (absent: 0; one, or one per slice with `innerDims` dimensions), as i32.
mlir::Value centreIntegers(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, mlir::Value zeroPoint, int64_t innerDims);

/// Evaluates an onnx op whose operands are small constants (the arithmetic of shapes) and replaces it; also Shape and Size of
/// values with static types.
mlir::LogicalResult foldConstantOp(mlir::RewriterBase &rewriter, mlir::Operation *op);

/// Checks what every pattern needs: all operands and results that are present have static shapes.
inline mlir::LogicalResult verifyStatic(mlir::Operation *op) {
  auto isDynamic = [](mlir::Type type) {
    auto shaped = mlir::dyn_cast<mlir::ShapedType>(type);
    return shaped && !shaped.hasStaticShape();
  };
  return mlir::failure(llvm::any_of(op->getOperandTypes(), isDynamic) || llvm::any_of(op->getResultTypes(), isDynamic));
}
inline mlir::LogicalResult verifyStatic(mlir::PatternRewriter &rewriter, mlir::Operation *op) {
  if (failed(verifyStatic(op)))
    return rewriter.notifyMatchFailure(op, "its shapes must be known at compile time");
  return mlir::success();
}

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLINALG_PATTERNS_H
