//===- SmallFloats.cpp - Floats of 8 and 4 bits ---------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// No processor that this compiler knows computes with them, and each has at most 256 values: tables say what a code is, and from which
// f32 on a number is rounded to it.
//
//===----------------------------------------------------------------------===//

#include "Scalars.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <limits>

using namespace mlir;

namespace elutq::normalize {

/// The number that the bits `code` of a type are.
static float decodeCode(FloatType type, uint64_t code) {
  llvm::APFloat number(type.getFloatSemantics(), llvm::APInt(type.getWidth(), code));
  // Each is exact in f32, but an exponent of the type may be out of the range of normal numbers there. A NaN of powers of two has no
  // bits that would make it one.
  return number.isNaN() ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(number.convertToDouble());
}

static Value lookUp(ScalarBuilder &b, ArrayRef<float> table, Value index) {
  auto type = RankedTensorType::get({static_cast<int64_t>(table.size())}, b.getF32Type());
  Value constant = arith::ConstantOp::create(b, type, DenseElementsAttr::get(type, table));
  return tensor::ExtractOp::create(b, constant, ValueRange{arith::IndexCastUIOp::create(b, b.getIndexType(), index)});
}

Value decodeSmallFloat(ScalarBuilder &b, Value bits, FloatType type) {
  SmallVector<float> numbers;
  for (uint64_t code = 0; code < uint64_t(1) << type.getWidth(); ++code)
    numbers.push_back(decodeCode(type, code));
  return lookUp(b, numbers, bits);
}

namespace {
/// The codes of the magnitudes of a type, which ascend as their numbers do.
struct Magnitudes {
  explicit Magnitudes(FloatType type) {
    isPower = isa<Float8E8M0FNUType>(type);
    unsigned width = type.getWidth() - !isPower;
    for (uint64_t code = 0; code < uint64_t(1) << width; ++code)
      if (float number = decodeCode(type, code); std::isfinite(number))
        finite.push_back(number);
    const llvm::fltSemantics &semantics = type.getFloatSemantics();
    hasNegativeZero = !isPower && decodeCode(type, uint64_t(1) << width) == 0;
    // Without a code for it, a NaN becomes -0, as in ml_dtypes; types without -0 have it there.
    bool isSmallest = isa<Float4E2M1FNType>(type);
    nan = isPower || (hasNegativeZero && !isSmallest) ? (uint64_t(1) << width) - 1 : uint64_t(1) << width;
    infinity = llvm::APFloat::semanticsHasInf(semantics) ? llvm::APFloat::getInf(semantics).bitcastToAPInt().getZExtValue()
               : isSmallest                              ? finite.size() - 1
                                                         : nan;
  }

  /// The least f32 that is rounded to code `i` or a greater one; beyond the greatest finite number, as if there were one more.
  float getThreshold(uint64_t i, Rounding rounding) const {
    float below = finite[i - 1];
    float above = i < finite.size() ? finite[i] : isPower ? std::ldexp(below, 1) : below + (below - finite[i - 2]);
    if (rounding == Rounding::Up)
      return std::nextafter(below, std::numeric_limits<float>::infinity());
    if (rounding == Rounding::Down)
      return above;
    float middle = below + (above - below) / 2;
    return isPower || i % 2 == 0 ? middle : std::nextafter(middle, std::numeric_limits<float>::infinity());
  }

  SmallVector<float> finite;
  uint64_t nan, infinity;
  bool isPower, hasNegativeZero;
};
} // namespace

Value encodeSmallFloat(ScalarBuilder &b, Value number, FloatType type, bool saturates, Rounding rounding) {
  Magnitudes magnitudes(type);
  uint64_t count = magnitudes.finite.size();
  // As many as a search in halves looks at; no number reaches a NaN.
  SmallVector<float> thresholds;
  for (uint64_t i = 1; i <= count; ++i)
    thresholds.push_back(magnitudes.getThreshold(i, rounding));
  uint64_t size = llvm::PowerOf2Ceil(count + 1);
  thresholds.resize(size - 1, std::numeric_limits<float>::quiet_NaN());

  Type i32 = b.getI32Type();
  auto integer = [&](uint64_t value) -> Value { return arith::ConstantOp::create(b, i32, b.getI32IntegerAttr(static_cast<int32_t>(value))); };
  Value magnitude = math::AbsFOp::create(b, number), code = integer(0);
  for (uint64_t step = size / 2; step > 0; step /= 2) {
    Value threshold = lookUp(b, thresholds, arith::AddIOp::create(b, code, integer(step - 1)));
    Value reached = arith::CmpFOp::create(b, arith::CmpFPredicate::OGE, magnitude, threshold);
    code = arith::AddIOp::create(b, code, arith::SelectOp::create(b, reached, integer(step), integer(0)));
  }
  Value overflows = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, code, integer(count));
  Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, number, number);
  Value bits = arith::BitcastOp::create(b, i32, number);
  Value isNegative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, bits, integer(0));
  code = arith::SelectOp::create(b, overflows, integer(saturates ? count - 1 : magnitudes.infinity), code);
  if (magnitudes.isPower) {
    isNaN = arith::OrIOp::create(b, isNaN, arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, number, constant(b, number.getType(), 0.0)));
  } else {
    Value sign = integer(uint64_t(1) << (type.getWidth() - 1));
    if (!magnitudes.hasNegativeZero)
      isNegative = arith::AndIOp::create(b, isNegative, arith::CmpIOp::create(b, arith::CmpIPredicate::ne, code, integer(0)));
    code = arith::OrIOp::create(b, code, arith::SelectOp::create(b, isNegative, sign, integer(0)));
  }
  code = arith::SelectOp::create(b, isNaN, integer(magnitudes.nan), code);
  return arith::TruncIOp::create(b, b.getIntegerType(type.getWidth()), code);
}

} // namespace elutq::normalize
