//===- HLQLowering.h - Shared by the lowerings of hlq ops -------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_HLQLOWERING_H
#define ELUTQ_LIB_CONVERSION_HLQLOWERING_H

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace elutq::hlq {

/// Where the parts of a unit lie, in bytes from its start.
struct UnitLayout {
  explicit UnitLayout(LayoutAttr layout)
      : rows(layout.getRows()), stepColumns(layout.getStepColumns()), vectorBytes(layout.getVectorBytes()),
        unitColumns(layout.getUnitColumns()), unitBytes(layout.getUnitBytes()),
        groupsPerUnit(unitColumns / layout.getGroupSize()), planeBytes(unitColumns / stepColumns * vectorBytes),
        planesBytes(layout.getNumPlanes() * planeBytes), paramBytes(layout.getParamType().getIntOrFloatBitWidth() / 8),
        groupParamBytes(layout.getGroupParamBytes()), ratioBytes(rows * paramBytes) {}

  int64_t rows, stepColumns, vectorBytes, unitColumns, unitBytes;
  int64_t groupsPerUnit;
  /// Bytes of one plane and of all planes of a unit.
  int64_t planeBytes, planesBytes;
  /// Bytes of one parameter and of all parameters of a group.
  int64_t paramBytes, groupParamBytes;
  /// Where the ratios of compact parameters begin in those of a group.
  int64_t ratioBytes;
};

/// What is taken from a stored code of 8 bits: the offset of `hlq.quantize_rows` makes up for it.
inline constexpr int64_t kCodeCentre = 128;

/// Rounded activations, and the codes that they meet.
struct EntryFormat {
  static EntryFormat get(QuantizeRowsOp op) {
    return {op.getWords(), op.getTransposed(), op.getByRow(), static_cast<int64_t>(op.getTableGroup())};
  }
  static EntryFormat get(CodeMatmulOp op) {
    LayoutAttr layout = op.getLayout();
    return {layout.hasWordEntries(op.getKernel().getTableBits()), layout.hasTransposedEntries(),
            op.getKernel().usesTiles(layout), static_cast<int64_t>(op.getTableGroup())};
  }

  /// Words of 16 bits, and not bytes.
  bool words;
  /// In the order in which planes with dword lanes give codes, and not in that of the columns.
  bool transposed;
  /// The entries of a row in a table group lie together, the high bytes of words apart from the low ones, in the order of bytes.
  bool byRow;
  int64_t tableGroup;

  /// Entries in 32 bits.
  int64_t getPerDword() const { return words && !byRow ? 2 : 4; }
  /// Codes in 32 bits, as they are made.
  int64_t getCodesPerDword() const { return words ? 2 : 4; }
  /// What is taken from a code.
  int64_t getCentre() const { return words ? 2048 : kCodeCentre; }
  /// The sum of the magnitudes of `r_j` in the op description.
  float getRange() const { return words ? 4080 : 251; }
  unsigned getWidth() const { return words ? 16 : 8; }
  /// The column of a chunk that is entry `entry` of 32 bits number `dword`.
  int64_t getColumn(int64_t dword, int64_t entry) const {
    return transposed ? dword + 16 / getPerDword() * entry : dword * getPerDword() + entry;
  }
};

/// What sums of magnitudes of scales below are taken as zero, so that the reciprocals of both stay finite.
inline constexpr float kLeastScaleSum = 0x1p-100f;

/// What the scale of a group is multiplied by in `zc` of the op description: half the sum of the planes' scales is
/// `getCentre` times the sum of the stored ones.
inline double getCentre(LayoutAttr layout) {
  if (layout.hasCodes())
    return kCodeCentre;
  return layout.getParams() == Params::HLQ ? 0.5 : 0.5 * ((1 << layout.getBits()) - 1);
}

/// Bits of an entry of `tables` or of rounded activations.
inline int64_t getTableBits(BuildLutOp op) {
  return llvm::cast<mlir::ShapedType>(op.getInits()[0].getType()).getDimSize(3) / 8;
}
inline int64_t getTableBits(QuantizeRowsOp op) {
  int64_t columns = op.getByRow() ? op.getTableGroup() : 16;
  return llvm::cast<mlir::ShapedType>(op.getInits()[0].getType()).getDimSize(3) * 8 / columns;
}

/// The greatest magnitude of an entry. With 16 bits the high byte, rounded, stays within a signed byte; sums of 128 products
/// of a word and a code of 12 bits stay within 32 bits.
inline float getTableLimit(BuildLutOp op) { return getTableBits(op) == 8 ? 127 : 127 * 256; }
inline float getTableLimit(QuantizeRowsOp op) {
  return op.getWords() ? 8191 : getTableBits(op) == 8 ? 127 : 127 * 256;
}

/// What scales below are taken as zero, the least normal float: their reciprocals stay finite.
inline constexpr float kLeastTableScale = 0x1p-126f;

/// Emits index arithmetic, folded where the operands are constants, and loops.
struct LoopEmitter {
  mlir::OpBuilder &b;
  mlir::Location loc;

  mlir::Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, loc, value); }
  mlir::Value i32(int64_t value) { return mlir::arith::ConstantIntOp::create(b, loc, value, 32); }
  mlir::Value f32(float value) {
    return mlir::arith::ConstantFloatOp::create(b, loc, b.getF32Type(), llvm::APFloat(value));
  }
  mlir::Value add(mlir::Value lhs, mlir::Value rhs) { return b.createOrFold<mlir::arith::AddIOp>(loc, lhs, rhs); }
  mlir::Value add(mlir::Value lhs, int64_t rhs) { return rhs == 0 ? lhs : add(lhs, index(rhs)); }
  mlir::Value mul(mlir::Value lhs, int64_t rhs) {
    return rhs == 1 ? lhs : b.createOrFold<mlir::arith::MulIOp>(loc, lhs, index(rhs));
  }
  mlir::Value div(mlir::Value lhs, int64_t rhs) {
    return rhs == 1 ? lhs : b.createOrFold<mlir::arith::DivUIOp>(loc, lhs, index(rhs));
  }
  mlir::Value rem(mlir::Value lhs, int64_t rhs) { return b.createOrFold<mlir::arith::RemUIOp>(loc, lhs, index(rhs)); }
  mlir::Value dim(mlir::Value memref, int64_t dim) {
    return b.createOrFold<mlir::memref::DimOp>(loc, memref, dim);
  }
  mlir::Value fma(mlir::Value a, mlir::Value x, mlir::Value c) { return mlir::math::FmaOp::create(b, loc, a, x, c); }
  mlir::Value load(mlir::Value memref, mlir::ValueRange indices) {
    return mlir::memref::LoadOp::create(b, loc, memref, indices);
  }
  void store(mlir::Value value, mlir::Value memref, mlir::ValueRange indices) {
    mlir::memref::StoreOp::create(b, loc, value, memref, indices);
  }

  /// `for iv in [lower, upper) by step`, carrying `inits`; `body` returns the values of the next iteration. `attributes`
  /// are hints for LLVM.
  llvm::SmallVector<mlir::Value>
  loop(mlir::Value lower, mlir::Value upper, int64_t step, mlir::ValueRange inits,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body,
       llvm::ArrayRef<mlir::NamedAttribute> attributes = {}) {
    auto forOp = mlir::scf::ForOp::create(
        b, loc, lower, upper, index(step), inits,
        [&](mlir::OpBuilder &nested, mlir::Location, mlir::Value iv, mlir::ValueRange args) {
          // The body emits through `b`, whose insertion point the caller of this function restores.
          mlir::OpBuilder::InsertionGuard guard(b);
          b.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
          llvm::SmallVector<mlir::Value> next = body(iv, args);
          mlir::scf::YieldOp::create(b, loc, next);
        });
    for (mlir::NamedAttribute attribute : attributes)
      forOp->setAttr(attribute.getName(), attribute.getValue());
    return llvm::SmallVector<mlir::Value>(forOp.getResults());
  }
  llvm::SmallVector<mlir::Value>
  loop(int64_t lower, int64_t upper, mlir::ValueRange inits,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body) {
    return loop(index(lower), index(upper), 1, inits, body);
  }
  void loop(mlir::Value upper, llvm::function_ref<void(mlir::Value)> body) {
    loop(index(0), upper, 1, {}, [&](mlir::Value iv, mlir::ValueRange) {
      body(iv);
      return llvm::SmallVector<mlir::Value>();
    });
  }
  void loop(int64_t lower, int64_t upper, llvm::function_ref<void(mlir::Value)> body) {
    loop(lower, upper, {}, [&](mlir::Value iv, mlir::ValueRange) {
      body(iv);
      return llvm::SmallVector<mlir::Value>();
    });
  }
};

/// The lanes of the tables that `op` writes.
inline Lane getLane(BuildLutOp op) { return static_cast<Lane>(op.getLaneAttr().getInt()); }

/// Whether `op`, in destination style, works on memrefs.
template <typename OpTy>
bool hasMemRefOperands(OpTy op) {
  return llvm::all_of(op->getOperandTypes(), [](mlir::Type type) { return llvm::isa<mlir::MemRefType>(type); });
}

/// Reports each op of the given types that is left in `root`.
template <typename... OpTys>
mlir::LogicalResult verifyLowered(mlir::Operation *root, llvm::StringRef requirement) {
  mlir::WalkResult result = root->walk([&](mlir::Operation *op) {
    if (!llvm::isa<OpTys...>(op))
      return mlir::WalkResult::advance();
    op->emitOpError("expected ") << requirement;
    return mlir::WalkResult::interrupt();
  });
  return mlir::failure(result.wasInterrupted());
}

} // namespace elutq::hlq

#endif // ELUTQ_LIB_CONVERSION_HLQLOWERING_H
