//===- LMOps.td - Operations of the lm dialect -------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_LM_IR_LMOPS_TD
#define ELUTQ_DIALECT_LM_IR_LMOPS_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"

def LM_Dialect : Dialect {
  let name = "lm";
  let cppNamespace = "::elutq::lm";
  let summary = "The operations of a language model that need a tiling of their own";
  let description = [{
    ONNX spells attention, its mask and its cache in many ways; here each has one form. Everything else of a model is
    `linalg`, `math` and `hlq`.

    A cache is a tensor `[heads, capacity, head_size]`; the token at absolute position `p` lives in slot `p mod capacity`. With a sliding
    window, `capacity` may be smaller than the context (a ring).
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

class LM_DestinationOp<string mnemonic, list<Trait> traits = []> : Op<LM_Dialect, mnemonic, !listconcat(traits, [
    DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>])> {
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let hasVerifier = 1;
  code destinationDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }
  }];
  let extraClassDeclaration = destinationDeclaration;
}

def LM_GatherOp : LM_DestinationOp<"gather"> {
  let summary = "Take rows of a float matrix by index";
  let description = [{
    `init[m, k] = table[indices[m], k]`: a token embedding. An index outside the table is undefined.

    Constraints: (C1) `indices` is `[M]` of i64; (C2) `table` is `[V, K]` and `init` `[M, K]`, of one float type.

    ```mlir
    %e = lm.gather ins(%ids, %table : tensor<4xi64>, tensor<100x64xf32>) outs(%init : tensor<4x64xf32>) -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$indices, AnyShaped:$table, AnyShaped:$init);
  let assemblyFormat = [{
    `ins` `(` $indices `,` $table `:` type($indices) `,` type($table) `)` `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
}

def LM_CacheAppendOp : LM_DestinationOp<"cache_append"> {
  let summary = "Write the keys or values of new tokens into a cache";
  let description = [{
    `init[h, (position + m) mod capacity, d] = convert(update[m, h, d])` for `m < count`; rows from `count` on are padding and not
    written; the rest of the cache stays. Rounds to nearest even where the cache is narrower.

    | operand    | shape                             | type       |
    |------------|-----------------------------------|------------|
    | `update`   | `[M, heads, head_size]`           | f32        |
    | `position` | absolute position of row 0        | index      |
    | `count`    | rows to write, at most `M`        | index      |
    | `init`     | `[heads, capacity, head_size]`    | f16 or f32 |

    Constraints: (C1) shapes agree; (C2) `M <= capacity`.

    ```mlir
    %c = lm.cache_append ins(%k, %position, %count : tensor<8x1x64xf32>) outs(%cache : tensor<1x512x64xf16>) -> tensor<1x512x64xf16>
    ```
  }];
  let arguments = (ins AnyShaped:$update, Index:$position, Index:$count, AnyShaped:$init);
  let assemblyFormat = [{
    `ins` `(` $update `,` $position `,` $count `:` type($update) `)` `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
}

def LM_AttentionOp : LM_DestinationOp<"attention", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "Causal attention of new tokens over a key and value cache";
  let description = [{
    Query row `m` stands at absolute position `t = position + m` and sees the positions `p` with `p <= t` and, where `window > 0`,
    `p > t - window`; position `p` is slot `p mod capacity` of the caches. For query head `h`, with `kvh = h / (H / KVH)`:

    ```
    a[p]          = scale * dot(query[m, h, :], key[kvh, p mod capacity, :])
    a[p]          = softcap * tanh(a[p] / softcap)           where softcap > 0
    init[m, h, :] = sum over p of softmax(a)[p] * value[kvh, p mod capacity, :]
    ```

    The keys are cut at absolute positions that are multiples of `block` and merged in ascending order by an online softmax, so
    that a row's result does not depend on `M`, on the chunk or on the number of threads. Keys and values are read as stored, after rounding.

    | operand        | shape                       | type       |
    |----------------|-----------------------------|------------|
    | `query`        | `[M, H, D]`                 | f32        |
    | `key`, `value` | `[KVH, capacity, D]`        | f16 or f32 |
    | `position`     | absolute position of row 0  | index      |
    | `init`         | `[M, H, D]`                 | f32        |

    Constraints: (C1) shapes agree, `H` is a multiple of `KVH`; (C2) `capacity` is a multiple of `block`; (C3) with a window,
    `capacity >= window + M - 1`; (C4) `scale > 0`, `window >= 0`, `softcap >= 0`.

    ```mlir
    %o = lm.attention ins(%q, %k, %v, %position : tensor<8x4x64xf32>, tensor<1x544x64xf16>, tensor<1x544x64xf16>)
           outs(%init : tensor<8x4x64xf32>) {scale = 1.250000e-01 : f32, window = 512 : i64} -> tensor<8x4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$query, AnyShaped:$key, AnyShaped:$value, Index:$position, AnyShaped:$init,
                       F32Attr:$scale, DefaultValuedAttr<I64Attr, "0">:$window, DefaultValuedAttr<F32Attr, "0.0f">:$softcap,
                       DefaultValuedAttr<I64Attr, "16">:$block);
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value `,` $position `:` type($query) `,` type($key) `,` type($value) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
}

#endif // ELUTQ_DIALECT_LM_IR_LMOPS_TD
