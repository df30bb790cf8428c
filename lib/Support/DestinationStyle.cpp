//===- DestinationStyle.cpp - What destination-style ops share ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/DestinationStyle.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace elutq {

void getDestinationStyleEffects(DestinationStyleOpInterface op, bool readsInits, MemoryEffectList &effects) {
  for (OpOperand *operand : op.getDpsInputOperands())
    if (isa<BaseMemRefType>(operand->get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), operand, /*stage=*/0, /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
  for (OpOperand &operand : op.getDpsInitsMutable()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    if (readsInits)
      effects.emplace_back(MemoryEffects::Read::get(), &operand, /*stage=*/0, /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
    effects.emplace_back(MemoryEffects::Write::get(), &operand, /*stage=*/0, /*effectOnFullRegion=*/true,
                         SideEffects::DefaultResource::get());
  }
}

LogicalResult reifyInitShapes(DestinationStyleOpInterface op, OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  if (!op.hasPureTensorSemantics())
    return failure();
  for (Value init : op.getDpsInits())
    shapes.push_back(tensor::getMixedSizes(builder, op->getLoc(), init));
  return success();
}

Value extractLeadingSlice(OpBuilder &builder, Location loc, Value tensor, ArrayRef<OpFoldResult> offsets,
                          ArrayRef<OpFoldResult> sizes, SmallVectorImpl<Operation *> &slices) {
  int64_t rank = cast<RankedTensorType>(tensor.getType()).getRank();
  SmallVector<OpFoldResult> allOffsets(rank, builder.getIndexAttr(0)), strides(rank, builder.getIndexAttr(1));
  SmallVector<OpFoldResult> allSizes = tensor::getMixedSizes(builder, loc, tensor);
  llvm::copy(offsets, allOffsets.begin());
  llvm::copy(sizes, allSizes.begin());
  auto slice = tensor::ExtractSliceOp::create(builder, loc, tensor, allOffsets, allSizes, strides);
  slices.push_back(slice);
  return slice;
}

LogicalResult bufferizeDestinationStyle(DestinationStyleOpInterface op, RewriterBase &rewriter,
                                        const bufferization::BufferizationOptions &options,
                                        bufferization::BufferizationState &state) {
  if (op.hasPureBufferSemantics())
    return success();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    if (!isa<TensorType>(operand.getType())) {
      operands.push_back(operand);
      continue;
    }
    FailureOr<Value> buffer = bufferization::getBuffer(rewriter, operand, options, state);
    if (failed(buffer))
      return failure();
    operands.push_back(*buffer);
  }
  // The op is not cloned: its attributes and properties carry over, its results do not.
  OperationState newState(op->getLoc(), op->getName(), operands, /*types=*/TypeRange(), op->getAttrs());
  Operation *newOp = rewriter.create(newState);
  SmallVector<Value> inits(cast<DestinationStyleOpInterface>(newOp).getDpsInits());
  bufferization::replaceOpWithBufferizedValues(rewriter, op, inits);
  return success();
}

} // namespace elutq
