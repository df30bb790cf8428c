//===- LowerLinear.cpp - Lower hlq.linear to packed weights ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Analysis/KernelCost.h"
#include "elutq/Dialect/HLQ/Transforms/Layouts.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"
#include "llvm/Support/MathExtras.h"

namespace elutq::hlq {
#define GEN_PASS_DEF_LOWERLINEARPASS
#include "elutq/Dialect/HLQ/Transforms/Passes.h.inc"
} // namespace elutq::hlq

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

/// The matrix that `op`, a `hlq.linear` or `hlq.gather`, reads, packed.
template <typename OpTy>
static Value packPlanes(RewriterBase &rewriter, OpTy op, LayoutAttr layout) {
  int64_t blocks = llvm::divideCeilSigned(op.getNumRows(), layout.getRows());
  auto type = RankedTensorType::get({blocks, layout.getRowBlockBytes(op.getNumGroups())}, rewriter.getI8Type());
  return PackOp::create(rewriter, op.getLoc(), type, op.getPlanes(), op.getScales(), op.getZeros(), layout);
}

static void lowerLinear(RewriterBase &rewriter, LinearOp op, LayoutAttr layout, KernelAttr kernel) {
  Location loc = op.getLoc();
  auto resultType = cast<RankedTensorType>(op.getResult(0).getType());
  int64_t m = resultType.getDimSize(0), n = resultType.getDimSize(1);
  // Columns are padded to whole units of the layout: their planes and activations are zeros.
  int64_t tableGroup = getTableGroup(layout.getGroupSize());
  int64_t columns = llvm::alignTo(op.getNumGroups() * layout.getGroupSize(), layout.getUnitColumns());
  int64_t tableGroups = columns / tableGroup;
  int64_t mTile = kernel.getMTile(), mBlocks = llvm::divideCeil(m, mTile);

  auto empty = [&](ArrayRef<int64_t> shape, Type type) -> Value {
    return tensor::EmptyOp::create(rewriter, loc, shape, type);
  };
  Type f32 = rewriter.getF32Type();
  bool isDot = kernel.getAlgorithm() == "dot";
  bool usesTiles = kernel.usesTiles(layout);
  // Bytes of 16 columns: four tables of 16 entries, or 16 entries.
  int64_t chunkBytes = (isDot ? 2 : 8) * kernel.getTableBits();
  SmallVector<int64_t> entries{mBlocks, columns / 16, mTile, chunkBytes};
  if (usesTiles)
    entries = {mBlocks, tableGroups, mTile, tableGroup / 16 * chunkBytes};
  SmallVector<Value> inits{empty(entries, rewriter.getI8Type()),
                           empty({mBlocks, tableGroups, mTile}, f32), empty({mBlocks, tableGroups, mTile}, f32)};
  ValueRange activations;
  if (isDot) {
    inits.push_back(empty({mBlocks, tableGroups, mTile}, rewriter.getI32Type()));
    activations = QuantizeRowsOp::create(rewriter, loc, ValueRange(inits).getTypes(), op.getInput(), inits, tableGroup,
                                         layout.hasWordEntries(kernel.getTableBits()),
                                         layout.hasTransposedEntries(), usesTiles)
                      .getResults();
  } else {
    activations = BuildLutOp::create(rewriter, loc, ValueRange(inits).getTypes(), op.getInput(), inits, tableGroup,
                                     layout.getLane())
                      .getResults();
  }

  Value packed = packPlanes(rewriter, op, layout);
  int64_t paddedRows = mBlocks * mTile;
  int64_t paddedColumns = cast<ShapedType>(packed.getType()).getDimSize(0) * layout.getRows();
  Value init = empty({paddedRows, paddedColumns}, f32);
  Value product;
  if (isDot)
    product = CodeMatmulOp::create(rewriter, loc, init.getType(), activations[0], activations[1], activations[2],
                                   activations[3], packed, init, layout, kernel, tableGroup)
                  .getResult(0);
  else
    product = LutMatmulOp::create(rewriter, loc, init.getType(), activations[0], activations[1], activations[2], packed,
                                  init, layout, kernel, tableGroup)
                  .getResult(0);
  if (product.getType() != resultType) {
    OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
    product = tensor::ExtractSliceOp::create(
        rewriter, loc, resultType, product, SmallVector<OpFoldResult>{zero, zero},
        SmallVector<OpFoldResult>{rewriter.getIndexAttr(m), rewriter.getIndexAttr(n)},
        SmallVector<OpFoldResult>{one, one});
  }
  rewriter.replaceOp(op, product);
}

