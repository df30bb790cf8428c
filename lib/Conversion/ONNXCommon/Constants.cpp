//===- Constants.cpp - Reading constants of the onnx dialect --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "elutq/Support/ReleasePages.h"
#include "elutq/Support/SpillBuffer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>
#include <vector>

using namespace mlir;

namespace elutq::normalize {

bool isAbsent(Value value) { return !value || isa<NoneType>(value.getType()); }

ElementsAttr getConstant(Value value) {
  ElementsAttr attr;
  if (value && matchPattern(value, m_Constant(&attr)))
    return attr;
  return nullptr;
}

std::optional<ArrayRef<char>> getConstantBytes(Value value) {
  ElementsAttr attr = getConstant(value);
  if (auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(attr)) {
    if (const AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return blob->getData();
    return std::nullopt;
  }
  if (auto dense = dyn_cast_if_present<DenseElementsAttr>(attr); dense && !dense.isSplat())
    if (!dense.getElementType().isInteger(1))
      return dense.getRawData();
  return std::nullopt;
}

std::optional<SmallVector<int64_t>> getConstantInts(Value value, int64_t limit) {
  ElementsAttr attr = getConstant(value);
  if (!attr || !isa<IntegerType>(attr.getElementType()) || attr.getNumElements() > limit)
    return std::nullopt;
  auto type = cast<IntegerType>(attr.getElementType());
  SmallVector<int64_t> numbers;
  if (auto dense = dyn_cast<DenseIntElementsAttr>(attr)) {
    for (const APInt &number : dense.getValues<APInt>())
      numbers.push_back(type.isUnsigned() || type.getWidth() == 1 ? number.getZExtValue() : number.getSExtValue());
    return numbers;
  }
  std::optional<ArrayRef<char>> bytes = getConstantBytes(value);
  if (!bytes || (type.getWidth() != 32 && type.getWidth() != 64) ||
      static_cast<int64_t>(bytes->size()) != attr.getNumElements() * type.getWidth() / 8)
    return std::nullopt;
  for (int64_t i = 0; i < attr.getNumElements(); ++i) {
    if (type.getWidth() == 64) {
      int64_t number;
      std::memcpy(&number, bytes->data() + 8 * i, 8);
      numbers.push_back(number);
    } else {
      int32_t number;
      std::memcpy(&number, bytes->data() + 4 * i, 4);
      numbers.push_back(number);
    }
  }
  return numbers;
}

std::optional<double> getConstantNumber(Value value) {
  ElementsAttr attr = getConstant(value);
  if (!attr)
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    if (!dense.isSplat() && dense.getNumElements() != 1)
      return std::nullopt;
    if (isa<FloatType>(dense.getElementType())) {
      APFloat number = *dense.value_begin<APFloat>();
      bool losesInfo;
      number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
      return number.convertToDouble();
    }
    if (auto type = dyn_cast<IntegerType>(dense.getElementType())) {
      APInt number = *dense.value_begin<APInt>();
      return type.isUnsigned() || type.getWidth() == 1 ? static_cast<double>(number.getZExtValue())
                                                       : static_cast<double>(number.getSExtValue());
    }
    return std::nullopt;
  }
  if (attr.getNumElements() != 1)
    return std::nullopt;
  if (std::optional<SmallVector<int64_t>> ints = getConstantInts(value))
    return static_cast<double>(ints->front());
  if (attr.getElementType().isF32())
    if (std::optional<ArrayRef<char>> bytes = getConstantBytes(value); bytes && bytes->size() == 4) {
      float number;
      std::memcpy(&number, bytes->data(), 4);
      return number;
    }
  return std::nullopt;
}

llvm::Expected<Value> deriveConstant(OpBuilder &builder, Location loc, Value source, const Twine &suffix, RankedTensorType type,
                                     function_ref<void(char *)> write) {
  size_t size = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(getConstant(source));
  if (!resource) {
    std::vector<char> data(size);
    write(data.data());
    return Value(arith::ConstantOp::create(builder, loc, type, DenseElementsAttr::getFromRawBuffer(type, data)));
  }
  std::string key = (resource.getRawHandle().getKey() + suffix).str();
  llvm::Error error = llvm::Error::success();
  auto *dialect = builder.getContext()->getLoadedDialect<onnx::ONNXDialect>();
  DenseResourceElementsHandle handle = dialect->getOrCreateBlob(key, key, [&]() -> AsmResourceBlob {
    llvm::Expected<SpillBuffer> buffer = SpillBuffer::create(size);
    if (!buffer) {
      error = llvm::joinErrors(std::move(error), buffer.takeError());
      return AsmResourceBlob();
    }
    write(buffer->getData().data());
    releasePages(buffer->getData());
    return std::move(*buffer).takeBlob();
  });
  if (error)
    return std::move(error);
  return Value(arith::ConstantOp::create(builder, loc, type, DenseResourceElementsAttr::get(type, handle)));
}

Value getTransposedMatrix(Value value) {
  auto transposeOp = value.getDefiningOp<onnx::TransposeOp>();
  if (!transposeOp || !getConstant(transposeOp.getData()))
    return nullptr;
  std::optional<ArrayRef<int64_t>> perm = transposeOp.getPerm();
  auto type = getStaticType(transposeOp.getData());
  bool swaps = type && type.getRank() == 2 && (!perm || *perm == ArrayRef<int64_t>{1, 0});
  return swaps ? transposeOp.getData() : Value();
}

StringRef getNodeName(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location part : fused.getLocations())
      if (StringRef name = getNodeName(part); !name.empty())
        return name;
  return "";
}

RankedTensorType getStaticType(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type : nullptr;
}

int64_t getRank(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getRank() : -1;
}

} // namespace elutq::normalize
