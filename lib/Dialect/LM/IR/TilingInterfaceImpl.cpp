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
  Location loc = getLoc();
  int64_t heads = cast<ShapedType>(getQuery().getType()).getDimSize(1);
  int64_t kvHeads = cast<ShapedType>(getKey().getType()).getDimSize(0);
  int64_t shared = heads / kvHeads;

  // Tiles start at multiples of their size, so a tile of a divisor of H / KVH heads reads one KV head, a tile of a multiple
  // reads whole ones. Any other size, or one that is unknown, would straddle KV heads.
  std::optional<int64_t> tileHeads = getConstantIntValue(sizes[1]);
  if (!tileHeads || *tileHeads <= 0 || (*tileHeads % shared != 0 && shared % *tileHeads != 0))
    return failure();
  AffineExpr d0 = builder.getAffineDimExpr(0);
  OpFoldResult kvOffset =
      affine::makeComposedFoldedAffineApply(builder, loc, d0.floorDiv(shared), ArrayRef<OpFoldResult>{offsets[1]});
  OpFoldResult kvSize = builder.getIndexAttr(std::max<int64_t>(*tileHeads / shared, 1));

  SmallVector<Operation *> slices;
  Value query = extractLeadingSlice(builder, loc, getQuery(), offsets, sizes, slices);
  Value key = extractLeadingSlice(builder, loc, getKey(), kvOffset, kvSize, slices);
  Value value = extractLeadingSlice(builder, loc, getValue(), kvOffset, kvSize, slices);
  Value init = extractLeadingSlice(builder, loc, getInit(), offsets, sizes, slices);
  AffineExpr sum = d0 + builder.getAffineDimExpr(1);
  OpFoldResult position =
      affine::makeComposedFoldedAffineApply(builder, loc, sum, {getAsOpFoldResult(getPosition()), offsets[0]});
  SmallVector<Value> operands{query, key, value, getValueOrCreateConstantIndexOp(builder, loc, position), init};
  Operation *tiled = mlir::clone(builder, getOperation(), init.getType(), operands);
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), std::move(slices)};
}

LogicalResult AttentionOp::getResultTilePosition(OpBuilder &builder, unsigned resultNumber,
                                                 ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                                 Slice &resultOffsets, Slice &resultSizes) {
  resultSizes = tensor::getMixedSizes(builder, getLoc(), getInit());
  resultOffsets.assign(resultSizes.size(), builder.getIndexAttr(0));
  llvm::copy(offsets, resultOffsets.begin());
  llvm::copy(sizes, resultSizes.begin());
  return success();
}
