//===- StepRows.h - What a step that fills no chunk needs -------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TRANSFORMS_STEPROWS_H
#define ELUTQ_LIB_TRANSFORMS_STEPROWS_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"

#include <optional>

namespace elutq {

/// A dimension of a value, or a loop of an op, that goes through the rows of a step: an index is `rows` of them.
struct RowDim {
  int64_t dim, rows;
  bool operator==(const RowDim &other) const { return dim == other.dim && rows == other.rows; }
  bool operator!=(const RowDim &other) const { return !(*this == other); }
};

/// Finds, backwards from the results of an entry, which ops compute one row of a step after the other, so that those from
/// `count` on are in vain: caches take `count` rows, the logits are those of row `count - 1`. What mixes rows, or is not
/// known, needs all of them.
class StepRows {
public:
  /// An empty block, or one in which no `lm.cache_append` says how many rows there are, has no such ops.
  explicit StepRows(mlir::Block &entry);

  /// How many rows the step has, or null.
  mlir::Value getCount() const { return count; }

  /// The loop of `op`, in the order of its `TilingInterface`, whose iterations behind the rows of the step are in vain.
  std::optional<RowDim> getRowLoop(mlir::Operation *op) const {
    auto found = rowLoops.find(op);
    return found == rowLoops.end() ? std::nullopt : std::optional(found->second);
  }

private:
  /// The rows that the users of a value need: those of the step, or all.
  using Use = std::optional<RowDim>;

  void visit(mlir::Operation *op);
  /// What `op` needs of its operands, in their order.
  llvm::SmallVector<Use> getOperandUses(mlir::Operation *op);
  /// The common use of all results that are used.
  Use getResultUse(mlir::Operation *op) const;
  /// Whether `number` is that of the last row.
  bool isLastRow(mlir::OpFoldResult number) const;
  void addUse(mlir::Value value, Use use);

  mlir::Value count;
  llvm::DenseMap<mlir::Value, Use> uses;
  llvm::DenseMap<mlir::Operation *, RowDim> rowLoops;
};

} // namespace elutq

#endif // ELUTQ_LIB_TRANSFORMS_STEPROWS_H
