//===- NodeNames.h - The model's names in locations -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_DIALECT_HLQ_TRANSFORMS_NODENAMES_H
#define ELUTQ_LIB_DIALECT_HLQ_TRANSFORMS_NODENAMES_H

#include "mlir/IR/Location.h"

namespace elutq::hlq {

/// Calls `callback` for the names in `loc`: those of nodes of the model.
inline void forEachName(mlir::Location loc, llvm::function_ref<void(llvm::StringRef)> callback) {
  loc->walk([&](mlir::Location inner) {
    if (auto name = llvm::dyn_cast<mlir::NameLoc>(inner))
      callback(name.getName().getValue());
    return mlir::WalkResult::advance();
  });
}

} // namespace elutq::hlq

#endif // ELUTQ_LIB_DIALECT_HLQ_TRANSFORMS_NODENAMES_H
