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
    `tensor.concat` becomes insertions of slices, which bufferize in place.

    Requires: tensors. Ensures: no `tensor.concat` remains, and no named linalg op but contractions, convolutions and fills.
    Next: `elutq-tile-parallel`.

    ```mlir
    %s = linalg.add ins(%x, %y : tensor<4x64xf32>, tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
    %r = linalg.exp ins(%s : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
    // becomes
    %r = linalg.generic {...} ins(%x, %y : tensor<4x64xf32>, tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) {
    ^bb0(%a: f32, %b: f32, %out: f32):
      %0 = arith.addf %a, %b : f32
      %1 = math.exp %0 : f32
      linalg.yield %1 : f32
    } -> tensor<4x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numGeneralized", "num-generalized", "Number of named ops made generic">,
                    Statistic<"numFused", "num-fused", "Number of linalg ops that fusion removed">];
}

def DropSignsPass : Pass<"elutq-drop-signs", "::mlir::ModuleOp"> {
  let summary = "Make unsigned integers signless";
  let description = [{
    `ui8` to `ui64` become `i8` to `i64` in the types and constants of all ops. The patterns of `convert-onnx-to-linalg` choose ops that
    mean unsigned numbers (`arith.divui`) and put `builtin.unrealized_conversion_cast` between the two kinds of types: these casts go.

    Requires: no op whose meaning depends on the sign of its types. Ensures: only signless integers. Next: `one-shot-bufferize`.

    ```mlir
    %a = builtin.unrealized_conversion_cast %x : ui8 to i8
    %b = arith.divui %a, %c : i8
    %y = builtin.unrealized_conversion_cast %b : i8 to ui8
    // becomes
    %y = arith.divui %x, %c : i8
    ```
  }];
  let statistics = [Statistic<"numCasts", "num-casts", "Number of casts removed">];
}

def CopyToLinalgPass : InterfacePass<"elutq-copy-to-linalg", "::mlir::FunctionOpInterface"> {
  let summary = "Copy buffers by linalg.generic";
  let description = [{
    `memref.copy` becomes a `linalg.generic`: of a buffer with strides it would be a call of MLIR's runtime library, which a compiled graph
    does without.

    Requires: memrefs. Ensures: no `memref.copy` remains. Next: `convert-linalg-to-loops`.

    ```mlir
    memref.copy %a, %b : memref<4xf32, strided<[2]>> to memref<4xf32>
    // becomes
    linalg.generic {...} ins(%a : memref<4xf32, strided<[2]>>) outs(%b : memref<4xf32>) {
    ^bb0(%x: f32, %old: f32):
      linalg.yield %x : f32
    }
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
  let statistics = [Statistic<"numCopies", "num-copies", "Number of copies replaced">];
}

