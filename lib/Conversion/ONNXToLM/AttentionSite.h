//===- AttentionSite.h - An attention op of a model -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLM_ATTENTIONSITE_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLM_ATTENTIONSITE_H

#include "SymbolicIndex.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringRef.h"

namespace elutq::normalize {

/// What one attention op of the model computes, whichever operator spells it.
struct AttentionSite {
  mlir::Operation *op = nullptr;
  /// Keys and values of the past, arguments of the function.
  mlir::BlockArgument pastKey, pastValue;
  /// Keys and values with the new ones, or null.
  mlir::Value presentKey, presentValue;
  /// Of caches of fixed size, which TensorScatter writes into: where it begins, for keys and for values; else null.
  mlir::Value keyStart, valueStart;
  /// How many positions of such a cache are read, or null.
  mlir::Value validLength;
  /// The new rows: `[1, M, heads * size]` or `[1, heads, M, size]`. Key and value are null where the query packs all three.
  mlir::Value query, key, value;
  int64_t heads = 0, kvHeads = 0, headSize = 0;
  float scale = 0, softcap = 0;
  int64_t window = 0;
  /// Tables of a rotary embedding that the op does itself, or null.
  mlir::Value cos, sin;
  bool interleaved = false;
  /// Weights `[size]` of an RMS norm of each head of queries and keys, in front of the rotary embedding; null where there is none.
  mlir::Value queryNorm, keyNorm;
  mlir::FloatAttr normEpsilon;
};

/// An error at a node of the model, which it names.
mlir::InFlightDiagnostic emitNodeError(mlir::Operation *op);

/// The argument of the function that `value` is, but for its element type, or null.
mlir::BlockArgument findArgument(mlir::Value value);

/// Whether `op` is an attention op.
bool isAttention(mlir::Operation *op);

/// Reads all but the mask.
mlir::FailureOr<AttentionSite> matchAttention(mlir::Operation *op, int64_t rows);

/// Reads the mask and checks that it is causal, and that caches of fixed size are written and read at the position.
mlir::LogicalResult matchVisibility(AttentionSite &site, SymbolicEvaluator &evaluator, int64_t rows);

/// What an entry point hands to its attention ops.
struct EntryContext {
  mlir::Value position, count;
  int64_t rows = 0;
  int64_t maxContext = 0;
  /// Rows that rotary tables get, so that a read of `rows` from any position stays inside.
  int64_t tableRows = 0;
};

/// A cache, followed by its scales if it is of i8.
using Cache = llvm::SmallVector<mlir::Value, 2>;

/// The caches of one attention op, before or after the new rows.
struct SiteCaches {
  Cache key, value;
};

/// Replaces the attention op by ops of the lm dialect on the caches.
mlir::FailureOr<SiteCaches> rewriteAttention(mlir::OpBuilder &builder, const AttentionSite &site, const EntryContext &entry,
                                             const SiteCaches &caches);

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLM_ATTENTIONSITE_H
