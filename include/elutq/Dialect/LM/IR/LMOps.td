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

    The token at absolute position `p` lives in slot `p mod capacity` of a cache. With a sliding window, `capacity` may be smaller than
    the context (a ring). Values are stored as `[heads, capacity, head_size]`, keys as `[heads, capacity / 64, head_size, 64]`: the same
    element of 64 keys side by side, so that a product with a query needs no sum across lanes. A cache of i8 has scales `[heads, capacity]`
    in f32 beside it: the number stored is `scale * i8`.
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
    Writes row `update[m, h, :]` into slot `s = (position + m) mod capacity` for `m < count`; rows from `count` on are padding and not
    written; the rest of the cache stays.

    ```
    values    cache[h, s, d]               = convert(update[m, h, d])
    keys      cache[h, s / 64, d, s mod 64] = convert(update[m, h, d])
    ```

    Rounds to nearest even where the cache is narrower. A cache of i8 gets `scales[h, s] = max over d of |update[m, h, d]| / 127` and
    the numbers `round_half_even(update * (1 / scale))`; they are 0 where the scale is below 2^-126.

    | operand    | shape                                                                      | type          |
    |------------|----------------------------------------------------------------------------|---------------|
    | `update`   | `[M, heads, head_size]`                                                    | f32           |
    | `position` | absolute position of row 0                                                 | index         |
    | `count`    | rows to write, at most `M`                                                 | index         |
    | `cache`    | `[heads, capacity, head_size]` or `[heads, capacity / 64, head_size, 64]`  | f16, f32, i8  |
    | `scales`   | `[heads, capacity]`, with i8 only                                          | f32           |

    Constraints: (C1) shapes agree; (C2) `M <= capacity`; (C3) scales exactly where the cache is of i8.

    ```mlir
    %c = lm.cache_append ins(%k, %position, %count : tensor<8x1x64xf32>) outs(%cache : tensor<1x512x64xf16>) -> tensor<1x512x64xf16>
    ```
  }];
  let arguments = (ins AnyShaped:$update, Index:$position, Index:$count, Variadic<AnyShaped>:$inits);
  let assemblyFormat = [{
    `ins` `(` $update `,` $position `,` $count `:` type($update) `)` `outs` `(` $inits `:` type($inits) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitsMutable(); }
    ::mlir::Value getCache() { return getInits()[0]; }
    /// The scales of a cache of i8, or null.
    ::mlir::Value getScales() { return getInits().size() > 1 ? getInits()[1] : ::mlir::Value(); }
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
    a[p]          = dot(scale * query[m, h, :], key[kvh, p, :])
    a[p]          = softcap * tanh(a[p] / softcap)           where softcap > 0
    init[m, h, :] = sum over p of softmax(a)[p] * value[kvh, p, :]
    ```

    The positions are cut into parts `[b * part, (b + 1) * part)`. Each part that a row sees gives its largest score, the sum of the
    exponentials and the weighted sum of the values; the parts are merged in ascending order:

    ```
    a[p]  = fold over d of fma(scale * query[d], key[p, d], a), from 0       then  * key_scales[p], softcap
    m     = max over the visible p of a[p]                                   at least the least finite float
    w[p]  = exp(a[p] - m)
    l     = sum over p of w[p]       lane i of 16 adds p = i (mod 16), ascending; then lanes i and i + 8, i + 4, i + 2, i + 1
    o[d]  = fold over the visible p, ascending, of fma(w[p] * value_scales[p], value[p, d], o), from 0

    M' = max(M, m),  A = exp(M - M'),  C = exp(m - M')       from M = the least finite float, L = 0, O = 0
    L' = fma(l, C, L * A),  O'[d] = fma(o[d], C, O[d] * A)
    init[d] = fma(O[d], 1 / L, 0)
    ```

    So a row's result depends neither on `M`, on the chunk, nor on the number of threads, and it is the same whether one loop goes through
    all parts or each part is computed for itself (`lm.attention_parts`, `lm.merge_parts`). Keys and values are read as stored, after rounding.

    | operand    | shape                                 | type                 |
    |------------|---------------------------------------|----------------------|
    | `query`    | `[M, H, D]`                           | f32                  |
    | `key`      | `[KVH, capacity / 64, D, 64]`         | f16, f32 or i8       |
    | `value`    | `[KVH, capacity, D]`                  | as `key`             |
    | `position` | absolute position of row 0            | index                |
    | `scales`   | of `key` and of `value`, `[KVH, capacity]`, with i8 only | f32 |
    | `init`     | `[M, H, D]`                           | f32                  |

    Constraints: (C1) shapes agree, `H` is a multiple of `KVH`; (C2) `capacity` and `part` are multiples of 64; (C3) with a window,
    `capacity >= window + M - 1`; (C4) `scale > 0`, `window >= 0`, `softcap >= 0`; (C5) two scales exactly where the caches are of i8.

    ```mlir
    %o = lm.attention ins(%q, %k, %v, %position : tensor<8x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>)
           outs(%init : tensor<8x4x64xf32>) {scale = 1.250000e-01 : f32, window = 512 : i64} -> tensor<8x4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$query, AnyShaped:$key, AnyShaped:$value, Index:$position, Variadic<AnyShaped>:$scales, AnyShaped:$init,
                       F32Attr:$scale, DefaultValuedAttr<I64Attr, "0">:$window, DefaultValuedAttr<F32Attr, "0.0f">:$softcap,
                       DefaultValuedAttr<I64Attr, "256">:$part);
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value `,` $position `:` type($query) `,` type($key) `,` type($value) `)`
    (`scales` `(` $scales^ `:` type($scales) `)`)? `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
}

def LM_AttentionPartsOp : LM_DestinationOp<"attention_parts", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "The parts of the attention of one token, to be merged";
  let description = [{
    Computes what `lm.attention` with `M = 1` computes for each part of the positions, and leaves the merging to `lm.merge_parts`. With
    `first` the first part that the row sees and `n` the number of parts, slot `s` computes the parts `first + i` for `begin(s) <= i < begin(s + 1)`,
    neighbours, so that the cache is read from one end to the other; any run of slots has its share of the parts, however few they are. What is
    not visible costs nothing and is not written.

    ```
    begin(s) = floor(s * n / slots)
    sums[h, s, i - begin(s), :] = o
    stats[h, s, i - begin(s), :] = (m, l)
    ```

    | operand    | shape                         | type       |
    |------------|-------------------------------|------------|
    | `query`, `key`, `value`, `position`, `scales` | as in `lm.attention`, `M = 1` |  |
    | `slot`     | number of slot 0 of the inits | index      |
    | `sums`     | `[H, S, J, D]`, `S <= slots`  | f32        |
    | `stats`    | `[H, S, J, 2]`                | f32        |

    Constraints: those of `lm.attention`; (C6) `slots` is a power of two; (C7) shapes of the inits as above; (C8) `J * slots` parts are as many
    as a row can see.

    ```mlir
    %p:2 = lm.attention_parts ins(%q, %k, %v, %position, %slot : tensor<1x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>)
             outs(%s0, %t0 : tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>) {scale = 1.250000e-01 : f32, window = 512 : i64, slots = 2 : i64}
             -> tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$query, AnyShaped:$key, AnyShaped:$value, Index:$position, Index:$slot, Variadic<AnyShaped>:$scales,
                       AnyShaped:$sums, AnyShaped:$stats, F32Attr:$scale, DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<F32Attr, "0.0f">:$softcap, DefaultValuedAttr<I64Attr, "256">:$part, I64Attr:$slots);
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value `,` $position `,` $slot `:` type($query) `,` type($key) `,` type($value) `)`
    (`scales` `(` $scales^ `:` type($scales) `)`)? `outs` `(` $sums `,` $stats `:` type($sums) `,` type($stats) `)` attr-dict
    (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(*this, getNumOperands() - 2, 2);
    }
  }];
}

