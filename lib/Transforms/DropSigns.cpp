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

IntegerType dropSign(IntegerType type) { return IntegerType::get(type.getContext(), type.getWidth()); }

struct DropSigns : elutq::impl::DropSignsPassBase<DropSigns> {
  using DropSignsPassBase::DropSignsPassBase;

  void runOnOperation() override {
    AttrTypeReplacer replacer;
    replacer.addReplacement([](IntegerType type) { return dropSign(type); });
    auto retype = [](ShapedType type) {
      return type.clone(dropSign(cast<IntegerType>(type.getElementType())));
    };
    replacer.addReplacement([&](DenseElementsAttr attr) -> std::pair<Attribute, WalkResult> {
      auto type = dyn_cast<IntegerType>(attr.getElementType());
      if (!type || type.isSignless())
        return {attr, WalkResult::skip()};
      return {attr.bitcast(dropSign(type)), WalkResult::skip()};
    });
    replacer.addReplacement([&](DenseResourceElementsAttr attr) -> std::pair<Attribute, WalkResult> {
      auto type = dyn_cast<IntegerType>(attr.getElementType());
      // The translation to LLVM IR knows no resource of booleans, which are bytes.
      const AsmResourceBlob *blob = attr.getRawHandle().getBlob();
      if (type && type.getWidth() == 1 && blob) {
        SmallVector<bool> bits(llvm::map_range(blob->getData(), [](char byte) { return byte != 0; }));
        return {DenseElementsAttr::get(attr.getType(), bits), WalkResult::skip()};
      }
      if (!type || type.isSignless())
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
