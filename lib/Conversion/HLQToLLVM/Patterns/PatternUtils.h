//===- PatternUtils.h - Vectors in pieces ----------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_HLQTOLLVM_PATTERNS_PATTERNUTILS_H
#define ELUTQ_LIB_CONVERSION_HLQTOLLVM_PATTERNS_PATTERNUTILS_H

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/PatternMatch.h"

#include <array>

namespace elutq::hlq {

/// Emits the vector operations that the patterns have in common.
struct PieceEmitter {
  mlir::OpBuilder &b;
  mlir::Location loc;

  static int64_t getLanes(mlir::Value vector) {
    return llvm::cast<mlir::VectorType>(vector.getType()).getNumElements();
  }
  mlir::VectorType getType(int64_t lanes, unsigned width) {
    return mlir::VectorType::get(lanes, b.getIntegerType(width));
  }
  mlir::Value splat(mlir::VectorType type, int64_t value) {
    return mlir::arith::ConstantOp::create(
        b, loc, mlir::DenseElementsAttr::get(type, b.getIntegerAttr(type.getElementType(), value)));
  }
  mlir::Value slice(mlir::Value vector, int64_t first, int64_t count) {
    if (count == getLanes(vector))
      return vector;
    return mlir::vector::ExtractStridedSliceOp::create(b, loc, vector, first, count, 1);
  }

  /// `vector` repeated until it has `lanes` lanes.
  mlir::Value repeat(mlir::Value vector, int64_t lanes) {
    int64_t count = getLanes(vector);
    if (count == lanes)
      return vector;
    llvm::SmallVector<int64_t> mask;
    for (int64_t i = 0; i < lanes; ++i)
      mask.push_back(i % count);
    return mlir::vector::ShuffleOp::create(b, loc, vector, vector, mask);
  }

  /// `body` of each `lanes` lanes from lane `first` on, put together to a vector of `type`.
  mlir::Value inPieces(mlir::VectorType type, int64_t lanes, llvm::function_ref<mlir::Value(int64_t first)> body) {
    if (lanes == type.getNumElements())
      return body(0);
    mlir::Value result = splat(type, 0);
    for (int64_t first = 0; first < type.getNumElements(); first += lanes)
      result = mlir::vector::InsertStridedSliceOp::create(b, loc, body(first), result, first, 1);
    return result;
  }

  /// A 64-entry table as four of 16: `lookup` finds the low four bits of the indices in one of them. The parts are
  /// selected by the other two bits.
  mlir::Value inQuarters(mlir::Value table, mlir::Value indices,
                         llvm::function_ref<mlir::Value(mlir::Value table, mlir::Value indices)> lookup) {
    mlir::VectorType type = getType(getLanes(indices), 8);
    mlir::Value low = mlir::arith::AndIOp::create(b, loc, indices, splat(type, 15)), result;
    for (int64_t quarter = 3; quarter >= 0; --quarter) {
      mlir::Value part = lookup(slice(table, 16 * quarter, 16), low);
      if (quarter == 3) {
        result = part;
        continue;
      }
      mlir::Value isHere = mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::ult, indices,
                                                       splat(type, 16 * (quarter + 1)));
      result = mlir::arith::SelectOp::create(b, loc, isHere, part, result);
    }
    return result;
  }

  /// The even, then the odd lanes of `codes`, zero-extended, and of `bytes`, sign-extended, as words in their places.
  std::array<std::pair<mlir::Value, mlir::Value>, 2> widenInPlace(mlir::Value codes, mlir::Value bytes) {
    using namespace mlir::arith;
    mlir::VectorType wordsType = getType(getLanes(codes) / 2, 16);
    mlir::Value eight = splat(wordsType, 8);
    codes = mlir::vector::BitCastOp::create(b, loc, wordsType, codes);
    bytes = mlir::vector::BitCastOp::create(b, loc, wordsType, bytes);
    mlir::Value evenCodes = AndIOp::create(b, loc, codes, splat(wordsType, 255));
    mlir::Value oddCodes = ShRUIOp::create(b, loc, codes, eight);
    mlir::Value evenBytes = ShRSIOp::create(b, loc, ShLIOp::create(b, loc, bytes, eight), eight);
    mlir::Value oddBytes = ShRSIOp::create(b, loc, bytes, eight);
    return {{{evenCodes, evenBytes}, {oddCodes, oddBytes}}};
  }

  mlir::Value call(llvm::StringRef intrinsic, mlir::Type type, mlir::ValueRange operands) {
    return mlir::LLVM::CallIntrinsicOp::create(b, loc, type, b.getStringAttr(intrinsic), operands).getResult(0);
  }
};

} // namespace elutq::hlq

#endif // ELUTQ_LIB_CONVERSION_HLQTOLLVM_PATTERNS_PATTERNUTILS_H
