//===- Invocation.h - Compile a model ----------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// What elutq-compile does, as a library: from a model file through the named pipelines to an artefact.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_COMPILER_INVOCATION_H
#define ELUTQ_COMPILER_INVOCATION_H

#include "elutq/Compiler/Options.h"

namespace elutq {

/// Compiles `options.input`. On an error no output exists, and the error is one line that names what is wrong.
/// `compilerPath` is the running program, beside which the runtime's archives are searched.
llvm::Error compile(const CompileOptions &options, llvm::StringRef compilerPath);

} // namespace elutq

#endif // ELUTQ_COMPILER_INVOCATION_H
