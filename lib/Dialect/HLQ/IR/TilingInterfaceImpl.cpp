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
// Tables or rounded activations: a loop over the blocks of m_tile rows and one over the table groups
//===----------------------------------------------------------------------===//

template <typename OpTy>
static SmallVector<Range> getActivationLoops(OpTy op, OpBuilder &builder) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  // The scales have one number per table group.
  return {{zero, tensor::getMixedSize(builder, op.getLoc(), op.getInits()[1], 0), one},
          {zero, tensor::getMixedSize(builder, op.getLoc(), op.getInits()[1], 1), one}};
}

/// The tile of an init, whose second dim is table groups, or, in entries, parts of them.
template <typename OpTy>
static void getInitTile(OpTy op, OpBuilder &builder, unsigned number, ArrayRef<OpFoldResult> offsets,
                        ArrayRef<OpFoldResult> sizes, Slice &initOffsets, Slice &initSizes) {
  auto getNumber = [&](Value init) { return cast<ShapedType>(init.getType()).getDimSize(1); };
  int64_t perGroup = getNumber(op.getInits()[number]) / getNumber(op.getInits()[1]);
  Location loc = op.getLoc();
  initOffsets = {offsets[0], scaleBy(builder, loc, offsets[1], perGroup)};
  initSizes = {sizes[0], scaleBy(builder, loc, sizes[1], perGroup)};
}

template <typename OpTy>
static FailureOr<TilingResult> tileActivations(OpTy op, OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                               ArrayRef<OpFoldResult> sizes) {
  if (op.getNumResults() == 0)
    return failure();
  Location loc = op.getLoc();
  OpFoldResult offset = offsets[0], size = sizes[0];
  // Only table groups of whole columns can be told apart: columns that K lacks are no part of the input.
  OpFoldResult firstColumn = builder.getIndexAttr(0), columns = tensor::getMixedSize(builder, loc, op.getInput(), 1);
  int64_t groups = cast<ShapedType>(op.getInits()[1].getType()).getDimSize(1);
  if (getConstantIntValue(sizes[1]) != groups) {
    if (getConstantIntValue(columns) != groups * static_cast<int64_t>(op.getTableGroup()))
      return op.emitOpError("expected whole table groups to tile, but got an input of shape ") << op.getInput().getType();
    firstColumn = scaleBy(builder, loc, offsets[1], op.getTableGroup());
    columns = scaleBy(builder, loc, sizes[1], op.getTableGroup());
  }
  int64_t mTile = cast<ShapedType>(op.getInits()[0].getType()).getDimSize(2);
  // The rows of the tile; the last block of all may have fewer than m_tile.
  OpFoldResult firstRow = scaleBy(builder, loc, offset, mTile);
  OpFoldResult rows = scaleBy(builder, loc, size, mTile);
  OpFoldResult m = tensor::getMixedSize(builder, loc, op.getInput(), 0);
  std::optional<int64_t> staticM = getConstantIntValue(m);
  if (!staticM || *staticM % mTile != 0) {
    AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1), d2 = builder.getAffineDimExpr(2);
    AffineMap map = AffineMap::get(3, 0, {d0, d1 - d2}, op.getContext());
    rows = affine::makeComposedFoldedAffineMin(builder, loc, map, {rows, m, firstRow});
  }

  SmallVector<Operation *> slices;
  SmallVector<Value> operands{
      extractLeadingSlice(builder, loc, op.getInput(), {firstRow, firstColumn}, {rows, columns}, slices)};
  SmallVector<Value> inits;
  for (auto [number, init] : llvm::enumerate(op.getInits())) {
    Slice initOffsets, initSizes;
    getInitTile(op, builder, number, offsets, sizes, initOffsets, initSizes);
    inits.push_back(extractLeadingSlice(builder, loc, init, initOffsets, initSizes, slices));
  }
  llvm::append_range(operands, inits);
  return cloneTiled(builder, op, operands, inits, std::move(slices));
}

template <typename OpTy>
static void getActivationPosition(OpTy op, OpBuilder &builder, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
                                  ArrayRef<OpFoldResult> sizes, Slice &resultOffsets, Slice &resultSizes) {
  getInitTile(op, builder, resultNumber, offsets, sizes, resultOffsets, resultSizes);
  SmallVector<OpFoldResult> whole = tensor::getMixedSizes(builder, op.getLoc(), op.getInits()[resultNumber]);
  for (OpFoldResult size : ArrayRef(whole).drop_front(2)) {
    resultOffsets.push_back(builder.getIndexAttr(0));
    resultSizes.push_back(size);
  }
}

