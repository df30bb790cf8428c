//===- Scalars.h - Arithmetic on elements of onnx tensors -------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H

#include "elutq/Conversion/ONNXCommon.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace elutq::normalize {

/// Builds the body of an element; values are signless, and `isUnsigned` says how integers are meant.
struct ScalarBuilder : mlir::ImplicitLocOpBuilder {
  ScalarBuilder(mlir::Location loc, mlir::OpBuilder &builder, bool isUnsigned)
      : ImplicitLocOpBuilder(loc, builder), isUnsigned(isUnsigned) {}
  bool isUnsigned;
};

inline bool isFloat(mlir::Value value) { return mlir::isa<mlir::FloatType>(value.getType()); }

/// Whether integers of `type` are not negative: ui8 to ui64, and booleans.
inline bool isUnsignedType(mlir::Type type) { return type.isUnsignedInteger() || type.isInteger(1); }

template <typename Op>
mlir::Value make(ScalarBuilder &b, mlir::ValueRange operands) {
  return Op::create(b, operands);
}

/// The form of an operation for floats, for signed and for unsigned integers.
template <typename FloatOp, typename SignedOp, typename UnsignedOp = SignedOp>
mlir::Value arithmetic(ScalarBuilder &b, mlir::ValueRange args) {
  if (isFloat(args[0]))
    return make<FloatOp>(b, args);
  return b.isUnsigned ? make<UnsignedOp>(b, args) : make<SignedOp>(b, args);
}

inline mlir::Value maximum(ScalarBuilder &b, mlir::ValueRange args) {
  return arithmetic<mlir::arith::MaximumFOp, mlir::arith::MaxSIOp, mlir::arith::MaxUIOp>(b, args);
}
inline mlir::Value minimum(ScalarBuilder &b, mlir::ValueRange args) {
  return arithmetic<mlir::arith::MinimumFOp, mlir::arith::MinSIOp, mlir::arith::MinUIOp>(b, args);
}
inline mlir::Value sum(ScalarBuilder &b, mlir::ValueRange args) {
  return arithmetic<mlir::arith::AddFOp, mlir::arith::AddIOp>(b, args);
}
inline mlir::Value product(ScalarBuilder &b, mlir::ValueRange args) {
  return arithmetic<mlir::arith::MulFOp, mlir::arith::MulIOp>(b, args);
}

/// A signless constant.
inline mlir::Value constant(ScalarBuilder &b, mlir::Type type, double number) {
  return scalar(b, b.getLoc(), getSignless(type), number);
}

/// The least (or greatest) number of a type, as what a maximum (or minimum) starts with.
mlir::TypedAttr getLowest(mlir::Type type);
mlir::TypedAttr getHighest(mlir::Type type);

/// A signless scalar that means `from` as a signless scalar that means `to`: to nearest even, towards zero for integers, by bits
/// between integers.
mlir::Value convert(ScalarBuilder &b, mlir::Value x, mlir::Type from, mlir::Type to);

/// How f32 numbers become powers of two (f8E8M0FNU); other types round to nearest even.
enum class Rounding { Nearest, Up, Down };

/// Whether `type` is a float of 8 or 4 bits. Its signless form is an integer of its bits.
inline bool isSmallFloat(mlir::Type type) { return mlir::isa<mlir::FloatType>(type) && type.getIntOrFloatBitWidth() <= 8; }

/// The f32 number that the bits of a small float are.
mlir::Value decodeSmallFloat(ScalarBuilder &b, mlir::Value bits, mlir::FloatType type);

/// The bits of an f32 number as a small float. Numbers beyond the greatest finite one become it, or else infinity (NaN where there is none).
mlir::Value encodeSmallFloat(ScalarBuilder &b, mlir::Value number, mlir::FloatType type, bool saturates = true,
                             Rounding rounding = Rounding::Nearest);

/// `args` made signless, the body of them, and that as an element of `resultType`.
mlir::Value applyScalar(mlir::OpBuilder &builder, mlir::Location loc, mlir::ValueRange args, mlir::Type resultType,
                        llvm::function_ref<mlir::Value(ScalarBuilder &, mlir::ValueRange)> body);

/// `elementwise` with a body on signless scalars.
mlir::Value elementwiseScalars(mlir::OpBuilder &builder, mlir::Location loc, mlir::ValueRange inputs, mlir::RankedTensorType type,
                               llvm::function_ref<mlir::Value(ScalarBuilder &, mlir::ValueRange)> body);

using Indices = llvm::ArrayRef<mlir::Value>;

/// A tensor of which each element is `body` of its indices; the body may read tensors by `readElement`.
mlir::Value generate(mlir::OpBuilder &builder, mlir::Location loc, mlir::RankedTensorType type,
                     llvm::function_ref<mlir::Value(ScalarBuilder &, Indices)> body);

/// The element of a tensor as a signless scalar.
mlir::Value readElement(ScalarBuilder &b, mlir::Value tensor, Indices indices);

/// A number of type index.
mlir::Value indexConstant(ScalarBuilder &b, int64_t number);

/// The element of an integer tensor as a number of type index; where it is negative, `size` is added (0: as it is).
mlir::Value readIndex(ScalarBuilder &b, mlir::Value tensor, Indices indices, int64_t size = 0);

/// `counts[0] * counts[1] * ...` steps one after the other, the last index fastest; each takes the tensor and returns the next one.
mlir::Value loop(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<int64_t> counts, mlir::Value tensor,
                 llvm::function_ref<mlir::Value(ScalarBuilder &, Indices, mlir::Value)> body);

/// Writes a signless scalar to an element of a tensor.
mlir::Value writeElement(ScalarBuilder &b, mlir::Value number, mlir::Value tensor, Indices indices);

/// The indices of the element at the linear `offset` of a tensor of `shape`.
llvm::SmallVector<mlir::Value> delinearize(ScalarBuilder &b, mlir::Value offset, llvm::ArrayRef<int64_t> shape);

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H
