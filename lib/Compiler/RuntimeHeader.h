//===- RuntimeHeader.h - The text of elutq/runtime.h -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_RUNTIMEHEADER_H
#define ELUTQ_LIB_COMPILER_RUNTIMEHEADER_H

namespace elutq {

/// The C interface that a compiled library exports, as it was when this compiler was built.
extern const char kRuntimeHeader[];

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_RUNTIMEHEADER_H