#define TILED_ACTIVATIONS(OP)                                                                                          \
  SmallVector<utils::IteratorType> OP::getLoopIteratorTypes() {                                                        \
    return {utils::IteratorType::parallel, utils::IteratorType::parallel};                                             \
  }                                                                                                                    \
  SmallVector<Range> OP::getIterationDomain(OpBuilder &builder) { return getActivationLoops(*this, builder); }         \
  FailureOr<TilingResult> OP::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,               \
                                                     ArrayRef<OpFoldResult> sizes) {                                   \
    return tileActivations(*this, builder, offsets, sizes);                                                            \
  }                                                                                                                    \
  LogicalResult OP::getResultTilePosition(OpBuilder &builder, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,   \
                                          ArrayRef<OpFoldResult> sizes, Slice &resultOffsets, Slice &resultSizes) {    \
    getActivationPosition(*this, builder, resultNumber, offsets, sizes, resultOffsets, resultSizes);                   \
    return success();                                                                                                  \
  }

TILED_ACTIVATIONS(BuildLutOp)
TILED_ACTIVATIONS(QuantizeRowsOp)

#undef TILED_ACTIVATIONS

//===----------------------------------------------------------------------===//
// Products: a loop over the blocks of m_tile rows and one over the row blocks of the weights
//===----------------------------------------------------------------------===//

template <typename OpTy>
static SmallVector<Range> getProductBlocks(OpTy op, OpBuilder &builder) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  return {{zero, tensor::getMixedSize(builder, op.getLoc(), op->getOperand(0), 0), one},
          {zero, tensor::getMixedSize(builder, op.getLoc(), op.getPacked(), 0), one}};
}

template <typename OpTy>
static void getProductPosition(OpTy op, OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                               ArrayRef<OpFoldResult> sizes, Slice &resultOffsets, Slice &resultSizes) {
  int64_t mTile = op.getKernel().getMTile(), rows = op.getLayout().getRows();
  Location loc = op.getLoc();
  resultOffsets = {scaleBy(builder, loc, offsets[0], mTile), scaleBy(builder, loc, offsets[1], rows)};
  resultSizes = {scaleBy(builder, loc, sizes[0], mTile), scaleBy(builder, loc, sizes[1], rows)};
}

template <typename OpTy>
static FailureOr<TilingResult> tileProduct(OpTy op, OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                           ArrayRef<OpFoldResult> sizes) {
  if (op.getNumResults() == 0)
    return failure();
  Location loc = op.getLoc();
  Slice initOffsets, initSizes;
  getProductPosition(op, builder, offsets, sizes, initOffsets, initSizes);

  // What holds activations comes before the weights and the init.
  SmallVector<Operation *> slices;
  SmallVector<Value> operands;
  for (Value activations : op->getOperands().drop_back(2))
    operands.push_back(extractLeadingSlice(builder, loc, activations, offsets[0], sizes[0], slices));
  operands.push_back(extractLeadingSlice(builder, loc, op.getPacked(), offsets[1], sizes[1], slices));
  Value init = extractLeadingSlice(builder, loc, op.getInit(), initOffsets, initSizes, slices);
  operands.push_back(init);
  return cloneTiled(builder, op, operands, init, std::move(slices));
}

#define TILED_PRODUCT(OP)                                                                                              \
  SmallVector<utils::IteratorType> OP::getLoopIteratorTypes() {                                                        \
    return {utils::IteratorType::parallel, utils::IteratorType::parallel};                                             \
  }                                                                                                                    \
  SmallVector<Range> OP::getIterationDomain(OpBuilder &builder) { return getProductBlocks(*this, builder); }           \
  FailureOr<TilingResult> OP::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,               \
                                                     ArrayRef<OpFoldResult> sizes) {                                   \
    return tileProduct(*this, builder, offsets, sizes);                                                                \
  }                                                                                                                    \
  LogicalResult OP::getResultTilePosition(OpBuilder &builder, unsigned, ArrayRef<OpFoldResult> offsets,                \
                                          ArrayRef<OpFoldResult> sizes, Slice &resultOffsets, Slice &resultSizes) {    \
    getProductPosition(*this, builder, offsets, sizes, resultOffsets, resultSizes);                                    \
    return success();                                                                                                  \
  }

TILED_PRODUCT(LutMatmulOp)
TILED_PRODUCT(CodeMatmulOp)

#undef TILED_PRODUCT