static void lowerGather(RewriterBase &rewriter, GatherOp op, LayoutAttr layout) {
  Value packed = packPlanes(rewriter, op, layout);
  rewriter.replaceOpWithNewOp<PackedGatherOp>(op, op.getResultTypes(), op.getIndices(), packed, op.getInit(), layout);
}

/// Whether `op` can be lowered; says why not.
static LogicalResult checkOperands(Operation *op, LayoutAttr layout, int64_t bits, int64_t groupSize) {
  if (op->getNumResults() == 0)
    return op->emitOpError("expected tensors: linear layers are lowered before bufferization");
  if (!cast<ShapedType>(op->getResult(0).getType()).hasStaticShape())
    return op->emitOpError("expected a static shape, but got ") << op->getResult(0).getType();
  if (!layout)
    return op->emitOpError("expected the attribute ") << layoutAttrName << ": run hlq-select-kernel first";
  if (layout.getBits() != bits || layout.getGroupSize() != groupSize)
    return op->emitOpError("expected a layout of ")
           << bits << " bits in groups of " << groupSize << ", but got " << layout;
  return success();
}

namespace {

struct LowerLinear : elutq::hlq::impl::LowerLinearPassBase<LowerLinear> {
  using LowerLinearPassBase::LowerLinearPassBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    WalkResult result = getOperation()->walk([&](Operation *op) {
      auto layout = op->getAttrOfType<LayoutAttr>(layoutAttrName);
      rewriter.setInsertionPoint(op);
      if (auto linear = dyn_cast<LinearOp>(op)) {
        auto kernel = op->getAttrOfType<KernelAttr>(kernelAttrName);
        if (failed(checkOperands(op, layout, linear.getBits(), linear.getGroupSize())))
          return WalkResult::interrupt();
        if (!kernel) {
          op->emitOpError("expected the attribute ") << kernelAttrName << ": run hlq-select-kernel first";
          return WalkResult::interrupt();
        }
        if (layout.hasCodes() && kernel.getAlgorithm() != "dot") {
          op->emitOpError("expected a kernel with the algorithm dot for 8 bits, but got ")
              << kernel.getAlgorithm().getValue();
          return WalkResult::interrupt();
        }
        lowerLinear(rewriter, linear, layout, kernel);
        ++numLinears;
      } else if (auto gather = dyn_cast<GatherOp>(op)) {
        if (failed(checkOperands(op, layout, gather.getBits(), gather.getGroupSize())))
          return WalkResult::interrupt();
        lowerGather(rewriter, gather, layout);
        ++numGathers;
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    numShared += mergeEqualOps(rewriter);
  }

  /// Merges equal tables, rounded activations and packed matrices, and the constants and empty tensors that they read.
  int64_t mergeEqualOps(RewriterBase &rewriter) {
    auto count = [&] {
      int64_t ops = 0;
      getOperation()->walk([&](Operation *op) { ops += isa<BuildLutOp, QuantizeRowsOp, PackOp>(op); });
      return ops;
    };
    int64_t before = count();
    DominanceInfo dominance(getOperation());
    eliminateCommonSubExpressions(rewriter, dominance, getOperation());
    return before - count();
  }
};

} // namespace
