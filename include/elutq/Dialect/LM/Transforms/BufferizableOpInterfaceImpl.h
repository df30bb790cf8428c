//===- BufferizableOpInterfaceImpl.h - Bufferization of the lm ops *- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_LM_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
#define ELUTQ_DIALECT_LM_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace elutq::lm {

/// Makes one-shot-bufferize understand the lm ops.
void registerBufferizableOpInterfaceExternalModels(mlir::DialectRegistry &registry);

} // namespace elutq::lm

#endif // ELUTQ_DIALECT_LM_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
