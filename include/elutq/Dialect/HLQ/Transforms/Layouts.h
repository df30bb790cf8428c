//===- Layouts.h - Layouts as attributes ------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_TRANSFORMS_LAYOUTS_H
#define ELUTQ_DIALECT_HLQ_TRANSFORMS_LAYOUTS_H

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Quantize/Packing.h"

namespace elutq::hlq {

/// Where `hlq-select-kernel` leaves its decisions.
inline constexpr llvm::StringLiteral kernelAttrName = "hlq.kernel";
inline constexpr llvm::StringLiteral layoutAttrName = "hlq.layout";

/// The arithmetic of a layout attribute.
inline quantize::PackedLayout getPackedLayout(LayoutAttr attr) {
  quantize::PackedLayout layout;
  layout.lane = static_cast<quantize::PackedLayout::Lane>(attr.getLane());
  layout.rows = attr.getRows();
  layout.bits = attr.getBits();
  layout.groupSize = attr.getGroupSize();
  layout.params = static_cast<quantize::PackedLayout::Params>(attr.getParams());
  layout.paramBytes = attr.getParamType().getIntOrFloatBitWidth() / 8;
  return layout;
}

} // namespace elutq::hlq

#endif // ELUTQ_DIALECT_HLQ_TRANSFORMS_LAYOUTS_H
