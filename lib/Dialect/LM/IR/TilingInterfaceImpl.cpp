//===- TilingInterfaceImpl.cpp - Tiling of the lm ops ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Support/DestinationStyle.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace elutq;
using namespace elutq::lm;

using Slice = SmallVector<OpFoldResult>;

/// Fills in the whole of the dims that a tile does not cut.
static void completePosition(OpBuilder &builder, Value init, ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                             Slice &resultOffsets, Slice &resultSizes) {
  resultSizes = tensor::getMixedSizes(builder, init.getLoc(), init);
  resultOffsets.assign(resultSizes.size(), builder.getIndexAttr(0));
  llvm::copy(offsets, resultOffsets.begin());
  llvm::copy(sizes, resultSizes.begin());
}

/// `base + offset` as a value.
static Value addOffset(OpBuilder &builder, Location loc, Value base, OpFoldResult offset) {
  AffineExpr sum = builder.getAffineDimExpr(0) + builder.getAffineDimExpr(1);
  return getValueOrCreateConstantIndexOp(
      builder, loc, affine::makeComposedFoldedAffineApply(builder, loc, sum, {getAsOpFoldResult(base), offset}));
}

//===----------------------------------------------------------------------===//
// Both forms of attention: query heads, and the KV heads that they read
//===----------------------------------------------------------------------===//

namespace {
/// The operands of a tile of query heads.
struct HeadTile {
  Value query, key, value;
  SmallVector<Value> scales;
  SmallVector<Operation *> slices;
};
} // namespace

/// `rows` are offset and size of the tile's rows, `heads` those of its heads. Fails where the tile straddles KV heads.
template <typename OpTy>
static FailureOr<HeadTile> sliceHeads(OpTy op, OpBuilder &builder, std::pair<OpFoldResult, OpFoldResult> rows,
                                      std::pair<OpFoldResult, OpFoldResult> heads) {
  Location loc = op.getLoc();
  int64_t kvHeads = cast<ShapedType>(op.getKey().getType()).getDimSize(0);
  int64_t shared = cast<ShapedType>(op.getQuery().getType()).getDimSize(1) / kvHeads;

  // Tiles start at multiples of their size, so a tile of a divisor of H / KVH heads reads one KV head, a tile of a multiple
  // reads whole ones. Any other size, or one that is unknown, would straddle KV heads.
  std::optional<int64_t> tileHeads = getConstantIntValue(heads.second);
  if (!tileHeads || *tileHeads <= 0 || (*tileHeads % shared != 0 && shared % *tileHeads != 0))
    return failure();
  AffineExpr d0 = builder.getAffineDimExpr(0);
  OpFoldResult kvOffset =
      affine::makeComposedFoldedAffineApply(builder, loc, d0.floorDiv(shared), ArrayRef<OpFoldResult>{heads.first});
  OpFoldResult kvSize = builder.getIndexAttr(std::max<int64_t>(*tileHeads / shared, 1));

  HeadTile tile;
  auto sliceCache = [&](Value cache) { return extractLeadingSlice(builder, loc, cache, kvOffset, kvSize, tile.slices); };
  tile.query = extractLeadingSlice(builder, loc, op.getQuery(), {rows.first, heads.first}, {rows.second, heads.second},
                                   tile.slices);
  tile.key = sliceCache(op.getKey());
  tile.value = sliceCache(op.getValue());
  for (Value scales : op.getScales())
    tile.scales.push_back(sliceCache(scales));
  return tile;
}

//===----------------------------------------------------------------------===//
// AttentionOp: a loop over the query rows and one over the query heads
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> AttentionOp::getLoopIteratorTypes() {
  return {utils::IteratorType::parallel, utils::IteratorType::parallel};
}

SmallVector<Range> AttentionOp::getIterationDomain(OpBuilder &builder) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  return {{zero, tensor::getMixedSize(builder, getLoc(), getQuery(), 0), one},
          {zero, tensor::getMixedSize(builder, getLoc(), getQuery(), 1), one}};
}

