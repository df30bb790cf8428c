//===- ONNXCommon.h - What the conversions from onnx share ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Reading constants of the onnx dialect, and building the linalg and tensor operations that several conversions need. All
// shapes are static. One leading unit dimension (the batch) of a tensor of rank three and more is dropped wherever linalg
// operations are made, so that they are rank-reduced alike for every number of rows.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_ONNXCOMMON_H
#define ELUTQ_CONVERSION_ONNXCOMMON_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/FunctionExtras.h"
#include "llvm/Support/Error.h"
#include <optional>

namespace elutq::normalize {

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// Whether an optional operand or result of an onnx op is absent: its type is `none`.
bool isAbsent(mlir::Value value);

/// The constant behind `value`, or null.
mlir::ElementsAttr getConstant(mlir::Value value);

/// The elements of a constant tensor of integers (or booleans), at most `limit` of them.
std::optional<llvm::SmallVector<int64_t>> getConstantInts(mlir::Value value, int64_t limit = 4096);

/// The one number that every element of a constant is. Looks at splats and at constants of one element.
std::optional<double> getConstantNumber(mlir::Value value);

/// The raw bytes of a constant that is not a splat.
std::optional<llvm::ArrayRef<char>> getConstantBytes(mlir::Value value);

/// A constant whose bytes `write` computes from those of the constant `source`. Where `source` is a resource, so is the result: all
/// that ask for the same `suffix`, in both entry points of a model, share it.
llvm::Expected<mlir::Value> deriveConstant(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value source, const llvm::Twine &suffix,
                                           mlir::RankedTensorType type, llvm::function_ref<void(char *)> write);

/// The constant matrix that an onnx.Transpose swaps the dimensions of to get `value`, or null.
mlir::Value getTransposedMatrix(mlir::Value value);

/// The name of the ONNX node or initializer that a location carries, or an empty string.
llvm::StringRef getNodeName(mlir::Location loc);

/// The type of `value` as a tensor with a static shape, or null.
mlir::RankedTensorType getStaticType(mlir::Value value);

/// The rank of `value`, or -1 if it is not known.
int64_t getRank(mlir::Value value);

/// `axis`, counted from the end where it is negative.
inline int64_t normalizeAxis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

/// Reshapes without moving data: collapses, expands, or both. Constants are retyped.
mlir::Value reshape(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> shape);

/// Permutes dimensions; only a reshape where no data moves.
mlir::Value transpose(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> permutation);

/// A tensor filled with one number.
mlir::Value fill(mlir::OpBuilder &builder, mlir::Location loc, mlir::RankedTensorType type, double number);
mlir::Value fill(mlir::OpBuilder &builder, mlir::Location loc, mlir::RankedTensorType type, mlir::TypedAttr number);

/// A constant of a float or integer type.
mlir::Value scalar(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type type, double number);
mlir::Value scalar(mlir::OpBuilder &builder, mlir::Location loc, mlir::TypedAttr number);

/// `type` where arith ops take it, else a signless integer of the same bits: for unsigned ones and floats of up to 8 bits.
mlir::Type getSignless(mlir::Type type);

/// A scalar as a value of `type`, where the two have the same bits: differ in their sign, or are a small float and an integer. `elutq-drop-signs` removes these casts.
mlir::Value castSign(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, mlir::Type type);

using ElementwiseBody = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange)>;

/// `result[i...] = body(inputs[i...]...)` with ONNX's (numpy's) broadcasting. Constant inputs of one value become
/// constants of the body. `init`, if given, is the destination, of the shape of the result without the batch.
mlir::Value elementwise(mlir::OpBuilder &builder, mlir::Location loc, mlir::ValueRange inputs,
                        mlir::RankedTensorType resultType, ElementwiseBody body, mlir::Value init = {});

/// `result[outer...] = fold of combine over the last dimension`, starting with `initial`; f(x) is applied to each element first.
mlir::Value reduceLast(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, double initial,
                       llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value element, mlir::Value acc)> combine);
mlir::Value reduceLast(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, mlir::TypedAttr initial,
                       llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value element, mlir::Value acc)> combine);

/// The part of `value` along one dimension: `size` entries from `offset`, `stride` apart.
mlir::Value slice(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, int64_t axis, mlir::OpFoldResult offset,
                  int64_t size, int64_t stride = 1);

/// Writes `source` into `destination` along one dimension, from `offset`, `stride` apart.
mlir::Value insert(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value source, mlir::Value destination, int64_t axis,
                   int64_t offset, int64_t stride = 1);

/// `x[M, K] * w`, with `w` `[K, N]`, or `[N, K]` where `transposed`.
mlir::Value matmul(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x, mlir::Value w, bool transposed);

/// Root-mean-square normalization over the last dimension: `x / sqrt(mean(x^2) + epsilon) * scale`.
mlir::Value rmsNorm(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x, mlir::Value scale, double epsilon);

/// Rotary embedding of `x` `[..., D]` by `cos` and `sin`, which broadcast to `[..., R/2]`; the first `R <= D` entries are
/// rotated: pairs `(i, i + R/2)`, or `(2i, 2i + 1)` where `interleaved`.
mlir::Value rotary(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x, mlir::Value cos, mlir::Value sin, bool interleaved);

/// `tensor<Mxi64>`: `start`, `start + 1`, ...
mlir::Value iota(mlir::OpBuilder &builder, mlir::Location loc, int64_t count, mlir::Value start);

} // namespace elutq::normalize

#endif // ELUTQ_CONVERSION_ONNXCOMMON_H
