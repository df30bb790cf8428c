//===- TileParallel.cpp - Tile large ops to scf.forall --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Buffers.h"
#include "StepRows.h"
#include "Tasks.h"
#include "elutq/Analysis/KernelCost.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "llvm/ADT/TypeSwitch.h"

namespace elutq {
#define GEN_PASS_DEF_TILEPARALLELPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

namespace {

constexpr int64_t kLanes = 16;

/// What an activation costs in a table or rounded, with what is fused into it, in iterations of an elementwise op.
constexpr int64_t kActivationWork = 16;

/// The largest divisor of `size` that is at most `limit` and a multiple of `multiple`, or 0.
int64_t largestDivisor(int64_t size, int64_t limit, int64_t multiple = 1) {
  for (int64_t tile = std::min(size, limit); tile >= multiple; --tile)
    if (size % tile == 0 && tile % multiple == 0)
      return tile;
  return 0;
}

int64_t dimSize(Value value, int64_t dim) { return cast<ShapedType>(value.getType()).getDimSize(dim); }

struct TileParallel : elutq::impl::TileParallelPassBase<TileParallel> {
  using TileParallelPassBase::TileParallelPassBase;

  /// Tile sizes of the loops of `op`, 0 for loops that stay whole; empty where the op stays serial.
  SmallVector<int64_t> tileSizes(Operation *op, std::optional<RowDim> rowLoop) {
    return TypeSwitch<Operation *, SmallVector<int64_t>>(op)
        .Case<hlq::LutMatmulOp, hlq::CodeMatmulOp>([&](auto op) -> SmallVector<int64_t> {
          int64_t blocks = dimSize(op.getPacked(), 0), rows = dimSize(op->getOperand(0), 0);
          int64_t nTile = largestDivisor(blocks, std::max<int64_t>(op.getKernel().getNTile(), 1));
          return {rowBlocksOfProduct(rows, op.getKernel().getMTile(), blocks / nTile), nTile};
        })
        .Case<hlq::BuildLutOp, hlq::QuantizeRowsOp>([&](auto op) -> SmallVector<int64_t> {
          ArrayRef<int64_t> shape = cast<ShapedType>(op.getInput().getType()).getShape();
          int64_t blocks = dimSize(op.getInits()[1], 0), groups = dimSize(op.getInits()[1], 1);
          int64_t work = ShapedType::getNumElements(shape) * kActivationWork;
          if (blocks > 1 && work >= minWork)
            return {1};
          if (blocks > 1 || work < minWork || shape[1] != groups * static_cast<int64_t>(op.getTableGroup()))
            return {};
          return {0, largestDivisor(groups, llvm::divideCeil(groups, kTasks))};
        })
        .Case([&](lm::AttentionOp op) -> SmallVector<int64_t> {
          int64_t rows = dimSize(op.getQuery(), 0), kvHeads = dimSize(op.getKey(), 0);
          int64_t group = dimSize(op.getQuery(), 1) / kvHeads;
          // All heads that share a KV head, so that its keys and values are read once, and no fewer rows than a tile has.
          int64_t limit = std::max<int64_t>(rows * kvHeads / kTasks, llvm::divideCeil(8, group));
          return {largestDivisor(rows, limit), group};
        })
        .Case([&](lm::AttentionPartsOp op) -> SmallVector<int64_t> {
          return {dimSize(op.getQuery(), 1) / dimSize(op.getKey(), 0), 1};
        })
        .Case([&](lm::MergePartsOp op) -> SmallVector<int64_t> {
          int64_t heads = dimSize(op.getSums(), 0);
          if (cast<ShapedType>(op.getSums().getType()).getNumElements() < minWork)
            return {};
          return {largestDivisor(heads, llvm::divideCeil(heads, kTasks))};
        })
        .Case([&](linalg::LinalgOp op) { return linalgTileSizes(op, rowLoop); })
        .Default([](Operation *) { return SmallVector<int64_t>(); });
  }

  /// Blocks of `mTile` rows of activations in a task, of `blocks`, or 0 for all: where the tiles of the weights are fewer than tasks
  /// should be, and rows so many that reading the weights again for some of them is nothing beside their products.
  static int64_t rowBlocksOfProduct(int64_t blocks, int64_t mTile, int64_t weightTiles) {
    int64_t least = llvm::divideCeil(kTaskRows, mTile), wanted = llvm::divideCeil(blocks * weightTiles, kTasks);
    int64_t tile = largestDivisor(blocks, std::max(least, wanted));
    return tile < least || tile == blocks ? 0 : tile;
  }