def SplitAttentionPass : InterfacePass<"elutq-split-attention", "::mlir::FunctionOpInterface"> {
  let summary = "Compute the attention of one token part by part where its heads are few";
  let description = [{
    `lm.attention` of one row becomes `lm.attention_parts` and `lm.merge_parts` where it has fewer KV heads than there should be tasks
    and sees more than one part: the parts of a head are then independent. The result is the same, bit for bit.

    Requires: tensors. Ensures: nothing more. Next: `elutq-tile-parallel`.

    ```mlir
    %o = lm.attention ins(%q, %k, %v, %p : tensor<1x4x64xf32>, ...) outs(%e : tensor<1x4x64xf32>) {...} -> tensor<1x4x64xf32>
    // becomes
    %s:2 = lm.attention_parts ins(%q, %k, %v, %p, %c0 : tensor<1x4x64xf32>, ...) outs(%s0, %t0 : tensor<4x16x1x64xf32>, tensor<4x16x1x2xf32>)
             {..., slots = 16 : i64} -> tensor<4x16x1x64xf32>, tensor<4x16x1x2xf32>
    %o = lm.merge_parts ins(%s#0, %s#1, %p : tensor<4x16x1x64xf32>, tensor<4x16x1x2xf32>) outs(%e : tensor<1x4x64xf32>) -> tensor<1x4x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect", "::elutq::lm::LMDialect"];
  let statistics = [Statistic<"numSplit", "num-split", "Number of attention ops split">];
}

def TileParallelPass : InterfacePass<"elutq-tile-parallel", "::mlir::FunctionOpInterface"> {
  let summary = "Tile large ops to scf.forall";
  let description = [{
    Every iteration of a resulting `scf.forall` is independent of the others and costs enough to be worth a task:

    - `hlq.lut_matmul`, `hlq.code_matmul`: `n_tile` row blocks of its kernel, which a task reads once for all blocks of activations; where that makes
      fewer than 16 tasks, at least 128 rows of activations each;
    - `hlq.build_lut`, `hlq.quantize_rows`: blocks of activations, where there is more than one, else table groups, where they are
      long enough (2048 columns); an elementwise op that gives them their input, and nothing else, moves into the loop where a
      tile of it fits the stack: the activation and gate of an MLP, the last step of a norm;
    - `lm.attention`: the heads that share a KV head, and rows where there are more than the KV heads make tasks;
    - `lm.attention_parts`: the heads that share a KV head, and one slot of parts; `lm.merge_parts`: heads, where there is much to merge;
    - contractions in float: columns;
    - other linalg ops: the first parallel loop, where the op has at least `min-work` iterations.

    Tile sizes divide their loops, so that all shapes stay static. Results do not depend on the tiles.

    In an entry with `lm.cache_append` ops, which say how many rows of a step exist (`count`), rows behind these are computed only as far as a
    tile has them: a loop over rows ends at `ceil(count / rows of an iteration)`, and a product of several tasks takes as many blocks of activations. That
    holds for ops whose results reach nothing but such rows: caches, and the logits of row `count - 1`.

    Requires: tensors of static shape; ops on other shapes stay serial. Ensures: an op inside an `scf.forall` is not tiled again.
    Next: `elutq-schedule-tasks`.

    ```mlir
    %r = linalg.generic {...} ins(%x : tensor<64x1024xf32>) outs(%e : tensor<64x1024xf32>) {...} -> tensor<64x1024xf32>
    // becomes
    %r = scf.forall (%i) = (0) to (64) step (4) shared_outs(%o = %e) -> (tensor<64x1024xf32>) {
      %xs = tensor.extract_slice %x[%i, 0] [4, 1024] [1, 1] : tensor<64x1024xf32> to tensor<4x1024xf32>
      ...
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %rs into %o[%i, 0] [4, 1024] [1, 1] : tensor<4x1024xf32> into tensor<64x1024xf32>
      }
    }
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"minWork", "min-work", "int64_t", /*default=*/"32768",
                        "Iterations below which a linalg op stays serial (default 32768)">];
  let statistics = [Statistic<"numTiled", "num-tiled", "Number of ops tiled to scf.forall">,
                    Statistic<"numFused", "num-fused", "Number of elementwise ops moved into the loop of their consumer">,
                    Statistic<"numLimited", "num-limited", "Number of ops that compute the rows of a step only">];
}

