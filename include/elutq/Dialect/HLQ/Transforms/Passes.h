//===- Passes.h - Passes on the hlq dialect ---------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_TRANSFORMS_PASSES_H
#define ELUTQ_DIALECT_HLQ_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace elutq::hlq {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "elutq/Dialect/HLQ/Transforms/Passes.h.inc"

} // namespace elutq::hlq

#endif // ELUTQ_DIALECT_HLQ_TRANSFORMS_PASSES_H
