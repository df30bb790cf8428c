//===- Schemas.h - Schemas of all operators ---------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_SCHEMAS_H
#define ELUTQ_LIB_TARGET_ONNX_SCHEMAS_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx/defs/schema.h"
#pragma GCC diagnostic pop

namespace elutq {

/// The standard schemas of the ONNX library and, besides, those of the operators of other domains that the onnx dialect
/// has, with inference of their shapes.
const ::onnx::ISchemaRegistry &getSchemas();

} // namespace elutq

#endif // ELUTQ_LIB_TARGET_ONNX_SCHEMAS_H
