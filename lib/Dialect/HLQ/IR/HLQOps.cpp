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
  bool hasZeros;
  int64_t groupSize;

  PlaneOperands(Value planes, Value scales, Value zeros, int64_t groupSize)
      : planes{"planes", planes, 3}, scales{"scales", scales, 3}, zeros{"zeros", zeros, 2},
        hasZeros(static_cast<bool>(zeros)), groupSize(groupSize) {}

  int64_t getBits() const { return planes.getDim(0); }
  int64_t getRows() const { return planes.getDim(1); }
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
  if (w.getBits() < 1 || w.getBits() > 4)
    return op->emitOpError("expected planes dim 0 to be 1 to 4 bits, but got ") << w.getBits();
  if (failed(verifyDim(op, w.planes, 2, "G * group_size / 8", w.getGroups() * w.groupSize / 8)) ||
      failed(verifyDim(op, w.scales, 0, "N", w.getRows())))
    return failure();
  if (int64_t perGroup = w.scales.getDim(2); perGroup != 1 && perGroup != w.getBits())
    return op->emitOpError("expected scales dim 2 to be 1 or bits (") << w.getBits() << "), but got " << perGroup;
  if (w.hasZeros) {
    if (hasZeroPoint)
      return op->emitOpError("expected either zeros or zero_point, but got both");
    if (failed(verifyOperand(op, w.zeros, w.scales.getElementType())) ||
        failed(verifyDim(op, w.zeros, 0, "N", w.getRows())) || failed(verifyDim(op, w.zeros, 1, "G", w.getGroups())))
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
    return emitOpError("expected planes dim 0 to be the bits of the layout (")
           << layout.getBits() << "), but got " << w.getBits();
  if (failed(verifyDim(*this, w.scales, 2, "the scales per group of the layout", layout.getScalesPerGroup())))
    return failure();
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

/// The three arrays that `hlq.build_lut` writes and `hlq.lut_matmul` reads.
struct TableOperands {
  ShapedOperand tables, scales, sums;

  int64_t getBlocks() const { return tables.getDim(0); }
  int64_t getRowsPerBlock() const { return tables.getDim(2); }
  int64_t getTableGroups() const { return scales.getDim(1); }
};

} // namespace

static LogicalResult verifyTables(Operation *op, const TableOperands &t, int64_t tableGroup) {
  Type f32 = Float32Type::get(op->getContext());
  if (failed(verifyOperand(op, t.tables, IntegerType::get(op->getContext(), 8))) ||
      failed(verifyOperand(op, t.scales, f32)) || failed(verifyOperand(op, t.sums, f32)))
    return failure();
  if (tableGroup <= 0 || tableGroup % 16 != 0)
    return op->emitOpError("expected table_group to be a multiple of 16, but got ") << tableGroup;
  if (ShapedType::isDynamic(t.getTableGroups()) || ShapedType::isDynamic(t.getRowsPerBlock()))
    return op->emitOpError("expected the tables of a row block to have static shapes");
  if (t.getRowsPerBlock() < 1)
    return op->emitOpError("expected tables dim 2 (m_tile) to be positive, but got ") << t.getRowsPerBlock();
  if (failed(verifyDim(op, t.tables, 1, "U * table_group / 16", t.getTableGroups() * tableGroup / 16)))
    return failure();
  if (t.tables.getDim(3) != 64 && t.tables.getDim(3) != 128)
    return op->emitOpError("expected tables dim 3 to be 64 or 128 (four tables of 16 entries), but got ") << t.tables.getDim(3);
  for (const ShapedOperand &parameter : {t.scales, t.sums})
    if (failed(verifyDim(op, parameter, 0, "MB", t.getBlocks())) ||
        failed(verifyDim(op, parameter, 1, "U", t.getTableGroups())) ||
        failed(verifyDim(op, parameter, 2, "m_tile", t.getRowsPerBlock())))
      return failure();
  return success();
}

LogicalResult BuildLutOp::verify() {
  ShapedOperand input{"input", getInput(), 2};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, input, Float32Type::get(getContext()))))
    return failure();
  if (getInits().size() != 3)
    return emitOpError("expected 3 inits, but got ") << getInits().size();
  TableOperands t{{"tables", getInits()[0], 4}, {"scales", getInits()[1], 3}, {"sums", getInits()[2], 3}};
  if (failed(verifyTables(*this, t, getTableGroup())))
    return failure();
  int64_t m = input.getDim(0), k = input.getDim(1), columns = t.getTableGroups() * getTableGroup();
  if (!ShapedType::isDynamic(m) &&
      failed(verifyDim(*this, t.tables, 0, "ceil(M / m_tile)", llvm::divideCeil(m, t.getRowsPerBlock()))))
    return failure();
  if (!ShapedType::isDynamic(k) && columns < k)
    return emitOpError("expected U * table_group to be at least K (") << k << "), but got " << columns;
  return success();
}

LogicalResult LutMatmulOp::verify() {
  LayoutAttr layout = getLayout();
  MLIRContext *context = getContext();
  TableOperands t{{"tables", getTables(), 4}, {"scales", getScales(), 3}, {"sums", getSums(), 3}};
  ShapedOperand packed{"packed", getPacked(), 2}, init{"init", getInit(), 2};
  int64_t tableGroup = getTableGroup();
  if (failed(verifyOneSemantics(*this)) || failed(verifyTables(*this, t, tableGroup)) ||
      failed(verifyOperand(*this, packed, IntegerType::get(context, 8))) ||
      failed(verifyOperand(*this, init, Float32Type::get(context))))
    return failure();
  if (tableGroup > 1024)
    return emitOpError("expected table_group to be at most 1024, but got ") << tableGroup;
  if (layout.getGroupSize() % tableGroup != 0)
    return emitOpError("expected table_group to divide the group_size of the layout (")
           << layout.getGroupSize() << "), but got " << tableGroup;
  int64_t columns = t.getTableGroups() * tableGroup;
  if (columns % layout.getUnitColumns() != 0)
    return emitOpError("expected U * table_group to be a multiple of the unit of the layout (")
           << layout.getUnitColumns() << "), but got " << columns;
  if (getKernel().getMTile() != t.getRowsPerBlock())
    return emitOpError("expected tables dim 2 to be the m_tile of the kernel (")
           << getKernel().getMTile() << "), but got " << t.getRowsPerBlock();
  if (failed(verifyDim(*this, t.tables, 3, "the bytes of four tables of table_bits", 8 * getKernel().getTableBits())))
    return failure();
  if (failed(verifyDim(*this, packed, 1, "the bytes of a row block",
                       layout.getRowBlockBytes(columns / layout.getGroupSize()))))
    return failure();
  int64_t mBlocks = t.getBlocks(), nBlocks = packed.getDim(0);
  if (!ShapedType::isDynamic(mBlocks) &&
      failed(verifyDim(*this, init, 0, "MB * m_tile", mBlocks * t.getRowsPerBlock())))
    return failure();
  if (!ShapedType::isDynamic(nBlocks) && failed(verifyDim(*this, init, 1, "NB * rows", nBlocks * layout.getRows())))
    return failure();
  return success();
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
DESTINATION_STYLE_OP(PackedGatherOp)

#undef DESTINATION_STYLE_OP