def LM_MergePartsOp : LM_DestinationOp<"merge_parts", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "Merge the parts of the attention of one token";
  let description = [{
    Merges what `lm.attention_parts` wrote for the token at `position`, in the order and with the formula of `lm.attention`. `slots` is dim 1
    of `sums`.

    | operand    | shape                    | type  |
    |------------|--------------------------|-------|
    | `sums`     | `[H, slots, J, D]`       | f32   |
    | `stats`    | `[H, slots, J, 2]`       | f32   |
    | `position` | the token's position     | index |
    | `init`     | `[1, H, D]`              | f32   |

    Constraints: (C1) shapes agree; (C2) `slots` is a power of two; (C3) `part` is a multiple of 64; (C4) `window >= 0`.

    ```mlir
    %o = lm.merge_parts ins(%sums, %stats, %position : tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>)
           outs(%init : tensor<1x4x64xf32>) {window = 512 : i64} -> tensor<1x4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$sums, AnyShaped:$stats, Index:$position, AnyShaped:$init, DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<I64Attr, "256">:$part);
  let assemblyFormat = [{
    `ins` `(` $sums `,` $stats `,` $position `:` type($sums) `,` type($stats) `)` `outs` `(` $init `:` type($init) `)` attr-dict
    (`->` type($results)^)?
  }];
}

#endif // ELUTQ_DIALECT_LM_IR_LMOPS_TD