def ScheduleTasksPass : InterfacePass<"elutq-schedule-tasks", "::mlir::FunctionOpInterface"> {
  let summary = "Reorder ops so that independent scf.forall ops are neighbours";
  let description = [{
    Alternates between all serial ops that are ready and all `scf.forall` ops that are ready. `elutq-outline-tasks` makes one
    task of neighbouring `scf.forall` ops, so that query, key and value projections are one parallel call. Runs on tensors, where
    every order that respects the uses is correct.

    Requires: a function of one block, on tensors. Ensures: ops are moved only. Next: bufferization.

    ```mlir
    %q = scf.forall (%i) in (4) ... {...}     // reads %x
    %n = tensor.empty() : tensor<64xf32>
    %k = scf.forall (%i) in (4) ... {...}     // reads %x, writes a copy of %n
    // becomes
    %n = tensor.empty() : tensor<64xf32>
    %q = scf.forall (%i) in (4) ... {...}
    %k = scf.forall (%i) in (4) ... {...}
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
  let statistics = [Statistic<"numNeighbours", "num-neighbours", "Number of scf.forall ops right behind another">];
}

def GraphEntryPass : Pass<"elutq-graph-entry", "::mlir::ModuleOp"> {
  let summary = "Give a graph the form of a language model's entry";
  let description = [{
    `main_graph` becomes a function of the name `entry` with the arguments that entries have: tokens, a count and a position, which it does
    not read, then its inputs, then a tensor for each output, which is written in place as a cache would be. The first result is a
    number without meaning, the others are the outputs. `elutq-plan-memory` gives inputs and outputs places in the section of the caches,
    and writes them to the attribute `elutq.places`; the runtime copies them in and out.

    Requires: static shapes, no `onnx` op. Ensures: an entry with the attribute `elutq.graph`. Next: `elutq-tile-and-bufferize`.

    ```mlir
    func.func @main_graph(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      return %y : tensor<4xf32>
    // becomes
    func.func @shape0(%tokens: tensor<1xi64>, %count: index, %position: index, %x: tensor<4xf32>, %out: tensor<4xf32>)
        -> (tensor<1xf32>, tensor<4xf32>) attributes {elutq.graph} {
      %y = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %0 = linalg.fill ins(%zero : f32) outs(%none : tensor<1xf32>) -> tensor<1xf32>
      %1 = bufferization.materialize_in_destination %y in %out : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
      return %0, %1 : tensor<1xf32>, tensor<4xf32>
    ```
  }];
  let options = [Option<"entry", "entry", "std::string", /*default=*/"\"shape0\"", "Name of the function">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numOutputs", "num-outputs", "Number of outputs with a place">];
}

def SplitEmptyPass : InterfacePass<"elutq-split-empty", "::mlir::FunctionOpInterface"> {
  let summary = "Give every use of an empty tensor, or of a filled one to write to, one of its own";
  let description = [{
    `cse` makes one `tensor.empty` of all of a shape, and with it one set of tensors that may share a buffer. Bufferization
    compares every write in such a set with every read: its time would grow with the square of the number of layers. The content
    of an empty tensor is undefined, so that any number of them are as good as one. A `linalg.fill` that several ops add to would be kept and copied; each
    of them gets one, too.

    Requires: nothing. Ensures: every `tensor.empty` has one use at most, and every `linalg.fill` one use as an init at most. Next: bufferization.

    ```mlir
    %e = tensor.empty() : tensor<64xf32>
    %0 = linalg.exp ins(%x : tensor<64xf32>) outs(%e : tensor<64xf32>) -> tensor<64xf32>
    %1 = linalg.exp ins(%0 : tensor<64xf32>) outs(%e : tensor<64xf32>) -> tensor<64xf32>
    // becomes
    %e = tensor.empty() : tensor<64xf32>
    %f = tensor.empty() : tensor<64xf32>
    %0 = linalg.exp ins(%x : tensor<64xf32>) outs(%e : tensor<64xf32>) -> tensor<64xf32>
    %1 = linalg.exp ins(%0 : tensor<64xf32>) outs(%f : tensor<64xf32>) -> tensor<64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numCopies", "num-copies", "Number of tensor.empty and linalg.fill ops added">];
}

def InsertInPlacePass : InterfacePass<"elutq-insert-in-place", "::mlir::FunctionOpInterface"> {
  let summary = "Compute a part of a tensor where it is inserted";
  let description = [{
    Where the result of an op, or of several that take over one another's tensors, starts as a `tensor.empty` and is only inserted
    into a larger tensor, the slice of that tensor takes the place of the empty one: the part needs no buffer of its own and no
    copy. `eliminate-empty-tensors` does the same behind an analysis of all functions, which bufferization repeats; uses are enough,
    since bufferization gives the part a buffer after all where the larger tensor is still read.

    Requires: nothing. Ensures: results are the same, and such a `tensor.empty` is gone. Next: `elutq-bufferize`.

    ```mlir
    %e = tensor.empty() : tensor<4xf32>
    %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
    %1 = tensor.insert_slice %0 into %y[4] [4] [1] : tensor<4xf32> into tensor<8xf32>
    // becomes
    %e = tensor.extract_slice %y[4] [4] [1] : tensor<8xf32> to tensor<4xf32>
    %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
    %1 = tensor.insert_slice %0 into %y[4] [4] [1] : tensor<4xf32> into tensor<8xf32>
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numParts", "num-parts", "Number of parts computed in place">];
}

//===----------------------------------------------------------------------===//
// Memory and tasks
//===----------------------------------------------------------------------===//

def BufferizePass : Pass<"elutq-bufferize", "::mlir::ModuleOp"> {
  let summary = "Bufferize the functions of a module, each on a thread";
  let description = [{
    `one-shot-bufferize` with function boundaries and identity layouts, on one thread per function: the analysis of a function takes
    time that grows with its layers, and entries call nothing, so that none has to wait for another. Constants become
    `memref.global` ops, one for equal ones of all functions.

    Requires: functions that use no other one and no global of their module. Ensures: no tensor remains. Next: `elutq-plan-memory`.

    ```mlir
    func.func @exp(%x: tensor<4xf32>) -> tensor<4xf32> {
      %e = tensor.empty() : tensor<4xf32>
      %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      return %0 : tensor<4xf32>
    }
    // becomes
    func.func @exp(%x: memref<4xf32>) -> memref<4xf32> {
      %e = memref.alloc() {alignment = 64 : i64} : memref<4xf32>
      linalg.exp ins(%x : memref<4xf32>) outs(%e : memref<4xf32>)
      return %e : memref<4xf32>
    }
    ```
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
  let statistics = [Statistic<"numFunctions", "num-functions", "Number of functions bufferized">];
}

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

    Ensures: no `memref.alloc`, `memref.global` or `memref.get_global` remains. Buffers inside loops of up to 16 KiB become
    `memref.alloca`; larger ones are an error. Next: `elutq-outline-tasks`.

    ```mlir
    %x = memref.alloc() : memref<4x64xf32>
    // becomes
    %offset = arith.constant 64 : index
    %x = memref.view %arena[%offset][] : memref<1088xi8> to memref<4x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
  let statistics = [Statistic<"numBuffers", "num-buffers", "Number of buffers placed in the arena">];
}

def OutlineTasksPass : Pass<"elutq-outline-tasks", "::mlir::ModuleOp"> {
  let summary = "Outline parallel loops and serial runs into task functions";
  let description = [{
    Requires: entries as `elutq-plan-memory` leaves them, `scf.forall` ops whose bounds are constant, upper ones also numbers that the entry computes from its arguments. Neighbouring `scf.forall` ops
    that touch no common memory become one function, each maximal run of serial ops another. Products by tiles of other numbers of rows or columns begin a new one: a function
    has AMX's registers in one shape.

    ```mlir
    func.func private @NAME_task_0(%begin: index, %end: index, %arena: memref<Axi8>, %weights: memref<Wxi8>, %cache: memref<Cxi8>,
                                   %args: memref<Nxi64>)
    ```

    A task runs the iterations `[begin, end)`, numbered through all its loops. It takes the offsets of its buffers from `%args`,
    constant data of the call, and count and position from the header of the arena (i64 words: count, position, address of the
    tokens, address of the result), which the entry writes. So the tasks of equal layers are equal, and
    one function stands for all of them. All are called by `elutq_parallel_for`, serial ones as one iteration:

    ```mlir
    %args = memref.get_global @elutq_entry_decode_args_3 : memref<4xi64>
    %task = func.constant @elutq_entry_decode_task_3 : (index, index, memref<...>, ...) -> ()
    %n = arith.constant 16 : index
    func.call @elutq_parallel_for(%task, %n, %arena, %weights, %cache, %args) : ...
    ```

    Behind the last op that writes to the cache, nothing but the result is computed: these calls are skipped where its address is
    zero, as in all chunks of a prompt but the last. What only starts the result moves there, such as a fill; an op that computes it
    earlier is an error. The module gets `elutq.tasks`, which describes for people what each call of each
    entry computes: its `hlq` and `lm` ops and the names of their nodes.

    Ensures: an entry stores the header and calls tasks, nothing else; no `scf.forall` is left in it, and no two tasks are
    equal. Next: `elutq-vectorize`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
  let statistics = [Statistic<"numTasks", "num-tasks", "Number of distinct tasks outlined">];
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

    Requires: memrefs. Ensures: no `linalg` op and no `memref.copy` remains. Next: `elutq-expand-math`.

    ```mlir
    linalg.exp ins(%x : memref<64xf32>) outs(%y : memref<64xf32>)
    // becomes
    scf.for %i = %c0 to %c64 step %c16 {
      %0 = vector.load %x[%i] : memref<64xf32>, vector<16xf32>
      %1 = math.exp %0 : vector<16xf32>
      vector.store %1, %y[%i] : memref<64xf32>, vector<16xf32>
    }
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
  let options = [Option<"vectors", "vectors", "bool", /*default=*/"true", "Use vectors; else scalar loops only (default true)">,
                 Option<"remarks", "remarks", "bool", /*default=*/"false", "Emit a remark for each op that stays scalar (default false)">];
  let statistics = [Statistic<"numVectorized", "num-vectorized", "Number of ops lowered to vectors">,
                    Statistic<"numScalar", "num-scalar", "Number of ops lowered to scalar loops">];
}

def ExpandMathPass : InterfacePass<"elutq-expand-math", "::mlir::FunctionOpInterface"> {
  let summary = "Replace math functions by polynomials where these are accurate";
  let description = [{
    `exp`, `tanh`, `erf` and `log` become MLIR's approximations in f32, on vectors and scalars alike. What has no accurate one
    (`sin` and `cos` of large arguments) is left for `convert-math-to-libm`.

    Requires: nothing. Ensures: none of these four remains in f32. Next: `convert-math-to-llvm`, `convert-math-to-libm`.

    ```mlir
    %y = math.exp %x : vector<16xf32>
    // becomes
    %n = math.floor %scaled : vector<16xf32>          // exp(x) = 2^n * exp(r), exp(r) by a polynomial
    %p = math.fma %r, %c5, %c4 : vector<16xf32>
    ...
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
  let statistics = [Statistic<"numExpanded", "num-expanded", "Number of math functions replaced">];
}

//===----------------------------------------------------------------------===//
// Machine code
//===----------------------------------------------------------------------===//

def HoistAllocasPass : InterfacePass<"elutq-hoist-allocas", "::mlir::FunctionOpInterface"> {
  let summary = "Move stack buffers out of loops";
  let description = [{
    Every `memref.alloca` of static size moves to the first block of its function, unless a scope of its own frees it
    (`memref.alloca_scope`, `scf.forall`, `scf.parallel`). Inside an `scf.for` it would, once lowered, take new memory in each
    iteration and keep all of it until the function returns.

    Requires: `scf.forall` has become `scf.for`. Ensures: a `memref.alloca` inside a loop has a dynamic size, which
    `elutq-verify-llvm` refuses. Next: `convert-scf-to-cf`.

    ```mlir
    scf.for %i = %c0 to %n step %c1 {
      %row = memref.alloca() : memref<64xf32>
      ...
    }
    // becomes
    %row = memref.alloca() : memref<64xf32>
    scf.for %i = %c0 to %n step %c1 {
      ...
    }
    ```
  }];
  let statistics = [Statistic<"numHoisted", "num-hoisted", "Number of stack buffers moved">];
}

def VerifyLLVMPass : Pass<"elutq-verify-llvm", "::mlir::ModuleOp"> {
  let summary = "Check that a module is ready for code generation";
  let description = [{
    Changes nothing. One error names what is wrong:

    - an op that is not of the `llvm` dialect, a cast between dialects included;
    - stack memory outside the first block of a function, of a size that is not constant, or of more than `max-stack` bytes in
      one function: it could overflow the stack of a thread;
    - a call of `malloc`, `aligned_alloc`, `free` or `memrefCopy`: all memory is planned;
    - a vector of more than `max-vector` bytes, which would be kept in memory, not in registers.

    Requires: nothing. Ensures: only ops of the `llvm` dialect remain in the module. Next: translation to LLVM IR.

    ```mlir
    llvm.func @f(%x: f32) -> f32 {
      %y = math.sin %x : f32   // error: 'math.sin' op remains after the lowering to the llvm dialect
      llvm.return %y : f32
    }
    ```
  }];
  let options = [
    Option<"maxStack", "max-stack", "int64_t", /*default=*/"262144", "Bytes of stack memory of a function (default 262144)">,
    Option<"maxVector", "max-vector", "int64_t", /*default=*/"512", "Bytes of a vector (default 512)">];
  let statistics = [Statistic<"numFunctions", "num-functions", "Number of functions checked">];
}

#endif // ELUTQ_TRANSFORMS_PASSES_TD
