//===- HLQOps.cpp - Verifiers and interfaces of the hlq ops ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Support/DestinationStyle.h"
#include "elutq/Support/VerifyShapes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

#define GET_OP_CLASSES
#include "elutq/Dialect/HLQ/IR/HLQOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Logical planes
//===----------------------------------------------------------------------===//

namespace {

/// The operands that hold an HLQ matrix in logical form.
struct PlaneOperands {
  ShapedOperand planes, scales, zeros;
  bool hasZeros, hasCodes, isCompact;
  int64_t groupSize;

  PlaneOperands(Value planes, Value scales, Value zeros, int64_t groupSize)
      : planes{"planes", planes, 3}, scales{"scales", scales, 3}, zeros{"zeros", zeros, 2},
        hasZeros(static_cast<bool>(zeros)), groupSize(groupSize) {
    auto type = dyn_cast<ShapedType>(planes.getType());
    hasCodes = type && type.hasRank() && type.getRank() == 2;
    if (hasCodes)
      this->planes.rank = 2;
    auto zerosType = hasZeros ? dyn_cast<ShapedType>(zeros.getType()) : ShapedType();
    isCompact = zerosType && zerosType.getElementType().isInteger(8);
    if (isCompact)
      this->zeros.rank = 3;
  }

  int64_t getBits() const { return hasCodes ? 8 : planes.getDim(0); }
  int64_t getRows() const { return planes.getDim(planes.rank - 2); }
  int64_t getGroups() const { return scales.getDim(1); }
};

} // namespace

/// Checks what does not depend on the number of columns: (C1) and (C3) to (C5) of `hlq.linear`.
static LogicalResult verifyPlanes(Operation *op, const PlaneOperands &w, bool hasZeroPoint) {
  MLIRContext *context = op->getContext();
  Type f16 = Float16Type::get(context), f32 = Float32Type::get(context);
  if (failed(verifyOperand(op, w.planes, IntegerType::get(context, 8))) ||
      failed(verifyOperand(op, w.scales, {f16, f32})))
    return failure();
  if (!w.planes.getType().hasStaticShape() || !w.scales.getType().hasStaticShape())
    return op->emitOpError("expected planes and scales to have static shapes");
  if (!w.hasCodes && (w.getBits() < 1 || w.getBits() > 4))
    return op->emitOpError("expected planes dim 0 to be 1 to 4 bits, but got ") << w.getBits();
  int64_t columns = w.getGroups() * w.groupSize;
  if (failed(w.hasCodes ? verifyDim(op, w.planes, 1, "G * group_size", columns)
                        : verifyDim(op, w.planes, 2, "G * group_size / 8", columns / 8)) ||
      failed(verifyDim(op, w.scales, 0, "N", w.getRows())))
    return failure();
  int64_t perGroup = w.scales.getDim(2);
  if (w.hasCodes && perGroup != 1)
    return op->emitOpError("expected scales dim 2 to be 1 with codes of 8 bits, but got ") << perGroup;
  if (perGroup != 1 && perGroup != w.getBits())
    return op->emitOpError("expected scales dim 2 to be 1 or bits (") << w.getBits() << "), but got " << perGroup;
  if (w.hasZeros) {
    if (hasZeroPoint)
      return op->emitOpError("expected either zeros or zero_point, but got both");
    if (w.isCompact && w.hasCodes)
      return op->emitOpError("expected zeros to have the element type of scales with codes of 8 bits, but got ") << w.zeros.getElementType();
    if (w.isCompact && perGroup != 1)
      return op->emitOpError("expected one scale per group with ratios in zeros, but got ") << perGroup;
    Type zeroType = w.isCompact ? IntegerType::get(context, 8) : w.scales.getElementType();
    if (failed(verifyOperand(op, w.zeros, zeroType)) || failed(verifyDim(op, w.zeros, 0, "N", w.getRows())) ||
        failed(verifyDim(op, w.zeros, 1, "G", w.getGroups())) ||
        (w.isCompact && failed(verifyDim(op, w.zeros, 2, "bits + 1", w.getBits() + 1))))
      return failure();
  } else {
    if (!hasZeroPoint)
      return op->emitOpError("expected zeros or zero_point, but got neither");
    if (w.scales.getDim(2) != 1)
      return op->emitOpError("expected one scale per group without zeros, but got ") << w.scales.getDim(2);
  }
  return success();
}

