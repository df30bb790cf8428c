//===- Recognize.h - Patterns of onnx operations ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Exporters that target older opsets write attention as the products, additions and softmax it consists of, and products with quantized
// weights as a DequantizeLinear and a MatMul. These functions find such subgraphs and put the one operator in their place. What they do
// not find stays as it is.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLM_RECOGNIZE_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLM_RECOGNIZE_H

#include "SymbolicIndex.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"

namespace elutq::normalize {

/// What is known of the inputs before any attention is found: whatever an input is the front of is a past.
InputRoles findRoles(mlir::func::FuncOp function);

/// An operation of the onnx dialect with one result.
mlir::Value createNode(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, mlir::ValueRange operands, mlir::RankedTensorType type,
                       llvm::ArrayRef<mlir::NamedAttribute> attributes = {});

/// `value` by `onnx.Reshape`, with a static shape.
mlir::Value reshapeNode(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> shape);

/// `onnx.contrib.MultiHeadAttention` of keys and values that a cache is part of becomes `onnx.Attention`. Returns how many did.
int64_t recognizeMultiHead(mlir::IRRewriter &rewriter, mlir::func::FuncOp function);

/// Products with keys and values of a cache around a Softmax become `onnx.Attention`. Heads that a model repeats for its groups of
/// queries are taken before the repetition, of `onnx.Attention` as well. Returns how many attentions were composed.
int64_t recognizeAttention(mlir::IRRewriter &rewriter, mlir::func::FuncOp function, const InputRoles &roles);

/// Products of rows with constant matrices that TopK chose for each become products with each of the matrices, of which the chosen one's result is
/// taken. Returns how many there were.
int64_t recognizeExperts(mlir::IRRewriter &rewriter, mlir::func::FuncOp function);

/// The shape of a result that follows from operands of static shapes, or none.
std::optional<llvm::SmallVector<int64_t>> inferShape(mlir::OpResult result);

/// Evaluates the integers of which exporters make shapes, as far as they don't depend on the number of past positions, and gives results the
/// shapes that follow. Replaced operations stay, without users.
void foldShapes(mlir::func::FuncOp function, const InputRoles &roles);

/// Products with, and rows of, matrices that `onnx.DequantizeLinear` makes of constant codes become `onnx.contrib.MatMulNBits` and
/// `onnx.contrib.GatherBlockQuantized`. What else reads such a matrix gets its floats as a constant. Returns how many became either.
mlir::FailureOr<int64_t> recognizeWeights(mlir::IRRewriter &rewriter, mlir::func::FuncOp function);

/// Gives results the static shapes that follow from those of their operands, where those became static in the meantime, and makes
/// shapes that Reshape and Expand are given constants where they are known.
void refineShapes(mlir::func::FuncOp function);

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLM_RECOGNIZE_H
