//===- HLQDialect.cpp - The hlq dialect and its attributes ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace elutq::hlq;

#include "elutq/Dialect/HLQ/IR/HLQOpsDialect.cpp.inc"
#include "elutq/Dialect/HLQ/IR/HLQOpsEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "elutq/Dialect/HLQ/IR/HLQOpsAttrs.cpp.inc"

void HLQDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "elutq/Dialect/HLQ/IR/HLQOpsAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "elutq/Dialect/HLQ/IR/HLQOps.cpp.inc"
      >();
  declarePromisedInterfaces<bufferization::BufferizableOpInterface, LinearOp, GatherOp, BuildLutOp, LutMatmulOp,
                            QuantizeRowsOp, CodeMatmulOp, PackedGatherOp>();
}

//===----------------------------------------------------------------------===//
// LayoutAttr
//===----------------------------------------------------------------------===//

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError, Lane lane, int64_t rows, int64_t bits,
                                 int64_t groupSize, Params params, Type paramType, int64_t zeroPoint) {
  if (lane == Lane::Byte ? !llvm::is_contained({16, 32, 64}, rows) : rows != 16)
    return emitError() << "expected rows to be "
                       << (lane == Lane::Byte ? "16, 32 or 64 with byte lanes" : "16 with dword lanes")
                       << ", but got " << rows;
  if ((bits < 1 || bits > 4) && bits != 8)
    return emitError() << "expected bits to be 1 to 4 or 8, but got " << bits;
  if (bits == 8 && lane != Lane::Dword)
    return emitError() << "expected dword lanes with 8 bits, but got byte lanes";
  if (bits == 8 && params != Params::Uniform && params != Params::Symmetric)
    return emitError() << "expected params to be uniform or symmetric with 8 bits, but got " << stringifyParams(params);
  if (groupSize != 16 && (groupSize <= 0 || groupSize % 32 != 0))
    return emitError() << "expected group_size to be 16 or a multiple of 32, but got " << groupSize;
  if (!paramType.isF16() && !paramType.isF32())
    return emitError() << "expected param_type to be f16 or f32, but got " << paramType;
  if (params != Params::Symmetric && zeroPoint != 0)
    return emitError() << "expected zero_point to be 0 where zeros are stored, but got " << zeroPoint;
  return success();
}

int64_t LayoutAttr::getStepColumns() const { return hasCodes() ? 4 : getLane() == Lane::Dword ? 32 : 8; }

int64_t LayoutAttr::getUnitColumns() const { return std::max(getGroupSize(), getStepColumns()); }

int64_t LayoutAttr::getVectorBytes() const { return getRows() * (getLane() == Lane::Dword ? 4 : 1); }

int64_t LayoutAttr::getScalesPerGroup() const { return getParams() == Params::HLQ ? getBits() : 1; }

bool LayoutAttr::hasZero() const { return getParams() == Params::HLQ || getParams() == Params::Uniform; }

int64_t LayoutAttr::getGroupParamBytes() const {
  int64_t paramBytes = getParamType().getIntOrFloatBitWidth() / 8;
  return getRows() * ((getScalesPerGroup() + hasZero()) * paramBytes + (isCompact() ? getBits() + 1 : 0));
}

int64_t LayoutAttr::getUnitBytes() const {
  int64_t planes = getNumPlanes() * (getUnitColumns() / getStepColumns()) * getVectorBytes();
  return planes + getUnitColumns() / getGroupSize() * getGroupParamBytes();
}

int64_t LayoutAttr::getRowBlockBytes(int64_t groups) const {
  int64_t units = llvm::divideCeil(groups * getGroupSize(), getUnitColumns());
  return llvm::alignTo(units * getUnitBytes(), 64);
}

//===----------------------------------------------------------------------===//
// KernelAttr
//===----------------------------------------------------------------------===//

LogicalResult KernelAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr isa, StringAttr algorithm,
                                 int64_t mTile, int64_t nTile, int64_t tableBits) {
  if (mTile < 1 || nTile < 1)
    return emitError() << "expected m_tile and n_tile to be positive, but got " << mTile << " and " << nTile;
  if (algorithm != "lut" && algorithm != "dot")
    return emitError() << "expected algorithm to be lut or dot, but got " << algorithm.getValue();
  if (tableBits != 8 && tableBits != 16)
    return emitError() << "expected table_bits to be 8 or 16, but got " << tableBits;
  return success();
}
