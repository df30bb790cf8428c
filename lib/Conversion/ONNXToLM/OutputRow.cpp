//===- OutputRow.cpp - Cuts the output head to one row --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "OutputRow.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"

using namespace mlir;

namespace elutq::normalize {

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Whether the op multiplies rows by a matrix.
static bool isProduct(Operation *op) {
  if (isa<onnx::MatMulOp>(op))
    return isa<RankedTensorType>(op->getOperand(1).getType()) && typeOf(op->getOperand(1)).getRank() == 2;
  if (auto gemm = dyn_cast<onnx::GemmOp>(op))
    return gemm.getTransA() == 0 && (isAbsent(gemm.getC()) || typeOf(gemm.getC()).getRank() == 1);
  return isa<onnx::ContribMatMulNBitsOp, onnx::ElutqHLQMatMulOp>(op);
}

/// The operand that an op maps row by row, or null: the others are the same for all rows.
static Value getRowOperand(Operation *op, int64_t rows) {
  if (isProduct(op))
    return op->getOperand(0);
  if (isa<onnx::CastOp, onnx::IdentityOp, onnx::TanhOp>(op))
    return op->getOperand(0);
  if (isa<onnx::ReshapeOp>(op)) {
    // Only where the row stays the last but one dimension.
    auto from = typeOf(op->getOperand(0)), to = typeOf(op->getResult(0));
    return from.getRank() >= 2 && from.getShape().take_back(2) == to.getShape().take_back(2) ? op->getOperand(0) : nullptr;
  }
  if (!isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp>(op))
    return nullptr;
  for (int64_t i : {0, 1}) {
    Value other = op->getOperand(1 - i);
    auto otherType = typeOf(other);
    if (op->getOperand(i).getType() == op->getResult(0).getType() && getConstant(other) &&
        (otherType.getRank() < 2 || otherType.getDimSize(otherType.getRank() - 2) == 1))
      return op->getOperand(i);
  }
  return nullptr;
}

static RankedTensorType oneRow(RankedTensorType type) {
  SmallVector<int64_t> shape(type.getShape());
  shape[shape.size() - 2] = 1;
  return RankedTensorType::get(shape, type.getElementType());
}

Value selectRow(OpBuilder &builder, Value value, Value row) {
  int64_t rows = typeOf(value).getDimSize(typeOf(value).getRank() - 2);
  if (rows == 1)
    return value;
  // The ops from the result up to the product, in that order.
  SmallVector<std::pair<Operation *, Value>> chain;
  Value source = value;
  while (Operation *op = source.getDefiningOp()) {
    Value operand = op->getNumResults() == 1 && getStaticType(op->getResult(0)) ? getRowOperand(op, rows) : nullptr;
    if (!operand || !getStaticType(operand) || typeOf(operand).getRank() < 2 || typeOf(operand).getDimSize(typeOf(operand).getRank() - 2) != rows)
      break;
    chain.push_back({op, operand});
    source = operand;
    if (isProduct(op))
      break;
  }
  Value result = slice(builder, value.getLoc(), source, typeOf(source).getRank() - 2, row, 1);
  for (auto [op, operand] : llvm::reverse(chain)) {
    Operation *clone = builder.clone(*op);
    for (OpOperand &use : clone->getOpOperands())
      if (use.get() == operand)
        use.set(result);
    clone->getResult(0).setType(oneRow(typeOf(op->getResult(0))));
    result = clone->getResult(0);
  }
  return result;
}

} // namespace elutq::normalize
