//===- QuantizedConstant.cpp - Constants of DequantizeLinear --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/QuantizedConstant.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Quantize/Float16.h"
#include "elutq/Support/ConstantData.h"
#include "llvm/Support/FormatVariadic.h"
#include <cstring>

using namespace mlir;

namespace elutq::normalize {

float readFloat(const char *data, Type type, int64_t index) {
  if (type.isF32()) {
    float number;
    std::memcpy(&number, data + 4 * index, 4);
    return number;
  }
  uint16_t number;
  std::memcpy(&number, data + 2 * index, 2);
  return type.isF16() ? quantize::halfToFloat(number) : quantize::bfloatToFloat(number);
}

std::optional<Codes> Codes::get(Value value) {
  ElementsAttr attribute = getConstant(value);
  auto element = attribute ? dyn_cast<IntegerType>(attribute.getElementType()) : IntegerType();
  if (!element || (element.getWidth() != 2 && element.getWidth() != 4 && element.getWidth() != 8))
    return std::nullopt;
  Codes result;
  result.bits = element.getWidth();
  result.isSigned = !element.isUnsigned();
  if (auto dense = dyn_cast<DenseElementsAttr>(attribute)) {
    result.bytes = dense.getRawData();
    result.isSplat = dense.isSplat();
    return result;
  }
  auto resource = dyn_cast<DenseResourceElementsAttr>(attribute);
  const AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
  // A blob that was elided when the IR was printed is absent; a hostile one has another size.
  if (!blob || blob->getData().size() != llvm::divideCeil<uint64_t>(attribute.getNumElements(), 8 / result.bits))
    return std::nullopt;
  result.bytes = blob->getData();
  result.isPacked = true;
  return result;
}

std::optional<QuantizedConstant> QuantizedConstant::get(onnx::DequantizeLinearOp op) {
  QuantizedConstant result;
  std::optional<Codes> codes = Codes::get(op.getX());
  std::optional<ConstantData> scales = getConstantData(op.getXScale());
  if (!codes || !scales || !isa<Float32Type, Float16Type, BFloat16Type>(scales->getType().getElementType()))
    return std::nullopt;
  result.codes = *codes;
  result.type = cast<RankedTensorType>(op.getX().getType());
  result.scaleType = scales->getType().getElementType();
  result.scales = scales->bytes;
  result.isSplat = scales->isSplat;
  result.numScales = scales->getType().getNumElements();
  ArrayRef<int64_t> shape = result.type.getShape(), scaleShape = scales->getType().getShape();
  int64_t rank = shape.size();
  result.axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), rank);
  if (result.numScales != 1) {
    if (result.axis < 0 || result.axis >= rank)
      return std::nullopt;
    SmallVector<int64_t> expected{shape[result.axis]};
    if ((result.blocked = op.getBlockSize() > 0)) {
      result.block = op.getBlockSize();
      result.blocks = llvm::divideCeil(shape[result.axis], result.block);
      expected.assign(shape.begin(), shape.end());
      expected[result.axis] = result.blocks;
    }
    if (scaleShape != ArrayRef(expected))
      return std::nullopt;
    for (int64_t i = result.axis + 1; i < rank; ++i)
      result.inner *= shape[i];
  }
  if (!isAbsent(op.getXZeroPoint())) {
    result.zeroPoints = Codes::get(op.getXZeroPoint());
    if (!result.zeroPoints || result.zeroPoints->getBits() != result.getBits() ||
        cast<ShapedType>(op.getXZeroPoint().getType()).getShape() != scaleShape)
      return std::nullopt;
  }
  return result;
}

LogicalResult foldDequantize(RewriterBase &rewriter, onnx::DequantizeLinearOp op) {
  std::optional<QuantizedConstant> constant = QuantizedConstant::get(op);
  auto type = getStaticType(op.getY());
  if (!constant || !type)
    return rewriter.notifyMatchFailure(op, "integers of less than 8 bits are supported as constants of static shape only");
  bool isHalf = type.getElementType().isF16();
  if (!isHalf && !type.getElementType().isF32())
    return rewriter.notifyMatchFailure(op, "results of constants are supported in f32 and f16 only");
  // Scales make the floats as much as codes do.
  std::optional<ConstantData> scales = getConstantData(op.getXScale());
  std::string suffix = llvm::formatv(".floats.{0}.{1}.{2}", constant->getAxis().value_or(-1), constant->getBlock(), scales->getKey()).str();
  llvm::Expected<Value> floats = deriveConstant(rewriter, op.getLoc(), op.getX(), suffix, type, [&](char *to) {
    for (int64_t i = 0, e = type.getNumElements(); i < e; ++i) {
      float number = constant->dequantize(i);
      uint16_t half = quantize::floatToHalf(number);
      std::memcpy(to + (isHalf ? 2 : 4) * i, isHalf ? static_cast<const void *>(&half) : &number, isHalf ? 2 : 4);
    }
  });
  if (!floats)
    return rewriter.notifyMatchFailure(op, "no memory for its floats: " + llvm::toString(floats.takeError()));
  rewriter.replaceOp(op, *floats);
  return success();
}

} // namespace elutq::normalize
