//===- SimplifyLinalg.cpp - Generalize and fuse elementwise ops -----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace elutq {
#define GEN_PASS_DEF_SIMPLIFYLINALGPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

bool isContraction(Operation *op) {
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  return linalgOp && linalg::isaContractionOpInterface(linalgOp);
}

struct SimplifyLinalg : elutq::impl::SimplifyLinalgPassBase<SimplifyLinalg> {
  using SimplifyLinalgPassBase::SimplifyLinalgPassBase;

  int64_t countOps() {
    int64_t count = 0;
    getOperation()->walk([&](linalg::LinalgOp) { ++count; });
    return count;
  }

  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> named;
    getOperation()->walk([&](linalg::LinalgOp op) {
      bool keep = isa<linalg::GenericOp, linalg::FillOp, linalg::ConvolutionOpInterface>(op.getOperation());
      if (!keep && !isContraction(op))
        named.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (linalg::LinalgOp op : named) {
      rewriter.setInsertionPoint(op);
      numGeneralized += succeeded(linalg::generalizeNamedOp(rewriter, op));
    }

    RewritePatternSet patterns(&getContext());
    linalg::ControlFusionFn control = [](OpOperand *operand) {
      Operation *producer = operand->get().getDefiningOp();
      return producer && producer->hasOneUse() && !isContraction(operand->getOwner());
    };
    linalg::populateElementwiseOpsFusionPatterns(patterns, control);
    tensor::populateDecomposeTensorConcatPatterns(patterns);
    int64_t before = countOps();
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    numFused += std::max<int64_t>(before - countOps(), 0);
  }
};

} // namespace
