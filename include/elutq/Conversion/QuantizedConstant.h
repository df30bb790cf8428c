//===- QuantizedConstant.h - Constants of DequantizeLinear ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_QUANTIZEDCONSTANT_H
#define ELUTQ_CONVERSION_QUANTIZEDCONSTANT_H

#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/IR/PatternMatch.h"

namespace elutq::normalize {

/// Element `index` of f32, f16 or bf16 data.
float readFloat(const char *data, mlir::Type type, int64_t index);

/// Constant integers of 2, 4 or 8 bits. Signed ones are raised by half of their range, so that all are codes from 0 on.
class Codes {
public:
  /// None where `value` is no such constant.
  static std::optional<Codes> get(mlir::Value value);

  unsigned getBits() const { return bits; }
  /// What the number 0 is as a code.
  uint8_t getZero() const { return isSigned ? 1 << (bits - 1) : 0; }
  uint8_t operator[](int64_t index) const {
    // Elements of less than a byte are packed in resources, the first one in the lowest bits, and have a byte each elsewhere.
    int64_t perByte = isPacked ? 8 / bits : 1;
    uint8_t byte = isSplat ? bytes[0] : bytes[index / perByte];
    uint8_t number = byte >> (index % perByte * bits) & ((1 << bits) - 1);
    return number ^ getZero();
  }

private:
  llvm::ArrayRef<char> bytes;
  unsigned bits = 0;
  bool isSigned = false, isPacked = false, isSplat = false;
};

/// A DequantizeLinear of constants: `y = (code - zero point) * scale`, with a scale per tensor, per slice along `axis`, or per block of it.
class QuantizedConstant {
public:
  /// None where an operand is not constant, has other types, or has a shape that does not belong to the others'.
  static std::optional<QuantizedConstant> get(onnx::DequantizeLinearOp op);

  mlir::RankedTensorType getType() const { return type; }
  unsigned getBits() const { return codes.getBits(); }
  /// The axis along which scales differ, from 0 on; none where there is one scale.
  std::optional<int64_t> getAxis() const { return numScales > 1 ? std::optional<int64_t>(axis) : std::nullopt; }
  /// Elements along `axis` that share a scale.
  int64_t getBlock() const { return block; }
  /// Whether there is a scale for each block along `axis` of each slice across it, not for each slice along it.
  bool isBlocked() const { return blocked; }
  bool hasZeroPoints() const { return zeroPoints.has_value(); }

  /// The code of element `index` in the order of rows.
  uint8_t getCode(int64_t index) const { return codes[index]; }
  uint8_t getZeroPoint(int64_t index) const { return zeroPoints ? (*zeroPoints)[getParameter(index)] : codes.getZero(); }
  float getScale(int64_t index) const { return readFloat(scales.data(), scaleType, isSplat ? 0 : getParameter(index)); }

  float dequantize(int64_t index) const { return static_cast<float>(getCode(index) - getZeroPoint(index)) * getScale(index); }

private:
  int64_t getParameter(int64_t index) const {
    if (numScales == 1)
      return 0;
    int64_t position = index / inner % type.getDimSize(axis), outer = index / inner / type.getDimSize(axis);
    return blocked ? (outer * blocks + position / block) * inner + index % inner : position;
  }

  Codes codes;
  std::optional<Codes> zeroPoints;
  llvm::ArrayRef<char> scales;
  mlir::RankedTensorType type;
  mlir::Type scaleType;
  int64_t axis = 0, block = 1, blocks = 1, inner = 1, numScales = 1;
  bool blocked = false, isSplat = false;
};

/// Replaces `op` by a constant of its floats: differences of codes are exact, products are rounded once. Fails, with a reason, where an operand
/// is not constant or results are neither f32 nor f16.
mlir::LogicalResult foldDequantize(mlir::RewriterBase &rewriter, onnx::DequantizeLinearOp op);

} // namespace elutq::normalize

#endif // ELUTQ_CONVERSION_QUANTIZEDCONSTANT_H
