//===- BufferizableOpInterfaceImpl.h - Bufferization of the hlq ops *- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
#define ELUTQ_DIALECT_HLQ_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace elutq::hlq {

/// Makes one-shot-bufferize understand the hlq ops.
void registerBufferizableOpInterfaceExternalModels(mlir::DialectRegistry &registry);

} // namespace elutq::hlq

#endif // ELUTQ_DIALECT_HLQ_TRANSFORMS_BUFFERIZABLEOPINTERFACEIMPL_H
