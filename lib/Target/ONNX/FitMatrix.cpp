//===- FitMatrix.cpp - HLQ matrices from float ones -----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/ONNX/ExportHLQ.h"

using namespace llvm;
using namespace elutq;

static quantize::DataType getDataType(FloatMatrix::Type type) {
  switch (type) {
  case FloatMatrix::Type::F32:
    return quantize::DataType::F32;
  case FloatMatrix::Type::F16:
    return quantize::DataType::F16;
  case FloatMatrix::Type::BF16:
    return quantize::DataType::BF16;
  }
  llvm_unreachable("unknown type");
}

Expected<HLQMatrix> elutq::fitMatrix(const FloatMatrix &matrix, const quantize::FitOptions &options) {
  HLQMatrix result;
  result.bits = options.bits;
  result.groupSize = options.groupSize;
  int64_t groups = quantize::numGroups(matrix.k, result.groupSize);
  result.planes.resize(quantize::numPlaneBytes(result.bits, matrix.n, groups, result.groupSize));
  result.isCompact = options.kind == quantize::ParameterKind::Compact && result.bits != 8;
  result.scales.resize(matrix.n * groups * quantize::numScales(result.bits, options.kind) * sizeof(uint16_t));
  result.zeros.resize(matrix.n * groups * quantize::numZeroBytes(result.bits, options.kind));
  quantize::MatrixView view{matrix.data.data(), getDataType(matrix.type), matrix.n,
                            matrix.k,           matrix.rowStride,         matrix.colStride};
  quantize::FitReport report = quantize::fitHLQ(view, options, reinterpret_cast<uint8_t *>(result.planes.data()),
                                                reinterpret_cast<uint16_t *>(result.scales.data()),
                                                result.zeros.data());
  if (!report.error.empty())
    return createStringError("initializer '" + matrix.name + "': " + report.error);
  return result;
}
