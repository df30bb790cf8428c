//===- SplitAttention.cpp - The parts of attention as tasks ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Tasks.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/MathExtras.h"

namespace elutq {
#define GEN_PASS_DEF_SPLITATTENTIONPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

namespace {

struct SplitAttention : elutq::impl::SplitAttentionPassBase<SplitAttention> {
  using SplitAttentionPassBase::SplitAttentionPassBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](lm::AttentionOp op) {
      if (op->getNumResults() > 0 && cast<ShapedType>(op.getQuery().getType()).getDimSize(0) == 1)
        split(op, rewriter);
    });
  }

  void split(lm::AttentionOp op, IRRewriter &rewriter) {
    auto query = cast<ShapedType>(op.getQuery().getType()), key = cast<ShapedType>(op.getKey().getType());
    int64_t kvHeads = key.getDimSize(0), heads = query.getDimSize(1), size = query.getDimSize(2);
    int64_t parts = lm::getMaxParts(op.getWindow(), op.getPart(), key.getDimSize(1) * lm::kKeyBlock);
    int64_t slots = llvm::PowerOf2Ceil(std::min<int64_t>(llvm::divideCeil(kTasks, kvHeads), parts));
    if (slots == 1)
      return;
    rewriter.setInsertionPoint(op);
    Location loc = op.getLoc();
    Type f32 = rewriter.getF32Type();
    int64_t places = llvm::divideCeil(parts, slots);
    Value sums = tensor::EmptyOp::create(rewriter, loc, ArrayRef<int64_t>{heads, slots, places, size}, f32);
    Value stats = tensor::EmptyOp::create(rewriter, loc, ArrayRef<int64_t>{heads, slots, places, 2}, f32);
    Value slot = arith::ConstantIndexOp::create(rewriter, loc, 0);
    auto partsOp = lm::AttentionPartsOp::create(
        rewriter, loc, TypeRange{sums.getType(), stats.getType()}, op.getQuery(), op.getKey(), op.getValue(),
        op.getPosition(), slot, op.getScales(), sums, stats, op.getScaleAttr(), op.getWindowAttr(), op.getSoftcapAttr(),
        op.getPartAttr(), rewriter.getI64IntegerAttr(slots));
    auto merge = lm::MergePartsOp::create(rewriter, loc, TypeRange{op.getInit().getType()}, partsOp->getResult(0),
                                          partsOp->getResult(1), op.getPosition(), op.getInit(), op.getWindowAttr(),
                                          op.getPartAttr());
    rewriter.replaceOp(op, merge);
    ++numSplit;
  }
};

} // namespace
