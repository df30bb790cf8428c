//===- SplitEmpty.cpp - One empty tensor per use --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"

namespace elutq {
#define GEN_PASS_DEF_SPLITEMPTYPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct SplitEmpty : elutq::impl::SplitEmptyPassBase<SplitEmpty> {
  using SplitEmptyPassBase::SplitEmptyPassBase;

  void runOnOperation() override {
    SmallVector<tensor::EmptyOp> shared;
    getOperation()->walk([&](tensor::EmptyOp op) {
      if (!op->use_empty() && !op->hasOneUse())
        shared.push_back(op);
    });
    for (tensor::EmptyOp op : shared) {
      OpBuilder builder(op);
      for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
        if (op->hasOneUse())
          break;
        use.set(builder.clone(*op)->getResult(0));
        ++numCopies;
      }
    }
  }
};

} // namespace