  /// Whether each element of a producer is needed by one tile of `op`.
  static bool takesProducers(Operation *op) { return isa<hlq::BuildLutOp, hlq::QuantizeRowsOp>(op); }

  /// Whether `op` takes any number of rows, and not only as many as are known.
  static bool isProduct(Operation *op) { return isa<hlq::LutMatmulOp, hlq::CodeMatmulOp>(op); }

  /// Whether each element of `value` is computed for itself.
  static bool isElementwise(OpResult value) {
    auto op = dyn_cast<linalg::LinalgOp>(value.getOwner());
    return op && op->getNumResults() == 1 && op.getNumParallelLoops() == op.getNumLoops() &&
           !isa<linalg::FillOp>(op.getOperation());
  }

  SmallVector<int64_t> linalgTileSizes(linalg::LinalgOp op, std::optional<RowDim> rowLoop) {
    SmallVector<int64_t> ranges = op.getStaticLoopRanges(), sizes(ranges.size(), 0);
    if (isa<linalg::FillOp>(op.getOperation()) || llvm::any_of(ranges, ShapedType::isDynamic))
      return {};
    int64_t work = 1;
    for (int64_t range : ranges)
      work *= range;
    if (work < minWork)
      return {};

    // The rows of an elementwise op; the columns of a product, so that a task reads its weights once for all rows.
    FailureOr<linalg::ContractionDimensions> dims = failure();
    if (linalg::isaContractionOpInterface(op))
      dims = linalg::inferContractionDims(op);
    SmallVector<unsigned> parallel;
    if (succeeded(dims)) {
      llvm::append_range(parallel, dims->batch);
      llvm::append_range(parallel, dims->n);
    } else {
      op.getParallelDims(parallel);
      // A step that fills no chunk needs fewer rows.
      if (auto *place = rowLoop ? llvm::find(parallel, rowLoop->dim) : parallel.end(); place != parallel.end())
        std::rotate(parallel.begin(), place, place + 1);
    }
    for (unsigned dim : parallel) {
      if (ranges[dim] < 2)
        continue;
      // A tile of the last dimension is cut into vectors.
      bool isColumn = succeeded(dims) ? llvm::is_contained(dims->n, dim) : dim + 1 == ranges.size();
      int64_t tile = largestDivisor(ranges[dim], llvm::divideCeil(ranges[dim], kTasks), isColumn ? kLanes : 1);
      if (tile == 0 || tile == ranges[dim])
        continue;
      sizes[dim] = tile;
      return sizes;
    }
    return {};
  }

  /// The number of iterations of a row loop that a step needs.
  static Value createRowBound(OpBuilder &b, Location loc, Value count, const RowDim &rowLoop) {
    AffineExpr iterations = b.getAffineDimExpr(0).ceilDiv(rowLoop.rows);
    return getValueOrCreateConstantIndexOp(
        b, loc, affine::makeComposedFoldedAffineApply(b, loc, iterations, {OpFoldResult(count)}));
  }

  /// Lets loop `number` of `forall` end at `bound`. What the iterations behind it would have written is read by nobody.
  static void limitLoop(scf::ForallOp forall, unsigned number, Value bound) {
    SmallVector<OpFoldResult> upper = forall.getMixedUpperBound();
    upper[number] = bound;
    SmallVector<Value> values;
    SmallVector<int64_t> numbers;
    dispatchIndexOpFoldResults(upper, values, numbers);
    forall.getDynamicUpperBoundMutable().assign(values);
    forall.setStaticUpperBound(numbers);
  }

  /// Whether `forall` has more than one iteration: else it goes away, and its body would have to write to an empty tensor in parts,
  /// which elutq-split-empty gives memory of their own.
  static bool hasIterations(scf::ForallOp forall) {
    return getConstantIntValue(forall.getMixedUpperBound()[0]) > getConstantIntValue(forall.getMixedStep()[0]);
  }

