//===- Passes.td - Passes on whole programs ----------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TRANSFORMS_PASSES_TD
#define ELUTQ_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

def SimplifyLinalgPass : InterfacePass<"elutq-simplify-linalg", "::mlir::FunctionOpInterface"> {
  let summary = "Generalize and fuse elementwise linalg ops";
  let description = [{
    Named ops become `linalg.generic`, except contractions, convolutions and fills, and elementwise producers with one use are
    fused into their consumers. A contraction is never a consumer: it would evaluate the producer once per column.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def TileParallelPass : InterfacePass<"elutq-tile-parallel", "::mlir::FunctionOpInterface"> {
  let summary = "Tile large ops to scf.forall";
  let description = [{
    Every iteration of a resulting `scf.forall` is independent of the others and costs enough to be worth a task:

    - `hlq.lut_matmul`: `n_tile` row blocks of its kernel; all blocks of activations are in one task, which reads the weights once;
    - `hlq.build_lut`: blocks of activations, where there is more than one;
    - `lm.attention`: one head, and rows where there are many;
    - contractions in float: columns;
    - other linalg ops: the first parallel loop, where the op has at least `min-work` iterations.

    Tile sizes divide their loops, so that all shapes stay static. Results do not depend on the tiles.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"minWork", "min-work", "int64_t", /*default=*/"32768",
                        "Iterations below which a linalg op stays serial">];
  let statistics = [Statistic<"numTiled", "num-tiled", "Number of ops tiled to scf.forall">];
}

def ScheduleTasksPass : InterfacePass<"elutq-schedule-tasks", "::mlir::FunctionOpInterface"> {
  let summary = "Reorder ops so that independent scf.forall ops are neighbours";
  let description = [{
    Alternates between all serial ops that are ready and all `scf.forall` ops that are ready. `elutq-outline-tasks` makes one
    task of neighbouring `scf.forall` ops, so that query, key and value projections are one parallel call. Runs on tensors, where
    every order that respects the uses is correct.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
}

//===----------------------------------------------------------------------===//
// Memory and tasks
//===----------------------------------------------------------------------===//

def PlanMemoryPass : Pass<"elutq-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give every buffer a fixed place in an arena, the weights or the cache";
  let description = [{
    Requires: bufferized entry functions `(tokens, count, position, caches...) -> (result, caches...)` of one model, with all
    allocations outside loops. Each becomes

    ```mlir
    func.func @elutq_entry_NAME(%tokens: memref<Mxi64>, %count: index, %position: index, %arena: memref<Axi8>, %weights: memref<Wxi8>,
                          %cache: memref<Cxi8>, %result: memref<...>)
    ```

    and every buffer a `memref.view` of `%arena`, `%weights` or `%cache` at a constant offset, a multiple of 64:

    - allocations share the arena by the range of ops in which they live; its first 64 bytes are a header (see
      `elutq-outline-tasks`);
    - every constant goes to the weights once, in all entries; `elutq.weights` on the module lists `{offset, value}`;
    - the caches, the same in all entries, lie behind one another.

    The module gets `elutq.plan = {arena_bytes, weights_bytes, cache_bytes}`. A copy of a cache or of a large constant is an error.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
  let statistics = [Statistic<"numBuffers", "num-buffers", "Number of buffers placed in the arena">];
}

def OutlineTasksPass : Pass<"elutq-outline-tasks", "::mlir::ModuleOp"> {
  let summary = "Outline parallel loops and serial runs into task functions";
  let description = [{
    Requires: entries as `elutq-plan-memory` leaves them. Neighbouring `scf.forall` ops that touch no common memory become one
    function, each maximal run of serial ops another:

    ```mlir
    func.func private @NAME_task_0(%begin: index, %end: index, %arena: memref<Axi8>, %weights: memref<Wxi8>, %cache: memref<Cxi8>,
                                   %args: memref<Nxi64>)
    ```

    A task runs the iterations `[begin, end)`, numbered through all its loops. It takes the offsets of its buffers from `%args`,
    constant data of the call, and count and position from the header of the arena (i64 words: count, position, address of the
    tokens, address of the result), which the entry writes. So the tasks of equal layers are equal, and
    `duplicate-function-elimination` leaves one. Parallel tasks are called by `elutq_parallel_for`, serial ones directly.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
  let statistics = [Statistic<"numTasks", "num-tasks", "Number of tasks outlined">];
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

def VectorizeLinalgPass : InterfacePass<"elutq-vectorize-linalg", "::mlir::FunctionOpInterface"> {
  let summary = "Lower linalg ops on memrefs to loops over vectors of 16 lanes";
  let description = [{
    Elementwise ops are vectorized along the last dimension of the result, reductions along the reduced dimension with 16 partial
    results and a fixed tree at the end, products with `B[K, N]` along the columns and with `B[N, K]` along `K`. The order of
    all additions depends on the size of the reduced dimension only: a row's result does not depend on the number of rows or
    on tiles. What remains of a dimension, and ops of other forms, become scalar loops. `memref.copy` is lowered, too.

    Ensures: no `linalg` op and no `memref.copy` remains.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
  let options = [Option<"vectors", "vectors", "bool", /*default=*/"true", "Use vectors; else scalar loops only">];
  let statistics = [Statistic<"numVectorized", "num-vectorized", "Number of ops lowered to vectors">,
                    Statistic<"numScalar", "num-scalar", "Number of ops lowered to scalar loops">];
}

def ExpandMathPass : InterfacePass<"elutq-expand-math", "::mlir::FunctionOpInterface"> {
  let summary = "Replace math functions by polynomials where these are accurate";
  let description = [{
    `exp`, `tanh`, `erf` and `log` become MLIR's approximations in f32, on vectors and scalars alike. What has no accurate one
    (`sin` and `cos` of large arguments) is left for `convert-math-to-libm`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
}

#endif // ELUTQ_TRANSFORMS_PASSES_TD
