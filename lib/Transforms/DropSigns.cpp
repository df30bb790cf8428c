//===- DropSigns.cpp - Signless integers in place of unsigned ones --------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/DialectResourceBlobManager.h"

namespace elutq {
#define GEN_PASS_DEF_DROPSIGNSPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

IntegerType dropSign(Type type) { return IntegerType::get(type.getContext(), type.getIntOrFloatBitWidth()); }

/// Whether elements of `type` become signless integers: unsigned integers, and floats of up to 8 bits.
bool isDropped(Type type) {
  return (isa<FloatType>(type) && type.getIntOrFloatBitWidth() <= 8) || type.isUnsignedInteger();
}

/// Elements of less than a byte, a byte each.
DenseElementsAttr unpack(DenseResourceElementsAttr attr, ArrayRef<char> packed) {
  unsigned width = attr.getElementType().getIntOrFloatBitWidth();
  SmallVector<APInt> numbers;
  for (int64_t i = 0, e = attr.getNumElements(), perByte = 8 / width; i < e; ++i)
    numbers.emplace_back(width, static_cast<uint8_t>(packed[i / perByte]) >> (i % perByte * width) & ((1 << width) - 1));
  return DenseElementsAttr::get(cast<ShapedType>(attr.getType().clone(dropSign(attr.getElementType()))), numbers);
}

struct DropSigns : elutq::impl::DropSignsPassBase<DropSigns> {
  using DropSignsPassBase::DropSignsPassBase;

  void runOnOperation() override {
    AttrTypeReplacer replacer;
    replacer.addReplacement([](Type type) -> std::optional<Type> { return isDropped(type) ? std::optional<Type>(dropSign(type)) : std::nullopt; });
    auto retype = [](ShapedType type) { return type.clone(dropSign(type.getElementType())); };
    replacer.addReplacement([&](DenseElementsAttr attr) -> std::pair<Attribute, WalkResult> {
      Type type = attr.getElementType();
      return {isDropped(type) ? attr.bitcast(dropSign(type)) : attr, WalkResult::skip()};
    });
    replacer.addReplacement([&](DenseResourceElementsAttr attr) -> std::pair<Attribute, WalkResult> {
      Type type = attr.getElementType();
      // The translation to LLVM IR knows no resource of booleans, which are bytes, nor of other elements of less than 8 bits.
      const AsmResourceBlob *blob = attr.getRawHandle().getBlob();
      if (type.isIntOrFloat() && type.getIntOrFloatBitWidth() < 8 && !type.isInteger(1) && blob)
        return {unpack(attr, blob->getData()), WalkResult::skip()};
      if (type.isInteger(1) && blob) {
        SmallVector<bool> bits(llvm::map_range(blob->getData(), [](char byte) { return byte != 0; }));
        return {DenseElementsAttr::get(attr.getType(), bits), WalkResult::skip()};
      }
      if (!isDropped(type))
        return {attr, WalkResult::skip()};
      return {DenseResourceElementsAttr::get(retype(attr.getType()), attr.getRawHandle()), WalkResult::skip()};
    });
    replacer.addReplacement([](IntegerAttr attr) -> std::pair<Attribute, WalkResult> {
      auto type = dyn_cast<IntegerType>(attr.getType());
      if (!type || type.isSignless())
        return {attr, WalkResult::skip()};
      return {IntegerAttr::get(dropSign(type), attr.getValue()), WalkResult::skip()};
    });
    replacer.recursivelyReplaceElementsIn(getOperation(), /*replaceAttrs=*/true, /*replaceLocs=*/false, /*replaceTypes=*/true);
    // What the patterns put between unsigned and signless numbers has one type now.
    getOperation()->walk([&](UnrealizedConversionCastOp cast) {
      if (cast.getInputs().getTypes() != cast.getOutputs().getTypes())
        return;
      cast.replaceAllUsesWith(cast.getInputs());
      cast.erase();
      ++numCasts;
    });
  }
};

} // namespace
