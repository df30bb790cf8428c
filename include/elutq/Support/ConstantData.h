//===- ConstantData.h - The bytes of constants ------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_CONSTANTDATA_H
#define ELUTQ_SUPPORT_CONSTANTDATA_H

#include "elutq/Support/SpillBuffer.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

namespace elutq {

/// The bytes of a constant, row by row, without a copy.
struct ConstantData {
  mlir::ElementsAttr attribute;
  /// One element if `isSplat`, all of them otherwise.
  llvm::ArrayRef<char> bytes;
  bool isSplat;

  mlir::ShapedType getType() const { return attribute.getShapedType(); }
  /// The key of the resource; empty for other constants.
  llvm::StringRef getKey() const;
};

/// The bytes of a dense constant or resource with elements of whole bytes; none for anything else.
std::optional<ConstantData> getConstantData(mlir::Attribute attribute);

/// The same for the value of an op that produces a constant.
std::optional<ConstantData> getConstantData(mlir::Value value);

/// All bytes of `data`; a splat is written out into `storage`.
llvm::ArrayRef<char> expandSplat(const ConstantData &data, llvm::SmallVectorImpl<char> &storage);

/// A constant whose storage is `buffer`: a resource named `key`, made unique.
mlir::TypedAttr createResourceAttr(mlir::RankedTensorType type, llvm::StringRef key, SpillBuffer buffer);

} // namespace elutq

#endif // ELUTQ_SUPPORT_CONSTANTDATA_H
