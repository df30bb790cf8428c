//===- VerifyShapes.cpp - Checks shared by op verifiers -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/VerifyShapes.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace elutq {

ShapedType ShapedOperand::getType() const { return cast<ShapedType>(value.getType()); }

LogicalResult verifyOperand(Operation *op, const ShapedOperand &operand, ArrayRef<Type> types) {
  Type type = operand.value.getType();
  if (!isa<RankedTensorType, MemRefType>(type) || operand.getType().getRank() != operand.rank)
    return op->emitOpError("expected ") << operand.name << " to be a tensor or memref of rank " << operand.rank
                                        << ", but got " << type;
  if (llvm::is_contained(types, operand.getElementType()))
    return success();
  InFlightDiagnostic diag = op->emitOpError("expected ") << operand.name << " to have element type ";
  llvm::interleave(types, diag, " or ");
  return diag << ", but got " << operand.getElementType();
}

LogicalResult verifyDim(Operation *op, const ShapedOperand &operand, unsigned dim, const Twine &meaning,
                        int64_t expected) {
  int64_t got = operand.getDim(dim);
  if (got == expected || ShapedType::isDynamic(got) || ShapedType::isDynamic(expected))
    return success();
  return op->emitOpError("expected ") << operand.name << " dim " << dim << " to be " << meaning << " (" << expected
                                      << "), but got " << got;
}

LogicalResult verifyOneSemantics(Operation *op) {
  bool anyTensor = llvm::any_of(op->getOperandTypes(), [](Type type) { return isa<TensorType>(type); });
  bool anyMemRef = llvm::any_of(op->getOperandTypes(), [](Type type) { return isa<BaseMemRefType>(type); });
  if (anyTensor && anyMemRef)
    return op->emitOpError("expected operands to be all tensors or all memrefs");
  return success();
}

} // namespace elutq
