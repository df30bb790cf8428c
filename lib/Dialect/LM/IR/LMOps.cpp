//===- LMOps.cpp - Verifiers and interfaces of the lm ops -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Support/DestinationStyle.h"
#include "elutq/Support/VerifyShapes.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace elutq;
using namespace elutq::lm;

#define GET_OP_CLASSES
#include "elutq/Dialect/LM/IR/LMOps.cpp.inc"

LogicalResult GatherOp::verify() {
  MLIRContext *context = getContext();
  Type f16 = Float16Type::get(context), bf16 = BFloat16Type::get(context), f32 = Float32Type::get(context);
  ShapedOperand indices{"indices", getIndices(), 1}, table{"table", getTable(), 2}, init{"init", getInit(), 2};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, indices, IntegerType::get(context, 64))) ||
      failed(verifyOperand(*this, table, {f16, bf16, f32})) ||
      failed(verifyOperand(*this, init, table.getElementType())) ||
      failed(verifyDim(*this, init, 0, "M", indices.getDim(0))) ||
      failed(verifyDim(*this, init, 1, "K", table.getDim(1))))
    return failure();
  return success();
}

LogicalResult CacheAppendOp::verify() {
  MLIRContext *context = getContext();
  Type f16 = Float16Type::get(context), f32 = Float32Type::get(context);
  ShapedOperand update{"update", getUpdate(), 3}, init{"init", getInit(), 3};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, update, f32)) ||
      failed(verifyOperand(*this, init, {f16, f32})) || failed(verifyDim(*this, init, 0, "heads", update.getDim(1))) ||
      failed(verifyDim(*this, init, 2, "head_size", update.getDim(2))))
    return failure();
  int64_t m = update.getDim(0), capacity = init.getDim(1);
  if (!ShapedType::isDynamic(m) && !ShapedType::isDynamic(capacity) && m > capacity)
    return emitOpError("expected at most capacity (") << capacity << ") rows, but got " << m;
  return success();
}

LogicalResult AttentionOp::verify() {
  MLIRContext *context = getContext();
  Type f16 = Float16Type::get(context), f32 = Float32Type::get(context);
  ShapedOperand query{"query", getQuery(), 3}, key{"key", getKey(), 3}, value{"value", getValue(), 3},
      init{"init", getInit(), 3};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, query, f32)) ||
      failed(verifyOperand(*this, key, {f16, f32})) || failed(verifyOperand(*this, value, key.getElementType())) ||
      failed(verifyOperand(*this, init, f32)))
    return failure();
  if (!key.getType().hasStaticShape() || ShapedType::isDynamic(query.getDim(1)))
    return emitOpError("expected heads and caches to have static sizes");
  int64_t heads = query.getDim(1), kvHeads = key.getDim(0), capacity = key.getDim(1);
  if (failed(verifyDim(*this, key, 2, "D", query.getDim(2))) || failed(verifyDim(*this, value, 0, "KVH", kvHeads)) ||
      failed(verifyDim(*this, value, 1, "capacity", capacity)) ||
      failed(verifyDim(*this, value, 2, "D", query.getDim(2))) ||
      failed(verifyDim(*this, init, 0, "M", query.getDim(0))) || failed(verifyDim(*this, init, 1, "H", heads)) ||
      failed(verifyDim(*this, init, 2, "D", query.getDim(2))))
    return failure();
  if (kvHeads == 0 || heads % kvHeads != 0)
    return emitOpError("expected query dim 1 (H) to be a multiple of KVH (") << kvHeads << "), but got " << heads;
  int64_t block = getBlock(), window = getWindow();
  if (block <= 0 || capacity % block != 0)
    return emitOpError("expected capacity to be a multiple of block (") << block << "), but got " << capacity;
  if (!(getScale().convertToFloat() > 0))
    return emitOpError("expected scale to be positive, but got ") << getScaleAttr();
  if (window < 0)
    return emitOpError("expected window not to be negative, but got ") << window;
  if (!(getSoftcap().convertToFloat() >= 0))
    return emitOpError("expected softcap not to be negative, but got ") << getSoftcapAttr();
  int64_t m = query.getDim(0);
  if (window > 0 && !ShapedType::isDynamic(m) && capacity < window + m - 1)
    return emitOpError("expected capacity to be at least window + M - 1 (") << window + m - 1 << "), but got " << capacity;
  return success();
}

//===----------------------------------------------------------------------===//
// Interfaces that all destination-style ops implement alike
//===----------------------------------------------------------------------===//

#define DESTINATION_STYLE_OP(OP, READS_INITS)                                                                          \
  void OP::getEffects(MemoryEffectList &effects) {                                                                     \
    getDestinationStyleEffects(cast<DestinationStyleOpInterface>(getOperation()), READS_INITS, effects);               \
  }                                                                                                                    \
  LogicalResult OP::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {                       \
    return reifyInitShapes(cast<DestinationStyleOpInterface>(getOperation()), builder, shapes);                        \
  }

DESTINATION_STYLE_OP(GatherOp, /*READS_INITS=*/false)
DESTINATION_STYLE_OP(CacheAppendOp, /*READS_INITS=*/true)
DESTINATION_STYLE_OP(AttentionOp, /*READS_INITS=*/false)

#undef DESTINATION_STYLE_OP
