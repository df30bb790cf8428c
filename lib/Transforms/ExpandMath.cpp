//===- ExpandMath.cpp - Polynomials in place of math functions ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace elutq {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct ExpandMath : elutq::impl::ExpandMathPassBase<ExpandMath> {
  using ExpandMathPassBase::ExpandMathPassBase;

  void runOnOperation() override {
    auto accurate = [](StringRef name) {
      return llvm::is_contained({math::ExpOp::getOperationName(), math::TanhOp::getOperationName(),
                                 math::ErfOp::getOperationName(), math::LogOp::getOperationName()},
                                name);
    };
    auto countOps = [&] {
      int64_t count = 0;
      getOperation()->walk([&](Operation *op) { count += accurate(op->getName().getStringRef()); });
      return count;
    };
    int64_t before = countOps();
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, accurate);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    numExpanded += before - countOps();
  }
};

} // namespace
