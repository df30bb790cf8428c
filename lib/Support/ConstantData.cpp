//===- ConstantData.cpp - The bytes of constants --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/ConstantData.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace elutq {

StringRef ConstantData::getKey() const {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attribute))
    return resource.getRawHandle().getKey();
  return {};
}

std::optional<ConstantData> getConstantData(Attribute attribute) {
  auto elements = dyn_cast_or_null<ElementsAttr>(attribute);
  if (!elements || !elements.getElementType().isIntOrFloat())
    return std::nullopt;
  unsigned width = elements.getElementType().getIntOrFloatBitWidth();
  if (width % 8 != 0)
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(attribute))
    return ConstantData{elements, dense.getRawData(), dense.isSplat()};
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attribute)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    // A blob that was elided when the IR was printed is absent; a hostile one has another size.
    if (!blob || static_cast<int64_t>(blob->getData().size()) != elements.getNumElements() * (width / 8))
      return std::nullopt;
    return ConstantData{elements, blob->getData(), /*isSplat=*/false};
  }
  return std::nullopt;
}

std::optional<ConstantData> getConstantData(Value value) {
  Attribute attribute;
  if (!value || !matchPattern(value, m_Constant(&attribute)))
    return std::nullopt;
  return getConstantData(attribute);
}

ArrayRef<char> expandSplat(const ConstantData &data, SmallVectorImpl<char> &storage) {
  if (!data.isSplat)
    return data.bytes;
  storage.clear();
  for (int64_t i = 0, e = data.attribute.getNumElements(); i < e; ++i)
    llvm::append_range(storage, data.bytes);
  return storage;
}

TypedAttr createResourceAttr(RankedTensorType type, StringRef key, SpillBuffer buffer) {
  Attribute attribute = DenseResourceElementsAttr::get(type, key, std::move(buffer).takeBlob());
  return cast<TypedAttr>(attribute);
}

} // namespace elutq
