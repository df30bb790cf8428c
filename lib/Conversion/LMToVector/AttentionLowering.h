//===- AttentionLowering.h - Shared by the lowerings of attention -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_LMTOVECTOR_ATTENTIONLOWERING_H
#define ELUTQ_LIB_CONVERSION_LMTOVECTOR_ATTENTIONLOWERING_H

#include "LMLowering.h"

namespace elutq::lm {

/// Largest score and sum of exponentials of what a row has seen, and the factors that merging applies to the two weighted sums.
struct Merged {
  mlir::Value max, sum, oldFactor, partFactor;
};

/// Merges a part into what came before it: the formula of lm.attention.
Merged emitMerge(Emitter &emit, mlir::Value max, mlir::Value sum, mlir::Value partMax, mlir::Value partSum);

/// The largest score of no position at all.
mlir::Value emitLowestScore(Emitter &emit);

/// The parts of slot number `slot` of `slots`: from the first of the pair to before the second, of `parts` that the row sees.
std::pair<mlir::Value, mlir::Value> emitRun(Emitter &emit, mlir::Value slot, int64_t slots, mlir::Value parts);

/// The first position that the row before position `upper` sees.
mlir::Value emitLower(Emitter &emit, mlir::Value upper, int64_t window);

/// Numbers of the first part and behind the last part with positions in [lower, upper).
std::pair<mlir::Value, mlir::Value> emitParts(Emitter &emit, mlir::Value lower, mlir::Value upper, int64_t part);

/// The operands and constants of lm.attention or lm.attention_parts.
struct AttentionEmitter : Emitter {
  mlir::Value query, key, value, position, keyScales, valueScales;
  float scale, softcap;
  int64_t window, part, kvHeads, group, capacity, headSize;

  template <typename OpTy>
  AttentionEmitter(mlir::OpBuilder &builder, OpTy op)
      : Emitter{builder, op.getLoc()}, query(op.getQuery()), key(op.getKey()), value(op.getValue()),
        position(op.getPosition()), scale(op.getScale().convertToFloat()), softcap(op.getSoftcap().convertToFloat()),
        window(op.getWindow()), part(op.getPart()) {
    auto queryType = llvm::cast<mlir::MemRefType>(query.getType()), keyType = llvm::cast<mlir::MemRefType>(key.getType());
    kvHeads = keyType.getDimSize(0);
    group = queryType.getDimSize(1) / kvHeads;
    capacity = keyType.getDimSize(1) * kKeyBlock;
    headSize = keyType.getDimSize(2);
    if (!op.getScales().empty()) {
      keyScales = op.getScales()[0];
      valueScales = op.getScales()[1];
    }
  }

  /// The first position that row `m` does not see.
  mlir::Value emitUpper(mlir::Value m) { return add(add(position, m), index(1)); }
  /// What follows the dot product: `scales` is null for caches without.
  mlir::Value emitScore(mlir::Value dot, mlir::Value scales);
};

} // namespace elutq::lm

#endif // ELUTQ_LIB_CONVERSION_LMTOVECTOR_ATTENTIONLOWERING_H
