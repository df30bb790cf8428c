//===- SplitEmpty.cpp - One empty or filled tensor per use ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace elutq {
#define GEN_PASS_DEF_SPLITEMPTYPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct SplitEmpty : elutq::impl::SplitEmptyPassBase<SplitEmpty> {
  using SplitEmptyPassBase::SplitEmptyPassBase;

  void runOnOperation() override {
    // A fill is a use of an empty tensor.
    split<linalg::FillOp>([](OpOperand &use) {
      auto op = dyn_cast<DestinationStyleOpInterface>(use.getOwner());
      return op && op.isDpsInit(&use);
    });
    split<tensor::EmptyOp>([](OpOperand &) { return true; });
  }

  /// Gives every use that `takes` the result of an `OpTy` an op of its own, but for one where all do.
  template <typename OpTy>
  void split(function_ref<bool(OpOperand &)> takes) {
    SmallVector<OpTy> shared;
    getOperation()->walk([&](OpTy op) {
      if (op->getNumResults() == 1 && !op->use_empty() && !op->hasOneUse())
        shared.push_back(op);
    });
    for (OpTy op : shared) {
      OpBuilder builder(op);
      for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
        if (op->hasOneUse())
          break;
        if (!takes(use))
          continue;
        use.set(builder.clone(*op)->getResult(0));
        ++numCopies;
      }
    }
  }
};

} // namespace
