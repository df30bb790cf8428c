//===- HLQAttrs.td - Attributes of the hlq dialect ---------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_IR_HLQATTRS_TD
#define ELUTQ_DIALECT_HLQ_IR_HLQATTRS_TD

include "elutq/Dialect/HLQ/IR/HLQBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def HLQ_Lane : I32EnumAttr<"Lane", "What one vector lane of packed planes holds", [
    I32EnumAttrCase<"Byte", 0, "byte">,
    I32EnumAttrCase<"Dword", 1, "dword">]> {
  let cppNamespace = "::elutq::hlq";
}

def HLQ_Params : I32EnumAttr<"Params", "Which parameters a group of weights stores", [
    I32EnumAttrCase<"HLQ", 0, "hlq">,
    I32EnumAttrCase<"Uniform", 1, "uniform">,
    I32EnumAttrCase<"Symmetric", 2, "symmetric">,
    I32EnumAttrCase<"Compact", 3, "compact">]> {
  let cppNamespace = "::elutq::hlq";
  let genSpecializedAttr = 0;
}

def HLQ_LayoutAttr : AttrDef<HLQ_Dialect, "Layout"> {
  let mnemonic = "layout";
  let summary = "How planes and parameters of a matrix are packed in memory";
  let description = [{
    Weights `[N, K]` become row blocks of `rows` rows; a row block is a run of groups; the last block is padded with zeros.
    A group holds, in this order:

    - for each plane `j < bits`, for each step: `rows * (lane == dword ? 4 : 1)` bytes.
      - `byte` lanes: a step covers 8 columns; byte `r` is row `r`; its bit `t` is column `8*step + t`.
      - `dword` lanes: a step covers 32 columns; bytes `4r .. 4r+3` are row `r`; in byte `4r + b` the low nibble holds columns
        `32*step + 4b ..+3`, the high nibble columns `32*step + 16 + 4b ..+3`, lowest bit first.
    - the scales, `[scalesPerGroup][rows]`, then the zeros `[rows]`, in `param_type`:
      `hlq`: `bits` scales and a zero; `uniform`: one scale (`s_j = 2^j * s`) and a zero; `symmetric`: one scale and no zero
      (`z = -zero_point * s`); `compact`: one scale `S`, and for the zeros bytes without a sign, `[bits + 1][rows]`: the ratios
      `r_j` of the planes, and the code `c` of a weight without bits. `s_j = S * r_j` and `z = S * (c - 128)`: a weight is `S * (q - 128)` with
      the code `q = c + sum over j of r_j b_j`, which is 255 at most.

    With 8 bits there are no planes: a step of `dword` lanes covers 4 columns, bytes `4r .. 4r+3` are the codes of row `r`. One
    scale per group (`uniform` or `symmetric`).

    With `dword` lanes, planes and groups of 16, two groups share one step (`unit` = 32 columns): the planes of both come first, then the
    parameters of each. A row block is padded to a multiple of 64 bytes.
  }];
  let parameters = (ins
    "::elutq::hlq::Lane":$lane,
    "int64_t":$rows,
    "int64_t":$bits,
    "int64_t":$group_size,
    "::elutq::hlq::Params":$params,
    "::mlir::Type":$param_type,
    DefaultValuedParameter<"int64_t", "0">:$zero_point);
  let assemblyFormat = "`<` struct(params) `>`";
  let genMnemonicAlias = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Whether weights are codes of 8 bits and not planes.
    bool hasCodes() const { return getBits() == 8; }
    /// Whether entries of rounded activations of `table_bits` bits are words where they meet codes made from these planes.
    bool hasWordEntries(int64_t tableBits) const { return !hasCodes() && tableBits == 16; }
    /// Whether they are in the order in which planes with dword lanes give codes.
    bool hasTransposedEntries() const { return !hasCodes() && getLane() == Lane::Dword; }
    /// Planes stored, or 1 for codes.
    int64_t getNumPlanes() const { return hasCodes() ? 1 : getBits(); }
    /// Columns that one step (one vector of plane bytes) covers: 8 or 32, or 4 columns of codes.
    int64_t getStepColumns() const;
    /// Columns whose planes are contiguous: the group, or two groups of 16 with dword lanes.
    int64_t getUnitColumns() const;
    /// Bytes of one vector of plane bytes.
    int64_t getVectorBytes() const;
    /// Scales stored per group and row.
    int64_t getScalesPerGroup() const;
    /// Whether parameters are one scale, ratios of the planes, and a code.
    bool isCompact() const { return getParams() == Params::Compact; }
    /// Whether a zero in `param_type` is stored per group and row.
    bool hasZero() const;
    /// Bytes of the parameters of a group, of all rows.
    int64_t getGroupParamBytes() const;
    /// Bytes of a unit: planes and parameters.
    int64_t getUnitBytes() const;
    /// Bytes of a row block for `groups` groups, padded to 64.
    int64_t getRowBlockBytes(int64_t groups) const;
  }];
}

def HLQ_KernelAttr : AttrDef<HLQ_Dialect, "Kernel"> {
  let mnemonic = "kernel";
  let summary = "The algorithm and tiles chosen for one product";
  let description = [{
    Written by `hlq-select-kernel`, obeyed by the lowerings. `isa` names the instruction set (`avx512amx`, `avx512vbmi`, `avx512bw`, `avx2`,
    `neon`, `neon_dotprod`, `generic`), `algorithm` is `lut` (look-ups in tables, for planes) or `dot` (products of integers, for codes of 8 bits or made from planes), `m_tile` the rows of activations that share one pass over the weights, `n_tile` the
    row blocks of one parallel task, `table_bits` (8 or 16) the width of a table entry or of a rounded activation: 16 bits take
    two look-ups or products. `avx512amx` is `avx512vbmi`, but that codes made from planes are multiplied by tiles, of at most 16 rows of
    activations.
  }];
  let parameters = (ins
    "::mlir::StringAttr":$isa,
    "::mlir::StringAttr":$algorithm,
    "int64_t":$m_tile,
    "int64_t":$n_tile,
    DefaultValuedParameter<"int64_t", "8">:$table_bits);
  let assemblyFormat = "`<` struct(params) `>`";
  let genMnemonicAlias = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Whether codes made from planes of `layout` are multiplied by tiles, which take entries row by row.
    bool usesTiles(::elutq::hlq::LayoutAttr layout) const {
      return getIsa() == "avx512amx" && getAlgorithm() == "dot" && !layout.hasCodes();
    }
  }];
}

#endif // ELUTQ_DIALECT_HLQ_IR_HLQATTRS_TD
