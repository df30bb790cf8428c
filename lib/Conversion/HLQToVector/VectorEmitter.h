//===- VectorEmitter.h - Loops over vectors --------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_HLQTOVECTOR_VECTOREMITTER_H
#define ELUTQ_LIB_CONVERSION_HLQTOVECTOR_VECTOREMITTER_H

#include "../HLQLowering.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace elutq::hlq {

/// Lanes of every float vector: LLVM splits them for narrower machines.
inline constexpr int64_t kFloatLanes = 16;

struct VectorEmitter : LoopEmitter {
  VectorEmitter(mlir::OpBuilder &builder, mlir::Location loc) : LoopEmitter{builder, loc} {}

  mlir::VectorType getFloats() { return mlir::VectorType::get(kFloatLanes, b.getF32Type()); }
  mlir::VectorType getInts(int64_t lanes, unsigned width) {
    return mlir::VectorType::get(lanes, b.getIntegerType(width));
  }

  mlir::Value splat(mlir::VectorType type, int64_t value) {
    return mlir::arith::ConstantOp::create(
        b, loc, mlir::DenseElementsAttr::get(type, b.getIntegerAttr(type.getElementType(), value)));
  }
  mlir::Value splat(float value) {
    return mlir::arith::ConstantOp::create(b, loc, mlir::DenseElementsAttr::get(getFloats(), value));
  }
  mlir::Value constant(llvm::ArrayRef<float> lanes) {
    return mlir::arith::ConstantOp::create(b, loc, mlir::DenseElementsAttr::get(getFloats(), lanes));
  }
  mlir::Value broadcast(mlir::Value scalar) {
    auto type = mlir::VectorType::get(kFloatLanes, scalar.getType());
    return mlir::vector::BroadcastOp::create(b, loc, type, scalar);
  }
  mlir::Value bitcast(mlir::VectorType type, mlir::Value vector) {
    return mlir::vector::BitCastOp::create(b, loc, type, vector);
  }
  mlir::Value loadVector(mlir::VectorType type, mlir::Value memref, mlir::ValueRange indices) {
    return mlir::vector::LoadOp::create(b, loc, type, memref, indices);
  }
  /// A buffer on the stack of the function around, aligned to a cache line.
  mlir::Value allocate(llvm::ArrayRef<int64_t> shape, mlir::Type type) {
    mlir::OpBuilder::InsertionGuard guard(b);
    mlir::Operation *parent = b.getInsertionBlock()->getParentOp();
    auto function = llvm::dyn_cast<mlir::FunctionOpInterface>(parent);
    if (!function)
      function = parent->getParentOfType<mlir::FunctionOpInterface>();
    b.setInsertionPointToStart(&function.getFunctionBody().front());
    return mlir::memref::AllocaOp::create(b, loc, mlir::MemRefType::get(shape, type), b.getI64IntegerAttr(64));
  }
  void storeVector(mlir::Value vector, mlir::Value memref, mlir::ValueRange indices) {
    mlir::vector::StoreOp::create(b, loc, vector, memref, indices);
  }
  mlir::Value addF(mlir::Value lhs, mlir::Value rhs) { return mlir::arith::AddFOp::create(b, loc, lhs, rhs); }
  mlir::Value mulF(mlir::Value lhs, mlir::Value rhs) { return mlir::arith::MulFOp::create(b, loc, lhs, rhs); }
  mlir::Value shiftRight(mlir::Value lhs, mlir::Value rhs) { return mlir::arith::ShRUIOp::create(b, loc, lhs, rhs); }
  mlir::Value shiftLeft(mlir::Value lhs, mlir::Value rhs) { return mlir::arith::ShLIOp::create(b, loc, lhs, rhs); }

  /// Lanes `[first, first + count)`.
  mlir::Value slice(mlir::Value vector, int64_t first, int64_t count) {
    if (count == llvm::cast<mlir::VectorType>(vector.getType()).getNumElements())
      return vector;
    return mlir::vector::ExtractStridedSliceOp::create(b, loc, vector, first, count, 1);
  }

  /// Combines lanes `i` and `i + n/2` of `n`, until one is left.
  mlir::Value reduce(mlir::Value vector, llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine) {
    for (int64_t half = kFloatLanes / 2; half > 0; half /= 2)
      vector = combine(slice(vector, 0, half), slice(vector, half, half));
    return mlir::vector::ExtractOp::create(b, loc, vector, 0);
  }

  /// The greater float of each lane; the first one where they compare unordered.
  mlir::Value greater(mlir::Value lhs, mlir::Value rhs) {
    mlir::Value isGreater = mlir::arith::CmpFOp::create(b, loc, mlir::arith::CmpFPredicate::OGT, rhs, lhs);
    return mlir::arith::SelectOp::create(b, loc, isGreater, rhs, lhs);
  }

  /// A mask of the first `count` of 16 lanes.
  mlir::Value mask(int64_t count) {
    llvm::SmallVector<bool> lanes(kFloatLanes, false);
    std::fill_n(lanes.begin(), count, true);
    auto type = mlir::VectorType::get(kFloatLanes, b.getI1Type());
    return mlir::arith::ConstantOp::create(b, loc, mlir::DenseElementsAttr::get(type, lanes));
  }
};

} // namespace elutq::hlq

#endif // ELUTQ_LIB_CONVERSION_HLQTOVECTOR_VECTOREMITTER_H
