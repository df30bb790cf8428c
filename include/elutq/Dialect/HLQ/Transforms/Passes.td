//===- Passes.td - Passes on the hlq dialect ---------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_TRANSFORMS_PASSES_TD
#define ELUTQ_DIALECT_HLQ_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def QuantizePass : Pass<"hlq-quantize", "::mlir::ModuleOp"> {
  let summary = "Quantize constant float weights to bit planes or 8-bit codes";
  let description = [{
    Rewrites products with a constant right-hand side to `hlq.linear`, and look-ups in a constant table to `hlq.gather`:

    - `linalg.matmul` of f32 activations, the constant as `[K, N]` or, by its indexing maps, as `[N, K]`; what it adds to is
      added afterwards unless it is a fill with zero;
    - `lm.gather`.

    The weights are fitted from their values alone. A constant that several ops read is quantized once: a tied embedding and
    head share one matrix, with the larger of `embedding-bits` and `head-bits`. The new constants are resources outside the heap,
    and the pages of the old ones are given back after each matrix, so that the memory needed is that of the largest one.

    The head is the product whose constant is an embedding, too, or whose node or weight name contains `lm_head`.

    Requires: tensors of static shape; matrices that are no constants are left alone. Ensures: what remains in float is named
    by `exclude`, has 0 bits by an option, or is no product or look-up of the forms above.

    ```mlir
    %w = arith.constant dense_resource<q_proj> : tensor<640x1024xf32>
    %y = linalg.matmul ins(%x, %w : tensor<1x640xf32>, tensor<640x1024xf32>) outs(%zero : tensor<1x1024xf32>) -> tensor<1x1024xf32>
    // becomes
    %p = arith.constant dense_resource<q_proj.planes> : tensor<4x1024x80xi8>
    %s = arith.constant dense_resource<q_proj.scales> : tensor<1024x5x4xf16>
    %z = arith.constant dense_resource<q_proj.zeros> : tensor<1024x5xf16>
    %e = tensor.empty() : tensor<1x1024xf32>
    %y = hlq.linear ins(%x, %p, %s, %z : …) outs(%e : tensor<1x1024xf32>) {group_size = 128 : i64} -> tensor<1x1024xf32>
    ```
    Next: `hlq-select-kernel`.
  }];
  let dependentDialects = ["::elutq::hlq::HLQDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"bits", "bits", "int64_t", /*default=*/"4", "Bits of a linear layer, 1 to 4 or 8 (default 4)">,
    Option<"groupSize", "group-size", "int64_t", /*default=*/"128",
           "Columns per group: 16, 32, 64, 128, 256, or 0 for one group per row (default 128)">,
    Option<"embeddingBits", "embedding-bits", "int64_t", /*default=*/"4",
           "Bits of an embedding, 1 to 4 or 8, or 0 to leave it in float (default 4)">,
    Option<"headBits", "head-bits", "int64_t", /*default=*/"4",
           "Bits of the head, 1 to 4 or 8, or 0 to leave it in float (default 4)">,
    Option<"params", "params", "std::string", /*default=*/"\"hlq\"",
           "What groups of planes store: hlq, a scale for each plane and a zero, or compact, one scale, 8-bit ratios and an 8-bit zero (default hlq)">,
    Option<"exclude", "exclude", "std::string", /*default=*/"",
           "Leave in float what has a node or weight name that this regular expression matches">,
    Option<"threads", "threads", "unsigned", /*default=*/"0", "Threads; 0 for one per processor (default 0)">,
    Option<"progress", "progress", "bool", /*default=*/"false", "Emit a remark for each matrix, and on the speed of the fit (default false)">,
  ];
  let statistics = [
    Statistic<"numLinears", "num-linears", "Number of products rewritten to hlq.linear">,
    Statistic<"numGathers", "num-gathers", "Number of look-ups rewritten to hlq.gather">,
    Statistic<"numMatrices", "num-matrices", "Number of matrices quantized">,
    Statistic<"numExcluded", "num-excluded", "Number of ops left in float by name or by options">,
  ];
}

