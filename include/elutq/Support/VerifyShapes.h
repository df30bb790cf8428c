//===- VerifyShapes.h - Checks shared by op verifiers -----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_VERIFYSHAPES_H
#define ELUTQ_SUPPORT_VERIFYSHAPES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

namespace elutq {

/// What a verifier expects of one shaped operand.
struct ShapedOperand {
  llvm::StringRef name;
  mlir::Value value;
  int64_t rank;

  mlir::ShapedType getType() const;
  int64_t getDim(unsigned dim) const { return getType().getDimSize(dim); }
  mlir::Type getElementType() const { return getType().getElementType(); }
};

/// Checks that `operand` is a ranked tensor or memref of its rank, with an element type out of `types`.
llvm::LogicalResult verifyOperand(mlir::Operation *op, const ShapedOperand &operand, llvm::ArrayRef<mlir::Type> types);

/// Checks that a dimension is `expected`, which `meaning` spells out. Dynamic dimensions agree with everything.
llvm::LogicalResult verifyDim(mlir::Operation *op, const ShapedOperand &operand, unsigned dim,
                              const llvm::Twine &meaning, int64_t expected);

/// Checks that the shaped operands are all tensors or all memrefs.
llvm::LogicalResult verifyOneSemantics(mlir::Operation *op);

} // namespace elutq

#endif // ELUTQ_SUPPORT_VERIFYSHAPES_H