/// Checks (C2) of `hlq.linear`, and the number of groups.
static LogicalResult verifyGroups(Operation *op, const PlaneOperands &w, int64_t columns) {
  bool perRow = w.groupSize >= columns && w.groupSize % 32 == 0;
  if (!llvm::is_contained({16, 32, 64, 128, 256}, w.groupSize) && (!perRow || w.groupSize <= 0))
    return op->emitOpError("expected group_size to be 16, 32, 64, 128, 256, or a multiple of 32 of at least K (")
           << columns << "), but got " << w.groupSize;
  return verifyDim(op, w.scales, 1, "ceil(K / group_size)", llvm::divideCeil(columns, w.groupSize));
}

LogicalResult LinearOp::verify() {
  MLIRContext *context = getContext();
  Type f32 = Float32Type::get(context);
  PlaneOperands w(getPlanes(), getScales(), getZeros(), getGroupSize());
  ShapedOperand input{"input", getInput(), 2}, init{"init", getInit(), 2};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, input, f32)) ||
      failed(verifyOperand(*this, init, f32)) || failed(verifyPlanes(*this, w, getZeroPoint().has_value())))
    return failure();
  if (ShapedType::isDynamic(input.getDim(1)))
    return emitOpError("expected input dim 1 (K) to be static");
  if (failed(verifyGroups(*this, w, input.getDim(1))) || failed(verifyDim(*this, init, 0, "M", input.getDim(0))) ||
      failed(verifyDim(*this, init, 1, "N", w.getRows())))
    return failure();
  return success();
}

LogicalResult GatherOp::verify() {
  MLIRContext *context = getContext();
  PlaneOperands w(getPlanes(), getScales(), getZeros(), getGroupSize());
  ShapedOperand indices{"indices", getIndices(), 1}, init{"init", getInit(), 2};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, indices, IntegerType::get(context, 64))) ||
      failed(verifyOperand(*this, init, Float32Type::get(context))) ||
      failed(verifyPlanes(*this, w, getZeroPoint().has_value())))
    return failure();
  if (ShapedType::isDynamic(init.getDim(1)))
    return emitOpError("expected init dim 1 (K) to be static");
  if (failed(verifyGroups(*this, w, init.getDim(1))) || failed(verifyDim(*this, init, 0, "M", indices.getDim(0))))
    return failure();
  return success();
}

