//===- Planes.h - Codes of uniform formats as bit planes --------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOHLQ_PLANES_H
#define ELUTQ_LIB_CONVERSION_ONNXTOHLQ_PLANES_H

#include "mlir/IR/Builders.h"
#include "mlir/Support/LogicalResult.h"
#include "llvm/ADT/Twine.h"

namespace elutq::normalize {

/// A matrix `[rows, columns]` of block-wise uniform codes, as MatMulNBits and GatherBlockQuantized store it: codes lie one after the
/// other from the low bits of a byte on; a row of codes or zero points starts at a byte.
struct UniformMatrix {
  int64_t rows, columns, bits, groupSize;
  /// Bytes of a row of codes.
  int64_t rowBytes;
  /// Codes, scales, and zero points: packed codes, floats, or absent (2^(bits-1)).
  mlir::Value codes, scales, zeroPoints;

  int64_t getGroups() const { return (columns + groupSize - 1) / groupSize; }
};

/// The operands and attributes of hlq.linear and hlq.gather.
struct PlaneOperands {
  mlir::Value planes, scales, zeros;
  mlir::IntegerAttr groupSize, zeroPoint;
};

using EmitReason = llvm::function_ref<mlir::LogicalResult(const llvm::Twine &)>;

/// Cuts the codes into planes, without loss; codes of 8 bits stay. Scales and zeros become f32. Says by `refuse` why it cannot.
mlir::FailureOr<PlaneOperands> buildPlanes(mlir::OpBuilder &builder, mlir::Location loc, const UniformMatrix &matrix, EmitReason refuse);

/// Whether hlq.linear takes this group size for `columns` columns.
bool isGroupSize(int64_t groupSize, int64_t columns);

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOHLQ_PLANES_H