  /// Makes `op`, whose row loop is whole, compute its first `bound` iterations only.
  static LogicalResult limitRows(RewriterBase &rewriter, TilingInterface op, int64_t rowLoop, Value bound) {
    rewriter.setInsertionPoint(op);
    SmallVector<OpFoldResult> offsets, sizes, resultOffsets, resultSizes;
    for (const Range &range : op.getIterationDomain(rewriter)) {
      offsets.push_back(range.offset);
      sizes.push_back(range.size);
    }
    sizes[rowLoop] = bound;
    FailureOr<TilingResult> part = op.getTiledImplementation(rewriter, offsets, sizes);
    if (failed(part) || failed(op.getResultTilePosition(rewriter, 0, offsets, sizes, resultOffsets, resultSizes)))
      return failure();
    Value init = cast<DestinationStyleOpInterface>(op.getOperation()).getDpsInits()[0];
    SmallVector<OpFoldResult> strides(resultSizes.size(), rewriter.getIndexAttr(1));
    Value whole = tensor::InsertSliceOp::create(rewriter, op.getLoc(), part->tiledValues[0], init, resultOffsets, resultSizes, strides);
    rewriter.replaceOp(op, whole);
    return success();
  }

  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    StepRows rows(getOperation().getFunctionBody().front());
    SmallVector<TilingInterface> ops;
    getOperation()->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<scf::ForallOp>(op))
        return WalkResult::skip();
      if (auto tiling = dyn_cast<TilingInterface>(op); tiling && op->getNumResults() > 0)
        ops.push_back(tiling);
      return WalkResult::advance();
    });

    // Consumers first, so that they can take their producers in.
    IRRewriter rewriter(&getContext());
    for (TilingInterface op : llvm::reverse(ops)) {
      if (isOpTriviallyDead(op)) {
        rewriter.eraseOp(op);
        continue;
      }
      std::optional<RowDim> rowLoop = rows.getRowLoop(op);
      SmallVector<int64_t> sizes = tileSizes(op, rowLoop);
      if (llvm::all_of(sizes, [](int64_t size) { return size == 0; }))
        continue;
      scf::SCFTilingOptions options;
      options.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
      options.setTileSizes(getAsIndexOpFoldResult(&getContext(), sizes));
      rewriter.setInsertionPoint(op);
      Value bound;
      if (rowLoop)
        bound = createRowBound(rewriter, op.getLoc(), rows.getCount(), *rowLoop);
      scf::SCFTileAndFuseOptions fuse;
      fuse.setTilingOptions(options);
      fuse.setFusionControlFn([&](tensor::ExtractSliceOp slice, OpResult producer, bool isInit) {
        bool fits = slice.getType().hasStaticShape() && bufferBytes(slice.getType()) <= kStackBytes;
        // The op itself, which is to go, has its operands still.
        bool isOnlyUser = llvm::all_of(producer.getUsers(), [&](Operation *user) { return user == op || user == slice; });
        bool joins = !isInit && takesProducers(op) && fits && isOnlyUser && isElementwise(producer);
        numFused += joins;
        return joins ? std::optional<scf::SCFTileAndFuseOptions::ControlFnResult>(std::in_place) : std::nullopt;
      });
      FailureOr<scf::SCFTileAndFuseResult> tiled = scf::tileConsumerAndFuseProducersUsingSCF(rewriter, op, fuse);
      if (failed(tiled)) {
        op.emitOpError("cannot be tiled");
        return signalPassFailure();
      }
      auto forall = cast<scf::ForallOp>(tiled->loops.front());
      if (rowLoop && sizes[rowLoop->dim] != 0) {
        unsigned number = llvm::count_if(ArrayRef(sizes).take_front(rowLoop->dim), [](int64_t size) { return size != 0; });
        limitLoop(forall, number, bound);
        ++numLimited;
      } else if (rowLoop && isProduct(op) && hasIterations(forall)) {
        if (failed(limitRows(rewriter, cast<TilingInterface>(tiled->tiledAndFusedOps.front()), rowLoop->dim, bound)))
          return signalPassFailure();
        ++numLimited;
      }
      SmallVector<Value> replacements;
      for (Value result : op->getResults())
        replacements.push_back(tiled->replacements.lookup(result));
      rewriter.replaceOp(op, replacements);
      ++numTiled;
    }
  }
};

} // namespace
