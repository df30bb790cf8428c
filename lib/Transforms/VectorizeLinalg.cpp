//===- VectorizeLinalg.cpp - linalg on memrefs to loops over vectors ------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "VectorizeLinalg.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"

namespace elutq {
#define GEN_PASS_DEF_VECTORIZELINALGPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

bool elutq::hasUnitStride(Value value) {
  auto type = cast<MemRefType>(value.getType());
  return type.getRank() > 0 && type.isLastDimUnitStride();
}

SmallVector<Value> elutq::applyMap(OpBuilder &b, Location loc, AffineMap map, ValueRange ivs) {
  SmallVector<OpFoldResult> operands = getAsOpFoldResult(ivs);
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults())
    indices.push_back(
        getValueOrCreateConstantIndexOp(b, loc, affine::makeComposedFoldedAffineApply(b, loc, expr, operands)));
  return indices;
}

Value elutq::roundDown(OpBuilder &b, Location loc, Value size, int64_t multiple) {
  AffineExpr d0 = b.getAffineDimExpr(0);
  return getValueOrCreateConstantIndexOp(
      b, loc,
      affine::makeComposedFoldedAffineApply(b, loc, d0.floorDiv(multiple) * multiple, {getAsOpFoldResult(size)}));
}

void elutq::emitLoop(OpBuilder &b, Location loc, Value lower, Value upper, int64_t step,
                     function_ref<void(Value)> body) {
  if (isEqualConstantIntOrValue(lower, upper))
    return;
  auto loop = scf::ForOp::create(b, loc, lower, upper, arith::ConstantIndexOp::create(b, loc, step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

SmallVector<Value> elutq::emitFold(OpBuilder &b, Location loc, Value lower, Value upper, int64_t step, ValueRange inits,
                                   function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  if (isEqualConstantIntOrValue(lower, upper))
    return inits;
  auto loop = scf::ForOp::create(b, loc, lower, upper, arith::ConstantIndexOp::create(b, loc, step), inits);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(b, loc, next);
  return SmallVector<Value>(loop.getResults());
}

Value elutq::reduceLanes(OpBuilder &b, Location loc, Value vector, function_ref<Value(Value, Value)> combine) {
  for (int64_t lanes = kLanes / 2; lanes > 0; lanes /= 2) {
    auto half = [&](int64_t offset) -> Value {
      if (lanes == 1)
        return vector::ExtractOp::create(b, loc, vector, offset);
      return vector::ExtractStridedSliceOp::create(b, loc, vector, ArrayRef<int64_t>{offset}, ArrayRef<int64_t>{lanes},
                                                   ArrayRef<int64_t>{1});
    };
    Value low = half(0), high = half(lanes);
    vector = combine(low, high);
  }
  return vector;
}

SmallVector<Value> elutq::loopBounds(OpBuilder &b, linalg::LinalgOp op) {
  SmallVector<Value> bounds;
  for (Range range : op.createLoopRanges(b, op.getLoc()))
    bounds.push_back(getValueOrCreateConstantIndexOp(b, op.getLoc(), range.size));
  return bounds;
}

namespace {

struct VectorizeLinalg : elutq::impl::VectorizeLinalgPassBase<VectorizeLinalg> {
  using VectorizeLinalgPassBase::VectorizeLinalgPassBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](memref::CopyOp copy) {
      rewriter.setInsertionPoint(copy);
      rewriter.replaceOp(copy, linalg::makeMemRefCopyOp(rewriter, copy.getLoc(), copy.getSource(), copy.getTarget()));
    });

    SmallVector<linalg::LinalgOp> ops;
    getOperation()->walk([&](linalg::LinalgOp op) { ops.push_back(op); });
    for (linalg::LinalgOp op : ops) {
      if (!op.hasPureBufferSemantics()) {
        op.emitOpError("must be bufferized before it is vectorized");
        return signalPassFailure();
      }
      rewriter.setInsertionPoint(op);
      if (vectors && (succeeded(vectorizeContraction(rewriter, op)) || succeeded(vectorizeElementwise(rewriter, op)))) {
        ++numVectorized;
        continue;
      }
      if (vectors && remarks)
        op->emitRemark() << op->getName() << " stays scalar";
      if (failed(linalg::linalgOpToLoops(rewriter, op))) {
        op.emitOpError("cannot be lowered to loops");
        return signalPassFailure();
      }
      rewriter.eraseOp(op);
      ++numScalar;
    }
  }
};

} // namespace