FailureOr<TilingResult> AttentionOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                            ArrayRef<OpFoldResult> sizes) {
  if (getNumResults() == 0)
    return failure();
  FailureOr<HeadTile> tile = sliceHeads(*this, builder, {offsets[0], sizes[0]}, {offsets[1], sizes[1]});
  if (failed(tile))
    return failure();
  Value init = extractLeadingSlice(builder, getLoc(), getInit(), offsets, sizes, tile->slices);
  SmallVector<Value> operands{tile->query, tile->key, tile->value,
                              addOffset(builder, getLoc(), getPosition(), offsets[0])};
  llvm::append_range(operands, tile->scales);
  operands.push_back(init);
  Operation *tiled = mlir::clone(builder, getOperation(), init.getType(), operands);
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), std::move(tile->slices)};
}

LogicalResult AttentionOp::getResultTilePosition(OpBuilder &builder, unsigned resultNumber,
                                                 ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                                 Slice &resultOffsets, Slice &resultSizes) {
  completePosition(builder, getInit(), offsets, sizes, resultOffsets, resultSizes);
  return success();
}

//===----------------------------------------------------------------------===//
// AttentionPartsOp: a loop over the query heads and one over the slots of parts
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> AttentionPartsOp::getLoopIteratorTypes() {
  return {utils::IteratorType::parallel, utils::IteratorType::parallel};
}

SmallVector<Range> AttentionPartsOp::getIterationDomain(OpBuilder &builder) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  return {{zero, tensor::getMixedSize(builder, getLoc(), getSums(), 0), one},
          {zero, tensor::getMixedSize(builder, getLoc(), getSums(), 1), one}};
}

FailureOr<TilingResult> AttentionPartsOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                                 ArrayRef<OpFoldResult> sizes) {
  if (getNumResults() == 0)
    return failure();
  FailureOr<HeadTile> tile =
      sliceHeads(*this, builder, {builder.getIndexAttr(0), builder.getIndexAttr(1)}, {offsets[0], sizes[0]});
  if (failed(tile))
    return failure();
  Value sums = extractLeadingSlice(builder, getLoc(), getSums(), offsets, sizes, tile->slices);
  Value stats = extractLeadingSlice(builder, getLoc(), getStats(), offsets, sizes, tile->slices);
  SmallVector<Value> operands{tile->query, tile->key, tile->value, getPosition(),
                              addOffset(builder, getLoc(), getSlot(), offsets[1])};
  llvm::append_range(operands, tile->scales);
  llvm::append_range(operands, ValueRange{sums, stats});
  Operation *tiled = mlir::clone(builder, getOperation(), TypeRange{sums.getType(), stats.getType()}, operands);
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), std::move(tile->slices)};
}

LogicalResult AttentionPartsOp::getResultTilePosition(OpBuilder &builder, unsigned resultNumber,
                                                      ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                                      Slice &resultOffsets, Slice &resultSizes) {
  completePosition(builder, getDpsInitsMutable()[resultNumber].get(), offsets, sizes, resultOffsets, resultSizes);
  return success();
}

//===----------------------------------------------------------------------===//
// MergePartsOp: a loop over the query heads
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> MergePartsOp::getLoopIteratorTypes() { return {utils::IteratorType::parallel}; }

SmallVector<Range> MergePartsOp::getIterationDomain(OpBuilder &builder) {
  return {{builder.getIndexAttr(0), tensor::getMixedSize(builder, getLoc(), getSums(), 0), builder.getIndexAttr(1)}};
}

FailureOr<TilingResult> MergePartsOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                             ArrayRef<OpFoldResult> sizes) {
  if (getNumResults() == 0)
    return failure();
  SmallVector<Operation *> slices;
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  Value sums = extractLeadingSlice(builder, getLoc(), getSums(), offsets[0], sizes[0], slices);
  Value stats = extractLeadingSlice(builder, getLoc(), getStats(), offsets[0], sizes[0], slices);
  Value init = extractLeadingSlice(builder, getLoc(), getInit(), {zero, offsets[0]}, {one, sizes[0]}, slices);
  SmallVector<Value> operands{sums, stats, getPosition(), init};
  Operation *tiled = mlir::clone(builder, getOperation(), init.getType(), operands);
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), std::move(slices)};
}

LogicalResult MergePartsOp::getResultTilePosition(OpBuilder &builder, unsigned resultNumber,
                                                  ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                                  Slice &resultOffsets, Slice &resultSizes) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  completePosition(builder, getInit(), {zero, offsets[0]}, {one, sizes[0]}, resultOffsets, resultSizes);
  return success();
}
