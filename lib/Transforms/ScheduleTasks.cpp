//===- ScheduleTasks.cpp - Make independent parallel loops neighbours -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"

namespace elutq {
#define GEN_PASS_DEF_SCHEDULETASKSPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct ScheduleTasks : elutq::impl::ScheduleTasksPassBase<ScheduleTasks> {
  using ScheduleTasksPassBase::ScheduleTasksPassBase;

  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    Block &block = getOperation().getFunctionBody().front();

    // The number of ops of the block that each op waits for.
    DenseMap<Operation *, unsigned> waits;
    DenseMap<Operation *, SmallVector<Operation *>> users;
    for (Operation &op : block.without_terminator()) {
      llvm::SmallSetVector<Operation *, 8> producers;
      op.walk([&](Operation *nested) {
        for (Value operand : nested->getOperands())
          if (Operation *producer = operand.getDefiningOp();
              producer && producer->getBlock() == &block && producer != &op)
            producers.insert(producer);
      });
      waits[&op] = producers.size();
      for (Operation *producer : producers)
        users[producer].push_back(&op);
    }

    // Both lists keep the order of the block as far as they can.
    SmallVector<Operation *> serial, parallel;
    auto enqueue = [&](Operation *op) { (isa<scf::ForallOp>(op) ? parallel : serial).push_back(op); };
    for (Operation &op : block.without_terminator())
      if (waits[&op] == 0)
        enqueue(&op);
    Operation *end = block.getTerminator();
    auto emit = [&](Operation *op) {
      op->moveBefore(end);
      for (Operation *user : users[op])
        if (--waits[user] == 0)
          enqueue(user);
    };
    while (!serial.empty() || !parallel.empty()) {
      for (size_t i = 0; i < serial.size(); ++i)
        emit(serial[i]);
      serial.clear();
      SmallVector<Operation *> round = std::move(parallel);
      parallel.clear();
      for (Operation *op : round)
        emit(op);
      numNeighbours += round.empty() ? 0 : round.size() - 1;
    }
  }
};

} // namespace