LogicalResult PackOp::verify() {
  LayoutAttr layout = getLayout();
  PlaneOperands w(getPlanes(), getScales(), getZeros(), layout.getGroupSize());
  if (failed(verifyPlanes(*this, w, /*hasZeroPoint=*/layout.getParams() == Params::Symmetric)))
    return failure();
  if (layout.getBits() != w.getBits())
    return emitOpError("expected planes of the bits of the layout (")
           << layout.getBits() << "), but got " << w.getBits();
  if (failed(verifyDim(*this, w.scales, 2, "the scales per group of the layout", layout.getScalesPerGroup())))
    return failure();
  if (w.isCompact != layout.isCompact())
    return emitOpError("expected ") << (layout.isCompact() ? "zeros of i8 with ratios for the compact layout" : "zeros without ratios for the layout")
                                    << ", but got " << getZeros().getType();
  if (w.scales.getElementType() != layout.getParamType())
    return emitOpError("expected scales to have the param_type of the layout (")
           << layout.getParamType() << "), but got " << w.scales.getElementType();
  ShapedOperand result{"result", getResult(), 2};
  if (failed(verifyOperand(*this, result, IntegerType::get(getContext(), 8))) ||
      failed(verifyDim(*this, result, 0, "ceil(N / rows)", llvm::divideCeil(w.getRows(), layout.getRows()))) ||
      failed(verifyDim(*this, result, 1, "the bytes of a row block", layout.getRowBlockBytes(w.getGroups()))))
    return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Packed weights
//===----------------------------------------------------------------------===//

namespace {

/// The arrays that `hlq.build_lut` or `hlq.quantize_rows` writes and a product reads.
struct ActivationOperands {
  ShapedOperand entries, scales, sums;
  std::optional<ShapedOperand> offsets;

  /// Tables and parameters of `hlq.build_lut`, or entries, parameters and offsets of `hlq.quantize_rows`.
  explicit ActivationOperands(ValueRange values)
      : entries{values.size() == 3 ? "tables" : "entries", values[0], 4}, scales{"scales", values[1], 3},
        sums{"sums", values[2], 3} {
    if (values.size() == 4)
      offsets = ShapedOperand{"offsets", values[3], 3};
  }

  int64_t getBlocks() const { return entries.getDim(0); }
  int64_t getRowsPerBlock() const { return entries.getDim(2); }
  int64_t getTableGroups() const { return scales.getDim(1); }
  /// Bytes that lie together with entries of 8 bits: four tables or 16 entries of a chunk of 16 columns, or, `byRow`, those of a table group.
  int64_t getPartBytes(int64_t tableGroup, bool byRow) const { return byRow ? tableGroup : offsets ? 16 : 64; }
};

} // namespace

/// `byRow`: the entries of a row in a table group lie together.
static LogicalResult verifyActivations(Operation *op, const ActivationOperands &a, int64_t tableGroup, bool byRow = false) {
  MLIRContext *context = op->getContext();
  Type f32 = Float32Type::get(context);
  if (failed(verifyOperand(op, a.entries, IntegerType::get(context, 8))) || failed(verifyOperand(op, a.scales, f32)) ||
      failed(verifyOperand(op, a.sums, f32)) ||
      (a.offsets && failed(verifyOperand(op, *a.offsets, IntegerType::get(context, 32)))))
    return failure();
  if (tableGroup <= 0 || tableGroup % 16 != 0)
    return op->emitOpError("expected table_group to be a multiple of 16, but got ") << tableGroup;
  StringRef name = a.entries.name;
  if (ShapedType::isDynamic(a.getTableGroups()) || ShapedType::isDynamic(a.getRowsPerBlock()))
    return op->emitOpError("expected the ") << name << " of a row block to have static shapes";
  if (a.getRowsPerBlock() < 1)
    return op->emitOpError("expected ") << name << " dim 2 (m_tile) to be positive, but got " << a.getRowsPerBlock();
  if (failed(byRow ? verifyDim(op, a.entries, 1, "U", a.getTableGroups())
                   : verifyDim(op, a.entries, 1, "U * table_group / 16", a.getTableGroups() * tableGroup / 16)))
    return failure();
  int64_t bytes = a.getPartBytes(tableGroup, byRow);
  StringRef part = byRow ? "table_group entries" : a.offsets ? "16 entries" : "four tables of 16 entries";
  if (a.entries.getDim(3) != bytes && a.entries.getDim(3) != 2 * bytes)
    return op->emitOpError("expected ") << name << " dim 3 to be " << bytes << " or " << 2 * bytes << " (" << part << "), but got "
                                        << a.entries.getDim(3);
  SmallVector<ShapedOperand> parameters{a.scales, a.sums};
  if (a.offsets)
    parameters.push_back(*a.offsets);
  for (const ShapedOperand &parameter : parameters)
    if (failed(verifyDim(op, parameter, 0, "MB", a.getBlocks())) ||
        failed(verifyDim(op, parameter, 1, "U", a.getTableGroups())) ||
        failed(verifyDim(op, parameter, 2, "m_tile", a.getRowsPerBlock())))
      return failure();
  return success();
}

/// Checks an op that tabulates or rounds activations to `count` arrays.
template <typename OpTy>
static LogicalResult verifyActivationOp(OpTy op, size_t count, bool byRow = false) {
  ShapedOperand input{"input", op.getInput(), 2};
  if (failed(verifyOneSemantics(op)) || failed(verifyOperand(op, input, Float32Type::get(op.getContext()))))
    return failure();
  if (op.getInits().size() != count)
    return op.emitOpError("expected ") << count << " inits, but got " << op.getInits().size();
  ActivationOperands a(op.getInits());
  if (failed(verifyActivations(op, a, op.getTableGroup(), byRow)))
    return failure();
  int64_t m = input.getDim(0), k = input.getDim(1), columns = a.getTableGroups() * op.getTableGroup();
  if (!ShapedType::isDynamic(m) &&
      failed(verifyDim(op, a.entries, 0, "ceil(M / m_tile)", llvm::divideCeil(m, a.getRowsPerBlock()))))
    return failure();
  if (!ShapedType::isDynamic(k) && columns < k)
    return op.emitOpError("expected U * table_group to be at least K (") << k << "), but got " << columns;
  return success();
}

LogicalResult BuildLutOp::verify() { return verifyActivationOp(*this, 3); }

LogicalResult QuantizeRowsOp::verify() {
  if (failed(verifyActivationOp(*this, 4, getByRow())))
    return failure();
  int64_t bytes = ShapedOperand{"entries", getInits()[0], 4}.getDim(3);
  if (getByRow() && getWords() != (bytes != static_cast<int64_t>(getTableGroup())))
    return emitOpError("expected entries by row to be ") << (getWords() ? "of 16 bits, as they are words" : "words, as they have 16 bits");
  if (!getByRow() && getWords() && bytes != 32)
    return emitOpError("expected words to have 32 bytes per chunk, but got ") << bytes;
  return success();
}

/// Checks a product of the `algorithm`, whose table groups have at most `maxTableGroup` columns.
template <typename OpTy>
static LogicalResult verifyProduct(OpTy op, ValueRange activations, StringRef algorithm, int64_t maxTableGroup) {
  LayoutAttr layout = op.getLayout();
  KernelAttr kernel = op.getKernel();
  MLIRContext *context = op.getContext();
  ActivationOperands a(activations);
  ShapedOperand packed{"packed", op.getPacked(), 2}, init{"init", op.getInit(), 2};
  int64_t tableGroup = op.getTableGroup();
  bool usesTiles = kernel.usesTiles(layout);
  if (failed(verifyOneSemantics(op)) || failed(verifyActivations(op, a, tableGroup, usesTiles)) ||
      failed(verifyOperand(op, packed, IntegerType::get(context, 8))) ||
      failed(verifyOperand(op, init, Float32Type::get(context))))
    return failure();
  if (kernel.getAlgorithm() != algorithm)
    return op.emitOpError("expected a kernel with the algorithm ")
           << algorithm << ", but got " << kernel.getAlgorithm().getValue();
  if (layout.hasCodes() && algorithm == "lut")
    return op.emitOpError("expected a layout of 1 to 4 bits, but got 8");
  if (tableGroup > maxTableGroup)
    return op.emitOpError("expected table_group to be at most ") << maxTableGroup << ", but got " << tableGroup;
  if (layout.getGroupSize() % tableGroup != 0)
    return op.emitOpError("expected table_group to divide the group_size of the layout (")
           << layout.getGroupSize() << "), but got " << tableGroup;
  int64_t columns = a.getTableGroups() * tableGroup;
  if (columns % layout.getUnitColumns() != 0)
    return op.emitOpError("expected U * table_group to be a multiple of the unit of the layout (")
           << layout.getUnitColumns() << "), but got " << columns;
  if (kernel.getMTile() != a.getRowsPerBlock())
    return op.emitOpError("expected ") << a.entries.name << " dim 2 to be the m_tile of the kernel ("
                                       << kernel.getMTile() << "), but got " << a.getRowsPerBlock();
  if (usesTiles && (kernel.getMTile() > 16 || layout.getLane() != Lane::Dword))
    return op.emitOpError("expected at most 16 rows of activations and dword lanes for tiles, but got ") << kernel << " and " << layout;
  StringRef chunk = usesTiles   ? "the bytes of table_group entries of table_bits"
                    : a.offsets ? "the bytes of 16 entries of table_bits"
                                : "the bytes of four tables of table_bits";
  if (failed(verifyDim(op, a.entries, 3, chunk, a.getPartBytes(tableGroup, usesTiles) * kernel.getTableBits() / 8)))
    return failure();
  if (failed(verifyDim(op, packed, 1, "the bytes of a row block",
                       layout.getRowBlockBytes(columns / layout.getGroupSize()))))
    return failure();
  int64_t mBlocks = a.getBlocks(), nBlocks = packed.getDim(0);
  if (!ShapedType::isDynamic(mBlocks) &&
      failed(verifyDim(op, init, 0, "MB * m_tile", mBlocks * a.getRowsPerBlock())))
    return failure();
  if (!ShapedType::isDynamic(nBlocks) && failed(verifyDim(op, init, 1, "NB * rows", nBlocks * layout.getRows())))
    return failure();
  return success();
}

LogicalResult LutMatmulOp::verify() {
  return verifyProduct(*this, ValueRange{getTables(), getScales(), getSums()}, "lut", 1024);
}

LogicalResult CodeMatmulOp::verify() {
  bool hasWords = getLayout().hasWordEntries(getKernel().getTableBits());
  return verifyProduct(*this, ValueRange{getEntries(), getScales(), getSums(), getOffsets()}, "dot",
                       hasWords ? 128 : 256);
}

LogicalResult PackedGatherOp::verify() {
  LayoutAttr layout = getLayout();
  ShapedOperand indices{"indices", getIndices(), 1}, packed{"packed", getPacked(), 2}, init{"init", getInit(), 2};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, indices, IntegerType::get(getContext(), 64))) ||
      failed(verifyOperand(*this, packed, IntegerType::get(getContext(), 8))) ||
      failed(verifyOperand(*this, init, Float32Type::get(getContext()))))
    return failure();
  if (ShapedType::isDynamic(init.getDim(1)))
    return emitOpError("expected init dim 1 (K) to be static");
  int64_t groups = llvm::divideCeil(init.getDim(1), layout.getGroupSize());
  if (failed(verifyDim(*this, packed, 1, "the bytes of a row block", layout.getRowBlockBytes(groups))) ||
      failed(verifyDim(*this, init, 0, "M", indices.getDim(0))))
    return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

