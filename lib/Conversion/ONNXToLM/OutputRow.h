//===- OutputRow.h - Cuts the output head to one row ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLM_OUTPUTROW_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLM_OUTPUTROW_H

#include "mlir/IR/Builders.h"

namespace elutq::normalize {

/// Row `row` (an index) of `value` `[..., M, N]`, as `[..., 1, N]`. The operations that compute `value` row by row, up to and including a
/// product with a matrix, are done on that row alone.
mlir::Value selectRow(mlir::OpBuilder &builder, mlir::Value value, mlir::Value row);

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLM_OUTPUTROW_H
