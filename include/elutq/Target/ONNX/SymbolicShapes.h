//===- SymbolicShapes.h - The names of a model's dimensions -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_ONNX_SYMBOLICSHAPES_H
#define ELUTQ_TARGET_ONNX_SYMBOLICSHAPES_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace elutq {

/// For the inputs and outputs of a model by their names, what each dimension is called: "" where it has a number or no name.
using SymbolicShapes = llvm::StringMap<std::vector<std::string>>;

/// Reads them from the file at `path`.
llvm::Expected<SymbolicShapes> readSymbolicShapes(llvm::StringRef path);

} // namespace elutq

#endif // ELUTQ_TARGET_ONNX_SYMBOLICSHAPES_H
