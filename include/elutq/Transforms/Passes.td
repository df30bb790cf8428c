//===- Passes.td - Passes between bufferization and LLVM ---*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TRANSFORMS_PASSES_TD
#define ELUTQ_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanMemoryPass : Pass<"elutq-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Place every buffer in one of three base buffers";
  let description = [{
    Requires: each public function is a bufferized entry point
    `(tokens: memref<Mxi64>, count: index, position: index, caches: memref..., logits: memref) -> ()` with static shapes; all entries
    have the same caches.

    Ensures: each entry has the signature `(tokens, count, position, arena: memref<?xi8>, weights: memref<?xi8>, cache: memref<?xi8>,
    logits)` with static sizes, and every other buffer of it is a `memref.view` of one of the three:

    - A constant global becomes a view of `weights` and an element `{offset, value}` of the module's attribute `elutq.weights`; equal constants,
      also of different entries, are stored once.
    - An allocation becomes a view of `arena`; two may overlap if no operation lies in the lifetimes of both. The first 64 bytes are
      kept for `elutq-outline-tasks`. Placement is greedy by size, as in "Efficient Memory Management for Deep Neural Net Inference"
      (arXiv 2001.03288). Small allocations inside parallel loops become stack allocations.
    - A cache argument becomes a view of `cache`.
    - Tokens are copied into the arena first and logits out of it last, as tasks reach the three buffers only.

    The module's attribute `elutq.plan` holds `arena_bytes`, `weights_bytes` and `cache_bytes`. Offsets are multiples of 64.
    Next: `elutq-outline-tasks`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
  let statistics = [
    Statistic<"numConstants", "num-constants", "Number of distinct constants in the weights">,
    Statistic<"arenaBytes", "arena-bytes", "Bytes of the arena">,
    Statistic<"allocatedBytes", "allocated-bytes", "Bytes of all allocations, had they not shared memory">];
}

def OutlineTasksPass : Pass<"elutq-outline-tasks", "::mlir::ModuleOp"> {
  let summary = "Turn entry points into sequences of calls to merged task functions";
  let description = [{
    Requires: the form that `elutq-plan-memory` leaves.

    Each `scf.forall` of an entry, and each maximal run of other operations between them, becomes a private function

    ```mlir
    func.func private @task(%begin: index, %end: index, %arena: memref<?xi8>, %weights: memref<?xi8>, %cache: memref<?xi8>, %args: memref<1024xi64>)
    ```

    that runs iterations `begin` to `end` of the loop. Offsets of views are read from `args` (its static size is an upper bound), `count` and
    `position` from the head of the arena. So layers that differ in the memory they touch are the same function, and equal functions are merged.
    The entry calls `elutq_parallel_for(task, iterations, arena, weights, cache, args)` for loops of more than one iteration and the task itself
    otherwise; `args` are constant globals.

    Ensures: besides storing its scalars and copying tokens and logits, an entry contains calls only; task functions are distinct.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
  let statistics = [
    Statistic<"numCalls", "num-calls", "Number of task calls in all entries">,
    Statistic<"numTasks", "num-tasks", "Number of distinct task functions">];
}

#endif // ELUTQ_TRANSFORMS_PASSES_TD