def SelectKernelPass : Pass<"hlq-select-kernel"> {
  let summary = "Choose the kernel and the memory layout of each product";
  let description = [{
    Writes the attributes `hlq.kernel` and `hlq.layout` on `hlq.linear`, and `hlq.layout` on `hlq.gather`, from shapes and
    the instruction set alone (see `elutq/Analysis/KernelCost.h`); `hlq-lower-linear` obeys them. An op that has them already keeps them, e.g. those that
    `elutq-compile --tune` measured.
    The layout does not depend on the number of rows of activations, so that all entry points share one copy of the weights.

    Requires: weights of static shape. Ensures: every `hlq.linear` and `hlq.gather` has its attributes.

    ```mlir
    %y = hlq.linear … {group_size = 128 : i64} -> …
    // becomes
    %y = hlq.linear … {group_size = 128 : i64,
      hlq.kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4>,
      hlq.layout = #hlq.layout<lane = dword, rows = 16, bits = 4, group_size = 128, params = hlq, param_type = f16>} -> …
    ```
    Next: `hlq-lower-linear`.
  }];
  let options = [
    Option<"isa", "isa", "std::string", /*default=*/"\"generic\"",
           "avx512amx, avx512vbmi, avx512bw, avx2, neon, neon_dotprod or generic (default generic)">,
    Option<"algorithm", "algorithm", "std::string", /*default=*/"\"auto\"",
           "Algorithm of products with planes: auto, lut or dot (default auto, the faster one for each number of rows)">,
    Option<"wideTables", "wide-tables", "std::string", /*default=*/"",
           "Tables or rounded activations of 16 bits for products that have a node name that this regular expression matches (default none)">,
  ];
  let statistics = [Statistic<"numKernels", "num-kernels", "Number of products that got a kernel">];
}

def LowerLinearPass : Pass<"hlq-lower-linear"> {
  let summary = "Lower hlq.linear and hlq.gather to ops on packed weights";
  let description = [{
    Rewrites `hlq.linear` to `hlq.build_lut`, `hlq.pack` and `hlq.lut_matmul`, or, where its kernel's algorithm is `dot`, to
    `hlq.quantize_rows`, `hlq.pack` and `hlq.code_matmul`, followed by `tensor.extract_slice` where rows or
    columns are padded, and `hlq.gather` to `hlq.pack` and `hlq.packed_gather`.

    Requires: tensors of static shape, the attributes of `hlq-select-kernel`.
    Ensures: no `hlq.linear` and no `hlq.gather` remains; equal tables and equal packed weights are equal ops, which the
    pass merges: q, k and v read one table, a tied embedding and head one matrix.
    Next: `hlq-pack-weights`.

    ```mlir
    %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
           outs(%init : tensor<1x16xf32>) {group_size = 32 : i64, hlq.kernel = …, hlq.layout = …} -> tensor<1x16xf32>
    // becomes
    %lut:3 = hlq.build_lut ins(%x : tensor<1x32xf32>) outs(…) {lane = 1 : i32, table_group = 32 : i64} -> …
    %w = hlq.pack %p, %s, %z {layout = …} : (tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>) -> tensor<1x448xi8>
    %y = hlq.lut_matmul ins(%lut#0, %lut#1, %lut#2, %w : …) outs(%init : tensor<1x16xf32>) {layout = …, …} -> tensor<1x16xf32>
    ```
  }];
  let dependentDialects = ["::elutq::hlq::HLQDialect", "::mlir::tensor::TensorDialect"];
  let statistics = [
    Statistic<"numLinears", "num-linears", "Number of hlq.linear lowered">,
    Statistic<"numGathers", "num-gathers", "Number of hlq.gather lowered">,
    Statistic<"numShared", "num-shared", "Number of tables, rounded activations and packed matrices merged with an equal one">,
  ];
}

def PackWeightsPass : Pass<"hlq-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Evaluate hlq.pack of constants";
  let description = [{
    Replaces each `hlq.pack` of constants by a constant, a resource outside the heap; one that several functions need is packed
    once. Pages of planes are given back after each matrix.

    Requires: `hlq-lower-linear` has run. Ensures: an `hlq.pack` that remains has an operand that is not constant.
    Next: tiling and bufferization.

    ```mlir
    %w = hlq.pack %planes, %scales, %zeros {layout = …} : (tensor<1x2x4xi8>, tensor<2x1x1xf16>, tensor<2x1xf16>) -> tensor<1x128xi8>
    // becomes
    %w = arith.constant dense_resource<q_proj.packed> : tensor<1x128xi8>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
  let options = [
    Option<"threads", "threads", "unsigned", /*default=*/"0", "Threads; 0 for one per processor (default 0)">,
  ];
  let statistics = [
    Statistic<"numPacked", "num-packed", "Number of matrices packed">,
    Statistic<"packedBytes", "packed-bytes", "Bytes of the packed matrices">,
  ];
}

#endif // ELUTQ_DIALECT_HLQ_TRANSFORMS_PASSES_TD
