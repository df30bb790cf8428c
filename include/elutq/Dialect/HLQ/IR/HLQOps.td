//===- HLQOps.td - Operations of the hlq dialect -----------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_IR_HLQOPS_TD
#define ELUTQ_DIALECT_HLQ_IR_HLQOPS_TD

include "elutq/Dialect/HLQ/IR/HLQAttrs.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"

class HLQ_Op<string mnemonic, list<Trait> traits = []> : Op<HLQ_Dialect, mnemonic, traits>;

/// A destination-style operation on tensors or memrefs: reads `ins`, overwrites `outs`.
class HLQ_DestinationOp<string mnemonic, list<Trait> traits = []> : HLQ_Op<mnemonic, !listconcat(traits, [
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

/// What ops on logical weights know of them.
class HLQ_MatrixDeclaration {
  code declaration = [{
    /// 1 to 4 with planes, 8 with codes.
    int64_t getBits() {
      auto type = ::llvm::cast<::mlir::ShapedType>(getPlanes().getType());
      return type.getRank() == 2 ? 8 : type.getDimSize(0);
    }
    /// Rows of the matrix.
    int64_t getNumRows() {
      auto type = ::llvm::cast<::mlir::ShapedType>(getPlanes().getType());
      return type.getDimSize(type.getRank() - 2);
    }
    int64_t getNumGroups() { return ::llvm::cast<::mlir::ShapedType>(getScales().getType()).getDimSize(1); }
  }];
}

//===----------------------------------------------------------------------===//
// Logical planes
//===----------------------------------------------------------------------===//

def HLQ_LinearOp : HLQ_DestinationOp<"linear"> {
  let summary = "Multiply activations by an HLQ matrix, transposed";
  let description = [{
    `init[m, n] = sum over k of input[m, k] * w[n, k]` with `w` in HLQ form (see the dialect). Overwrites `init`.

    | operand  | shape                  | type        | meaning                                                      |
    |----------|------------------------|-------------|--------------------------------------------------------------|
    | `input`  | `[M, K]`               | f32         | activations                                                  |
    | `planes` | `[bits, N, G*g/8]`     | i8          | bit `t` of byte `i` is column `8*i + t`; columns from `K` on are 0 |
    |          | or `[N, G*g]`          | i8          | 8 bits: the unsigned code `q` of each column, `w = s * q + z`; columns from `K` on are 0 |
    | `scales` | `[N, G, bits or 1]`    | f16 or f32  | one scale per plane, or one (`s_j = 2^j * s`)                |
    | `zeros`  | `[N, G]` (optional)    | as `scales` | absent: `z = -zero_point * s`, with one scale only           |
    |          | or `[N, G, bits + 1]`  | i8          | compact parameters, without a sign: ratios `r_j`, then the code `c` of a weight without bits; `s_j = r_j * s`, `z = (c - 128) * s` |
    | `init`   | `[M, N]`               | f32         | result                                                       |

    with `g = group_size` and `G = ceil(K / g)`.

    Constraints:
    - (C1) `bits` (dim 0 of `planes` of rank 3) is 1 to 4; `planes` of rank 2 are codes of 8 bits.
    - (C2) `group_size` is 16, 32, 64, 128, 256, or at least `K` and a multiple of 32 (one group per row).
    - (C3) `planes` has `G * g / 8` bytes per row and plane, or `G * g` per row of codes.
    - (C4) `scales` is `[N, G, bits]` or `[N, G, 1]`; with codes `[N, G, 1]`.
    - (C5) `zeros` is `[N, G]` with the element type of `scales`; absent only with one scale per group and `zero_point`. Or it is `[N, G, bits + 1]`
      of i8, with planes and one scale per group; `c + r_0 + r_1 + ...` is 255 at most, or results are undefined.
    - (C6) `init` is `[M, N]`; tensor form has one result of its type, memref form none.

    ```mlir
    %y = hlq.linear ins(%x, %planes, %scales, %zeros : tensor<4x128xf32>, tensor<2x64x16xi8>, tensor<64x4x2xf16>, tensor<64x4xf16>)
                    outs(%init : tensor<4x64xf32>) {group_size = 32 : i64} -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$planes, AnyShaped:$scales, Optional<AnyShaped>:$zeros,
                       AnyShaped:$init,
                       I64Attr:$group_size, OptionalAttr<I64Attr>:$zero_point);
  let assemblyFormat = [{
    `ins` `(` $input `,` $planes `,` $scales (`,` $zeros^)? `:` type($input) `,` type($planes) `,` type($scales) (`,` type($zeros)^)? `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = destinationDeclaration # HLQ_MatrixDeclaration<>.declaration;
}

def HLQ_GatherOp : HLQ_DestinationOp<"gather"> {
  let summary = "Take rows of an HLQ matrix by index, as floats";
  let description = [{
    `init[m, k] = w[indices[m], k]` with `w` in HLQ form, operands as in `hlq.linear`. An index outside `[0, N)` is undefined.

    Constraints: (C1) to (C5) of `hlq.linear`; (C6) `indices` is `[M]` of i64 and `init` is `[M, K]` of f32.

    ```mlir
    %e = hlq.gather ins(%ids, %planes, %scales, %zeros : tensor<4xi64>, tensor<4x64x16xi8>, tensor<64x4x4xf16>, tensor<64x4xf16>)
                    outs(%init : tensor<4x128xf32>) {group_size = 32 : i64} -> tensor<4x128xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$indices, AnyShaped:$planes, AnyShaped:$scales, Optional<AnyShaped>:$zeros,
                       AnyShaped:$init,
                       I64Attr:$group_size, OptionalAttr<I64Attr>:$zero_point);
  let assemblyFormat = [{
    `ins` `(` $indices `,` $planes `,` $scales (`,` $zeros^)? `:` type($indices) `,` type($planes) `,` type($scales) (`,` type($zeros)^)? `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = destinationDeclaration # HLQ_MatrixDeclaration<>.declaration;
}

def HLQ_PackOp : HLQ_Op<"pack", [Pure]> {
  let summary = "Pack logical planes and parameters into a memory layout";
  let description = [{
    `result[nb, :]` is row block `nb` of the matrix in `layout` (see `#hlq.layout`), `NB = ceil(N / rows)`.
    `hlq-pack-weights` evaluates it where the operands are constants.

    Constraints: (C1) operands as in `hlq.linear` (C1) to (C5), in agreement with `layout`; (C2) the result is
    `[NB, layout.getRowBlockBytes(G)]` of i8.

    ```mlir
    %p = hlq.pack %planes, %scales, %zeros {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>}
       : (tensor<2x64x16xi8>, tensor<64x4x2xf16>, tensor<64x4xf16>) -> tensor<4x896xi8>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$planes, AnyRankedTensor:$scales, Optional<AnyRankedTensor>:$zeros,
                       HLQ_LayoutAttr:$layout);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$planes `,` $scales (`,` $zeros^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let extraClassDeclaration = HLQ_MatrixDeclaration<>.declaration;
}

//===----------------------------------------------------------------------===//
// Packed weights
//===----------------------------------------------------------------------===//

def HLQ_BuildLutOp : HLQ_DestinationOp<"build_lut", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "Tabulate the 16 sums of each four activations, in 8 or 16 bits";
  let description = [{
    For the four activations `x[0..3] = input[m, 4c .. 4c+3]` (columns from `K` on count as 0) and `i` in `[0, 16)`:

    ```
    t(m, c, i)    = sum over q < 4 of (bit q of i ? +x[q] : -x[q]) / 2
    scale(m, u)   = max over the columns of table group u of |t| / limit      (table group: `table_group` columns)
    e(m, c, i)    = round_half_even(t(m, c, i) / scale)
    sum(m, u)     = sum over the columns of table group u of x
    ```

    An entry of 8 bits (`limit = 127`) is the byte `e`; one of 16 bits (`limit = 127 * 256`) the bytes `high` and `low` with
    `e = 256 * high + low` and `-128 <= low < 128`. For byte lanes 128 is added to each byte, which makes it unsigned.

    Centring (`b - 1/2` in place of `b`) halves the range; the half is given back by `sum`. |error| of a look-up is at most `scale / 2`.
    A group of zeros has scale 0 and zero (128 for byte lanes) entries, and so has one whose scale is below 2^-126. The
    division is a multiplication with `1 / scale`; `t` starts as `x[0] * (+-1/2)` and goes on with `fma(x[q], +-1/2, t)`, `q`
    ascending. Lane `l` of 16 adds columns `16*c + l`, `c` ascending from 0; `sum` adds lanes `l` and `l + 8`, then `l + 4`,
    `l + 2`, `l + 1`.

    | operand  | shape                      | type | meaning                                                             |
    |----------|----------------------------|------|---------------------------------------------------------------------|
    | `input`  | `[M, K]`                   | f32  | activations                                                         |
    | `tables` | `[MB, C, m_tile, 64 or 128]` | i8 | row `m = mb*m_tile + i`; chunk `c` of 16 columns = 4 tables of 16 bytes; with 16 bits the four tables of high bytes, then those of low ones |
    | `scales` | `[MB, U, m_tile]`          | f32  | scale of each table group                                           |
    | `sums`   | `[MB, U, m_tile]`          | f32  | sum of each table group                                             |

    with `MB = ceil(M / m_tile)`, `U` table groups of `table_group` columns, `C = U * table_group / 16`. Rows from `M` on are those
    of zero activations.

    Constraints: (C1) `table_group` is a multiple of 16; (C2) shapes as above; (C3) `U * table_group >= K`.

    ```mlir
    %t:3 = hlq.build_lut ins(%x : tensor<4x128xf32>)
             outs(%t0, %s0, %u0 : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>) {table_group = 32 : i64, lane = 1 : i32}
             -> tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$input, Variadic<AnyShaped>:$inits, I64Attr:$table_group, HLQ_Lane:$lane);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `outs` `(` $inits `:` type($inits) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitsMutable(); }
  }];
}

def HLQ_LutMatmulOp : HLQ_DestinationOp<"lut_matmul", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "Multiply tabulated activations by a packed HLQ matrix, transposed";
  let description = [{
    With `acc(m, n, j, u)` the exact integer sum of the table entries `e` that plane `j` of row `n` selects in table group `u`, and `G` weight groups of one or more whole table groups each:

    ```
    p(j, G)    = fold over u in G of fma(scale(m, u), float(acc(m, n, j, u)), p),   p starts at 0
    params hlq:      y = fma(s[n, G, j], p(j, G), y) for j = 0 .. bits-1 in turn
    params uniform, symmetric: acc(m, n, u) = sum over j of 2^j acc(m, n, j, u), one p and one fma per group
    params compact:            acc(m, n, u) = sum over j of r_j acc(m, n, j, u), likewise
    y          = fma(zc[n, G], sum over u in G of sum(m, u), y),   u ascending from the first one
    init[m, n] = y,  groups in ascending order, y starts at 0
    zc         = z + (sum over j of s_j) / 2, computed as
                   hlq: fma(s_0 + s_1 + ..., 1/2, z)    uniform: fma(s, h, z)    symmetric: s * (h - zero_point),   h = (2^bits - 1) / 2
                   compact: S * (c - 128 + (r_0 + r_1 + ...) / 2), the bracket exact
    ```

    This order is the contract: every lowering gives the same bits, whatever the tiles, the chunk or the number of threads.

    | operand  | shape                 | type | meaning                                     |
    |----------|-----------------------|------|---------------------------------------------|
    | `tables`, `scales`, `sums` | see `hlq.build_lut` |      | tabulated activations         |
    | `packed` | `[NB, block bytes]`   | i8   | row blocks in `layout`                      |
    | `init`   | `[MB*m_tile, NB*rows]` | f32 | result, with padded rows and columns        |

    Constraints: (C1) `packed` has `layout.getRowBlockBytes(G)` bytes per block, of planes (1 to 4 bits); (C2) table groups divide weight groups:
    `group_size % table_group == 0`, `U = G * group_size / table_group`, and `G` is even with dword lanes and groups of 16; (C3) shapes as above, `8 * kernel.table_bits` bytes of tables per chunk; (C4) `table_group <= 1024`, so that 16-bit sums of bytes hold; (C5) the algorithm of `kernel` is `lut`.

    ```mlir
    %y = hlq.lut_matmul ins(%t, %s, %u, %p : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<4x896xi8>)
           outs(%init : tensor<4x64xf32>)
           {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>,
            kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 4>, table_group = 32 : i64} -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$tables, AnyShaped:$scales, AnyShaped:$sums, AnyShaped:$packed,
                       AnyShaped:$init,
                       HLQ_LayoutAttr:$layout, HLQ_KernelAttr:$kernel, I64Attr:$table_group);
  let assemblyFormat = [{
    `ins` `(` $tables `,` $scales `,` $sums `,` $packed `:` type($tables) `,` type($scales) `,` type($sums) `,` type($packed) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
}

def HLQ_QuantizeRowsOp : HLQ_DestinationOp<"quantize_rows", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "Round activations to integers of 8 or 16 bits";
  let description = [{
    For the activations `x` of row `m` (columns from `K` on count as 0):

    ```
    scale(m, u)   = max over the columns of table group u of |x| / limit      (table group: `table_group` columns)
    e(m, k)       = round_half_even(x / scale)
    sum(m, u)     = sum over the columns of table group u of x
    offset(m, u)  = -centre * sum over the columns of table group u of e
    ```

    An entry of 8 bits (`limit = 127`, `centre = 128`) is the byte `e`; one of 16 bits (`limit = 127 * 256`) the signed bytes `high` and
    `low` with `e = 256 * high + low`. With `words` it is a word of 16 bits, low byte first, with `limit = 8191` and `centre = 2048`. |error| of an entry is at most `scale / 2`. A group of zeros has scale 0 and zero entries, and so has one whose scale is
    below 2^-126. The division is a multiplication with `1 / scale`; `sum` adds in the order of `hlq.build_lut`. `offset` turns
    a sum over codes `q` into one over `q - centre`, whose rounding errors are a fraction.

    The entries of a chunk are in the order of its columns, or `transposed`: `w` neighbours (4, or 2 `words`) fill 32 bits, and the `d`-th
    32 bits are columns `d`, `d + 16/w`, `d + 2*16/w` and so on. That is the order in which packed planes with `dword` lanes give their codes.

    With `by_row`, the entries of a row in a table group lie together, chunk after chunk, as tiles take them; of `words` (in the order of single bytes) first all
    high bytes, then all low ones.

    | operand   | shape                      | type | meaning                                                             |
    |-----------|----------------------------|------|---------------------------------------------------------------------|
    | `input`   | `[M, K]`                   | f32  | activations                                                         |
    | `entries` | `[MB, C, m_tile, 16 or 32]` | i8  | row `m = mb*m_tile + i`; chunk `c` of 16 columns; with 16 bits the 16 high bytes, then the low ones, or the words |
    |           | `[MB, U, m_tile, table_group * (1 or 2)]` | i8 | the same with `by_row` |
    | `scales`  | `[MB, U, m_tile]`          | f32  | scale of each table group                                           |
    | `sums`    | `[MB, U, m_tile]`          | f32  | sum of each table group                                             |
    | `offsets` | `[MB, U, m_tile]`          | i32  | offset of each table group                                          |

    with `MB = ceil(M / m_tile)`, `U` table groups of `table_group` columns, `C = U * table_group / 16`. Rows from `M` on are those
    of zero activations.

    Constraints: (C1) `table_group` is a multiple of 16; (C2) shapes as above; (C3) `U * table_group >= K`; (C4) `words` are 16 bits wide; entries `by_row` of 16 bits are
    `words`.

    ```mlir
    %e:4 = hlq.quantize_rows ins(%x : tensor<4x128xf32>)
             outs(%e0, %s0, %u0, %o0 : tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>) {table_group = 32 : i64}
             -> tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>
    ```
  }];
  let arguments = (ins AnyShaped:$input, Variadic<AnyShaped>:$inits, I64Attr:$table_group, UnitAttr:$words,
                       UnitAttr:$transposed, UnitAttr:$by_row);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `outs` `(` $inits `:` type($inits) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitsMutable(); }
  }];
}

def HLQ_CodeMatmulOp : HLQ_DestinationOp<"code_matmul", [
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
                                                "getResultTilePosition"]>]> {
  let summary = "Multiply rounded activations by the codes of a packed matrix, transposed";
  let description = [{
    With `acc(m, n, u) = sum over the columns k of table group u of (q[n, k] - centre) * e(m, k)`, an exact integer, and `G`
    weight groups of one or more whole table groups each:

    ```
    p(G)       = fold over u in G of fma(scale(m, u), float(acc(m, n, u)), p),   p starts at 0
    y          = fma(d[n, G], p(G), y)
    y          = fma(zc[n, G], sum over u in G of sum(m, u), y),   u ascending from the first one; not with params compact
    init[m, n] = y,  groups in ascending order, y starts at 0
    zc         = symmetric: d * (middle - zero_point)    otherwise: fma(d, middle, z)
    ```

    A matrix of 8 bits stores its codes `q`: `d = s`, `centre = middle = 128`. One of planes gives

    ```
    q          = centre + sum over j of r_j * b_j - middle,    middle = (sum over j of r_j) >> 1
    hlq:         d = (|s_0| + |s_1| + ...) / range,   r_j = round_half_even(s_j / d)
    otherwise:   d = s,   r_j = 2^j
    compact:     d = S,   q = centre - 128 + c + sum over j of r_j * b_j:   the weight is d * (q - centre), exactly
    ```

    with `range = 251` and `centre = 128`, so that codes are bytes, if entries have 8 bits; with `range = 4080` and `centre = 2048` for entries that
    are `words`. The divisions are multiplications: by `d` with `range / (|s_0| + ...)`, by `range` with `1 / range`; `d` is 0 where that sum is below 2^-100.
    A code is off by at most half a step per plane: `bits * d / 2`, that is `bits / (2 * range)` of the group's range. Every code is
    made once for all rows of activations and never leaves the first-level cache.

    This order is the contract: every lowering gives the same bits, whatever the tiles, the chunk or the number of threads.

    | operand  | shape                 | type | meaning                                     |
    |----------|-----------------------|------|---------------------------------------------|
    | `entries`, `scales`, `sums`, `offsets` | see `hlq.quantize_rows` |      | rounded activations |
    | `packed` | `[NB, block bytes]`   | i8   | row blocks in `layout`                      |
    | `init`   | `[MB*m_tile, NB*rows]` | f32 | result, with padded rows and columns        |

    Entries of planes are `words` if they have 16 bits, `transposed` if lanes are `dword`, and `by_row` if the kernel uses tiles; entries of stored codes are
    none of these.

    Constraints: (C1) `packed` has `layout.getRowBlockBytes(G)` bytes per block; (C2) table groups divide
    weight groups: `group_size % table_group == 0`, `U = G * group_size / table_group`; (C3) shapes as above,
    `2 * kernel.table_bits` bytes of entries per chunk; (C4) `table_group <= 256`, or 128 for `words`, so that 32-bit sums of products hold;
    (C5) the algorithm of `kernel` is `dot`; (C6) with tiles
    `m_tile <= 16` and `dword` lanes.

    ```mlir
    %y = hlq.code_matmul ins(%e, %s, %u, %o, %p : tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>, tensor<4x2304xi8>)
           outs(%init : tensor<4x64xf32>)
           {layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>,
            kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 4, n_tile = 4, table_bits = 16>, table_group = 32 : i64}
           -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$entries, AnyShaped:$scales, AnyShaped:$sums, AnyShaped:$offsets, AnyShaped:$packed,
                       AnyShaped:$init,
                       HLQ_LayoutAttr:$layout, HLQ_KernelAttr:$kernel, I64Attr:$table_group);
  let assemblyFormat = [{
    `ins` `(` $entries `,` $scales `,` $sums `,` $offsets `,` $packed `:` type($entries) `,` type($scales) `,` type($sums) `,` type($offsets) `,` type($packed) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = destinationDeclaration # [{
    /// Columns that a tile (AMX) has of a row of activations, or 0 where the kernel uses none.
    int64_t getTileColumns() { return getKernel().usesTiles(getLayout()) ? std::min<int64_t>(getTableGroup(), 64) : 0; }
  }];
}

def HLQ_PackedGatherOp : HLQ_DestinationOp<"packed_gather"> {
  let summary = "Take rows of a packed HLQ matrix by index, as floats";
  let description = [{
    `init[m, k] = z + sum over j of s_j * b_j` of row `indices[m]`, added in f32 in this order by fma (`symmetric`: `z = s * -zero_point`); with 8 bits `fma(s, q, z)`, with params compact `S * (c - 128 + sum over j of r_j * b_j)`,
    the bracket exact. Read from the layout that the
    products read: a tied embedding and head share one copy.

    Constraints: (C1) `packed` is `[NB, layout.getRowBlockBytes(G)]`; (C2) `indices` is `[M]` of i64, `init` is `[M, K]` of f32 with `K <= G * group_size`.

    ```mlir
    %e = hlq.packed_gather ins(%ids, %p : tensor<4xi64>, tensor<4x896xi8>) outs(%init : tensor<4x128xf32>)
           {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>} -> tensor<4x128xf32>
    ```
  }];
  let arguments = (ins AnyShaped:$indices, AnyShaped:$packed, AnyShaped:$init, HLQ_LayoutAttr:$layout);
  let assemblyFormat = [{
    `ins` `(` $indices `,` $packed `:` type($indices) `,` type($packed) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict (`->` type($results)^)?
  }];
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

def HLQ_LookupOp : HLQ_Op<"lookup", [Pure, AllTypesMatch<["indices", "result"]>]> {
  let summary = "Look up each index in a 16- or 64-entry byte table";
  let description = [{
    `result[i] = table[indices[i]]` for every lane `i`. An index outside the table gives an unspecified byte.

    Constraints: (C1) `table` has 16 or 64 bytes, `indices` 16, 32 or 64 lanes; (C2) a 64-byte table is indexed by 64 lanes.

    ```mlir
    %r = hlq.lookup %table[%idx] : vector<16xi8>, vector<32xi8>
    ```
  }];
  let arguments = (ins VectorOfLengthAndType<[16, 64], [I8]>:$table, VectorOfLengthAndType<[16, 32, 64], [I8]>:$indices);
  let results = (outs VectorOfLengthAndType<[16, 32, 64], [I8]>:$result);
  let assemblyFormat = "$table `[` $indices `]` attr-dict `:` type($table) `,` type($indices)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def HLQ_AccumulateOp : HLQ_Op<"accumulate", [Pure, AllTypesMatch<["acc", "result"]>]> {
  let summary = "Add each four neighbouring signed bytes to a 32-bit lane";
  let description = [{
    `result[i] = acc[i] + bytes[4i] + bytes[4i+1] + bytes[4i+2] + bytes[4i+3]`, bytes sign-extended, wrapping.
    It is one `vpdpbusd` (or `sdot`) with a vector of ones.

    Constraints: (C1) `bytes` has four times the lanes of `acc`.

    ```mlir
    %r = hlq.accumulate %acc, %bytes : vector<16xi32>, vector<64xi8>
    ```
  }];
  let arguments = (ins VectorOfLengthAndType<[4, 8, 16], [I32]>:$acc, VectorOfLengthAndType<[16, 32, 64], [I8]>:$bytes);
  let results = (outs VectorOfLengthAndType<[4, 8, 16], [I32]>:$result);
  let assemblyFormat = "$acc `,` $bytes attr-dict `:` type($acc) `,` type($bytes)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def HLQ_DotOp : HLQ_Op<"dot", [Pure, AllTypesMatch<["acc", "result"]>, AllTypesMatch<["codes", "entries"]>]> {
  let summary = "Add the products of neighbouring codes and entries to a 32-bit lane";
  let description = [{
    `result[i] = acc[i] + sum over b < w of codes[w*i+b] * entries[w*i+b]`, the sum exact and its addition to `acc` wrapping. Four bytes
    (`w = 4`): codes zero-extended, entries sign-extended, one `vpdpbusd`. Two words (`w = 2`): both sign-extended, one
    `vpdpwssd`; two codes of -2^15 times two entries of -2^15 wrap.

    Constraints: (C1) `codes` and `entries` have `w` times the lanes of `acc`.

    ```mlir
    %r = hlq.dot %acc, %codes, %entries : vector<16xi32>, vector<64xi8>
    ```
    ```mlir
    %r = hlq.dot %acc, %codes, %entries : vector<16xi32>, vector<32xi16>
    ```
  }];
  let arguments = (ins VectorOfLengthAndType<[4, 8, 16], [I32]>:$acc,
                       VectorOfLengthAndType<[8, 16, 32, 64], [I8, I16]>:$codes,
                       VectorOfLengthAndType<[8, 16, 32, 64], [I8, I16]>:$entries);
  let results = (outs VectorOfLengthAndType<[4, 8, 16], [I32]>:$result);
  let assemblyFormat = "$acc `,` $codes `,` $entries attr-dict `:` type($acc) `,` type($codes)";
  let extraClassDeclaration = [{
    /// Whether codes and entries are words, and not bytes.
    bool hasWords() {
      return ::llvm::cast<::mlir::VectorType>(getCodes().getType()).getElementTypeBitWidth() == 16;
    }
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

#endif // ELUTQ_DIALECT_HLQ_IR_HLQOPS_TD
