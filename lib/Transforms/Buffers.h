//===- Buffers.h - Where a buffer comes from --------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TRANSFORMS_BUFFERS_H
#define ELUTQ_LIB_TRANSFORMS_BUFFERS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace elutq {

/// Arguments of a planned entry, in order. `elutq-plan-memory` makes them, `elutq-outline-tasks` reads them.
enum EntryArgument : unsigned { Tokens, Count, Position, Arena, Weights, Cache, Result, NumEntryArguments };

/// Bytes at the start of the arena that hold what a call passes to its tasks.
constexpr int64_t kHeaderBytes = 64;
/// Alignment of all buffers.
constexpr int64_t kAlignment = 64;

/// Buffers inside loops up to this size live on the stack; larger ones are an error.
constexpr int64_t kStackBytes = 1 << 14;

/// Bytes of a static buffer; an element has whole bytes.
inline int64_t bufferBytes(mlir::ShapedType type) {
  mlir::Type element = type.getElementType();
  int64_t bits = element.isIndex() ? 64 : element.getIntOrFloatBitWidth();
  return type.getNumElements() * ((bits + 7) / 8);
}

/// The buffer that `value` is a view of.
inline mlir::Value rootBuffer(mlir::Value value) {
  while (auto view = value.getDefiningOp<mlir::ViewLikeOpInterface>())
    value = view.getViewSource();
  return value;
}

} // namespace elutq

#endif // ELUTQ_LIB_TRANSFORMS_BUFFERS_H
