//===- QuantizationPlan.h - Bits and groups matrix by matrix -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_COMPILER_QUANTIZATIONPLAN_H
#define ELUTQ_COMPILER_QUANTIZATIONPLAN_H

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <cstdint>

namespace elutq {

struct MatrixChoice {
  /// 0 leaves the matrix in float.
  int64_t bits = 0;
  /// Columns per group; 0: the row.
  int64_t groupSize = 0;
};

/// By the name of an initializer.
using QuantizationPlan = llvm::StringMap<MatrixChoice>;

/// Reads a JSON file `{"NAME": {"bits": 3, "group": 64}, ...}`. Errors name the file, and the entry that is wrong.
llvm::Expected<QuantizationPlan> readQuantizationPlan(llvm::StringRef path);

} // namespace elutq

#endif // ELUTQ_COMPILER_QUANTIZATIONPLAN_H
