//===- HoistAllocas.cpp - Stack buffers out of loops ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"

namespace elutq {
#define GEN_PASS_DEF_HOISTALLOCASPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

/// The op that frees the memory of `alloca`: its function, or a scope that lowers to saving and restoring the stack. An
/// `scf.for` is a scope by its definition, but not by its lowering.
Operation *scopeOf(memref::AllocaOp alloca) {
  Operation *scope = alloca->getParentOp();
  while (scope && (!scope->hasTrait<OpTrait::AutomaticAllocationScope>() || isa<scf::ForOp>(scope)))
    scope = scope->getParentOp();
  return scope;
}

struct HoistAllocas : elutq::impl::HoistAllocasPassBase<HoistAllocas> {
  using HoistAllocasPassBase::HoistAllocasPassBase;

  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    Block *entry = &getOperation().getFunctionBody().front();
    SmallVector<memref::AllocaOp> nested;
    getOperation()->walk([&](memref::AllocaOp alloca) {
      if (scopeOf(alloca) == getOperation() && alloca->getBlock() != entry && alloca->getNumOperands() == 0)
        nested.push_back(alloca);
    });
    // From the last to the first, each before the others: their order stays.
    for (memref::AllocaOp alloca : llvm::reverse(nested))
      alloca->moveBefore(entry, entry->begin());
    numHoisted += nested.size();
  }
};

} // namespace
