//===- TilingInterfaceImpl.cpp - Tiling of the hlq ops --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Support/DestinationStyle.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

using Slice = SmallVector<OpFoldResult>;

/// `value * factor`, folded where `value` is known.
static OpFoldResult scaleBy(OpBuilder &builder, Location loc, OpFoldResult value, int64_t factor) {
  AffineExpr d0 = builder.getAffineDimExpr(0);
  return affine::makeComposedFoldedAffineApply(builder, loc, d0 * factor, {value});
}

/// Clones `op` on the sliced operands.
static TilingResult cloneTiled(OpBuilder &builder, Operation *op, ValueRange operands, ValueRange inits,
                               SmallVector<Operation *> slices) {
  Operation *tiled = clone(builder, op, inits.getTypes(), operands);
  return {{tiled}, SmallVector<Value>(tiled->getResults()), std::move(slices)};
}

//===----------------------------------------------------------------------===//
// BuildLutOp: one loop over the blocks of m_tile rows
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> BuildLutOp::getLoopIteratorTypes() { return {utils::IteratorType::parallel}; }

SmallVector<Range> BuildLutOp::getIterationDomain(OpBuilder &builder) {
  OpFoldResult blocks = tensor::getMixedSize(builder, getLoc(), getInits()[0], 0);
  return {{builder.getIndexAttr(0), blocks, builder.getIndexAttr(1)}};
}

FailureOr<TilingResult> BuildLutOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                           ArrayRef<OpFoldResult> sizes) {
  if (getNumResults() == 0)
    return failure();
  Location loc = getLoc();
  int64_t mTile = cast<ShapedType>(getInits()[0].getType()).getDimSize(2);
  // The rows of the tile; the last block of all may have fewer than m_tile.
  OpFoldResult firstRow = scaleBy(builder, loc, offsets[0], mTile);
  OpFoldResult rows = scaleBy(builder, loc, sizes[0], mTile);
  OpFoldResult m = tensor::getMixedSize(builder, loc, getInput(), 0);
  std::optional<int64_t> staticM = getConstantIntValue(m);
  if (!staticM || *staticM % mTile != 0) {
    AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1), d2 = builder.getAffineDimExpr(2);
    AffineMap map = AffineMap::get(3, 0, {d0, d1 - d2}, getContext());
    rows = affine::makeComposedFoldedAffineMin(builder, loc, map, {rows, m, firstRow});
  }

  SmallVector<Operation *> slices;
  SmallVector<Value> operands{extractLeadingSlice(builder, loc, getInput(), {firstRow}, {rows}, slices)};
  SmallVector<Value> inits;
  for (Value init : getInits())
    inits.push_back(extractLeadingSlice(builder, loc, init, offsets[0], sizes[0], slices));
  llvm::append_range(operands, inits);
  return cloneTiled(builder, *this, operands, inits, std::move(slices));
}

LogicalResult BuildLutOp::getResultTilePosition(OpBuilder &builder, unsigned resultNumber,
                                                ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                                Slice &resultOffsets, Slice &resultSizes) {
  resultSizes = tensor::getMixedSizes(builder, getLoc(), getInits()[resultNumber]);
  resultOffsets.assign(resultSizes.size(), builder.getIndexAttr(0));
  resultOffsets[0] = offsets[0];
  resultSizes[0] = sizes[0];
  return success();
}

//===----------------------------------------------------------------------===//
// LutMatmulOp: a loop over the blocks of m_tile rows and one over the row blocks of the weights
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> LutMatmulOp::getLoopIteratorTypes() {
  return {utils::IteratorType::parallel, utils::IteratorType::parallel};
}

SmallVector<Range> LutMatmulOp::getIterationDomain(OpBuilder &builder) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  return {{zero, tensor::getMixedSize(builder, getLoc(), getTables(), 0), one},
          {zero, tensor::getMixedSize(builder, getLoc(), getPacked(), 0), one}};
}

FailureOr<TilingResult> LutMatmulOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                            ArrayRef<OpFoldResult> sizes) {
  if (getNumResults() == 0)
    return failure();
  Location loc = getLoc();
  Slice initOffsets, initSizes;
  if (failed(getResultTilePosition(builder, 0, offsets, sizes, initOffsets, initSizes)))
    return failure();

  SmallVector<Operation *> slices;
  SmallVector<Value> operands;
  for (Value table : {getTables(), getScales(), getSums()})
    operands.push_back(extractLeadingSlice(builder, loc, table, offsets[0], sizes[0], slices));
  operands.push_back(extractLeadingSlice(builder, loc, getPacked(), offsets[1], sizes[1], slices));
  Value init = extractLeadingSlice(builder, loc, getInit(), initOffsets, initSizes, slices);
  operands.push_back(init);
  return cloneTiled(builder, *this, operands, init, std::move(slices));
}

LogicalResult LutMatmulOp::getResultTilePosition(OpBuilder &builder, unsigned resultNumber,
                                                 ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                                 Slice &resultOffsets, Slice &resultSizes) {
  int64_t mTile = getKernel().getMTile(), rows = getLayout().getRows();
  resultOffsets = {scaleBy(builder, getLoc(), offsets[0], mTile), scaleBy(builder, getLoc(), offsets[1], rows)};
  resultSizes = {scaleBy(builder, getLoc(), sizes[0], mTile), scaleBy(builder, getLoc(), sizes[1], rows)};
  return success();
}