LogicalResult LookupOp::verify() {
  int64_t entries = cast<VectorType>(getTable().getType()).getNumElements();
  int64_t lanes = cast<VectorType>(getIndices().getType()).getNumElements();
  if (entries == 64 && lanes != 64)
    return emitOpError("expected 64 indices for a table of 64 bytes, but got ") << lanes;
  return success();
}

LogicalResult AccumulateOp::verify() {
  int64_t lanes = cast<VectorType>(getAcc().getType()).getNumElements();
  int64_t bytes = cast<VectorType>(getBytes().getType()).getNumElements();
  if (bytes != 4 * lanes)
    return emitOpError("expected four bytes per lane of acc (") << 4 * lanes << "), but got " << bytes;
  return success();
}

LogicalResult DotOp::verify() {
  int64_t lanes = cast<VectorType>(getAcc().getType()).getNumElements();
  int64_t codes = cast<VectorType>(getCodes().getType()).getNumElements(), perLane = hasWords() ? 2 : 4;
  if (codes != perLane * lanes)
    return emitOpError("expected ") << (hasWords() ? "two words" : "four bytes") << " per lane of acc ("
                                    << perLane * lanes << "), but got " << codes;
  return success();
}

//===----------------------------------------------------------------------===//
// Interfaces that all destination-style ops implement alike
//===----------------------------------------------------------------------===//

#define DESTINATION_STYLE_OP(OP)                                                                                       \
  void OP::getEffects(MemoryEffectList &effects) {                                                                     \
    getDestinationStyleEffects(cast<DestinationStyleOpInterface>(getOperation()), /*readsInits=*/false, effects);      \
  }                                                                                                                    \
  LogicalResult OP::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {                       \
    return reifyInitShapes(cast<DestinationStyleOpInterface>(getOperation()), builder, shapes);                        \
  }

DESTINATION_STYLE_OP(LinearOp)
DESTINATION_STYLE_OP(GatherOp)
DESTINATION_STYLE_OP(BuildLutOp)
DESTINATION_STYLE_OP(LutMatmulOp)
DESTINATION_STYLE_OP(QuantizeRowsOp)
DESTINATION_STYLE_OP(CodeMatmulOp)
DESTINATION_STYLE_OP(PackedGatherOp)

#undef DESTINATION_STYLE_OP
