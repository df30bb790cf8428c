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
#include "llvm/Support/MathExtras.h"

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

int64_t elutq::lm::getMaxParts(int64_t window, int64_t part, int64_t capacity) {
  return window > 0 ? (window + part - 2) / part + 1 : llvm::divideCeil(capacity, part);
}

/// Scales `[heads, capacity]`, `expected` of them where the cache is of i8 and none elsewhere.
static LogicalResult verifyScales(Operation *op, ValueRange scales, size_t expected, Type element, int64_t heads,
                                  int64_t capacity) {
  if (!element.isInteger(8))
    expected = 0;
  if (scales.size() != expected)
    return op->emitOpError("expected ") << expected << " scales for a cache of " << element << ", but got " << scales.size();
  for (Value value : scales) {
    ShapedOperand scale{"scales", value, 2};
    if (failed(verifyOperand(op, scale, Float32Type::get(op->getContext()))) ||
        failed(verifyDim(op, scale, 0, "heads", heads)) || failed(verifyDim(op, scale, 1, "capacity", capacity)))
      return failure();
  }
  return success();
}

LogicalResult CacheAppendOp::verify() {
  MLIRContext *context = getContext();
  Type f16 = Float16Type::get(context), f32 = Float32Type::get(context), i8 = IntegerType::get(context, 8);
  if (getInits().empty() || getInits().size() > 2)
    return emitOpError("expected a cache and at most one array of scales, but got ") << getInits().size() << " inits";
  auto type = dyn_cast<ShapedType>(getCache().getType());
  bool keys = type && type.hasRank() && type.getRank() == 4;
  ShapedOperand update{"update", getUpdate(), 3}, cache{"cache", getCache(), keys ? 4 : 3};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, update, f32)) ||
      failed(verifyOperand(*this, cache, {f16, f32, i8})) || failed(verifyDim(*this, cache, 0, "heads", update.getDim(1))) ||
      failed(verifyDim(*this, cache, 2, "head_size", update.getDim(2))) ||
      (keys && failed(verifyDim(*this, cache, 3, "the key block", kKeyBlock))))
    return failure();
  int64_t m = update.getDim(0), capacity = cache.getDim(1);
  if (keys && !ShapedType::isDynamic(capacity))
    capacity *= kKeyBlock;
  if (!ShapedType::isDynamic(m) && !ShapedType::isDynamic(capacity) && m > capacity)
    return emitOpError("expected at most capacity (") << capacity << ") rows, but got " << m;
  return verifyScales(*this, getInits().drop_front(), 1, cache.getElementType(), cache.getDim(0), capacity);
}

/// C1 to C5 of lm.attention, without its init.
template <typename OpTy>
static LogicalResult verifyAttention(OpTy op) {
  MLIRContext *context = op.getContext();
  Type f16 = Float16Type::get(context), f32 = Float32Type::get(context), i8 = IntegerType::get(context, 8);
  ShapedOperand query{"query", op.getQuery(), 3}, key{"key", op.getKey(), 4}, value{"value", op.getValue(), 3};
  if (failed(verifyOneSemantics(op)) || failed(verifyOperand(op, query, f32)) ||
      failed(verifyOperand(op, key, {f16, f32, i8})) || failed(verifyOperand(op, value, key.getElementType())))
    return failure();
  if (!key.getType().hasStaticShape() || ShapedType::isDynamic(query.getDim(1)))
    return op.emitOpError("expected heads and caches to have static sizes");
  int64_t heads = query.getDim(1), kvHeads = key.getDim(0), capacity = key.getDim(1) * kKeyBlock;
  if (failed(verifyDim(op, key, 2, "D", query.getDim(2))) || failed(verifyDim(op, key, 3, "the key block", kKeyBlock)) ||
      failed(verifyDim(op, value, 0, "KVH", kvHeads)) || failed(verifyDim(op, value, 1, "capacity", capacity)) ||
      failed(verifyDim(op, value, 2, "D", query.getDim(2))))
    return failure();
  if (kvHeads == 0 || heads % kvHeads != 0)
    return op.emitOpError("expected query dim 1 (H) to be a multiple of KVH (") << kvHeads << "), but got " << heads;
  int64_t part = op.getPart(), window = op.getWindow();
  if (part <= 0 || part % kKeyBlock != 0)
    return op.emitOpError("expected part to be a multiple of ") << kKeyBlock << ", but got " << part;
  if (!(op.getScale().convertToFloat() > 0))
    return op.emitOpError("expected scale to be positive, but got ") << op.getScaleAttr();
  if (window < 0)
    return op.emitOpError("expected window not to be negative, but got ") << window;
  if (!(op.getSoftcap().convertToFloat() >= 0))
    return op.emitOpError("expected softcap not to be negative, but got ") << op.getSoftcapAttr();
  int64_t m = query.getDim(0);
  if (window > 0 && !ShapedType::isDynamic(m) && capacity < window + m - 1)
    return op.emitOpError("expected capacity to be at least window + M - 1 (")
           << window + m - 1 << "), but got " << capacity;
  return verifyScales(op, op.getScales(), 2, key.getElementType(), kvHeads, capacity);
}

LogicalResult AttentionOp::verify() {
  ShapedOperand query{"query", getQuery(), 3}, init{"init", getInit(), 3};
  if (failed(verifyAttention(*this)) || failed(verifyOperand(*this, init, Float32Type::get(getContext()))) ||
      failed(verifyDim(*this, init, 0, "M", query.getDim(0))) || failed(verifyDim(*this, init, 1, "H", query.getDim(1))) ||
      failed(verifyDim(*this, init, 2, "D", query.getDim(2))))
    return failure();
  return success();
}

/// Sums and statistics of `heads` heads of `size`, or of any number where that is -1.
static LogicalResult verifyParts(Operation *op, Value sumsValue, Value statsValue, int64_t heads, int64_t size) {
  Type f32 = Float32Type::get(op->getContext());
  ShapedOperand sums{"sums", sumsValue, 4}, stats{"stats", statsValue, 4};
  if (failed(verifyOperand(op, sums, f32)) || failed(verifyOperand(op, stats, f32)) ||
      failed(verifyDim(op, sums, 0, "H", heads)) || failed(verifyDim(op, sums, 3, "D", size)) ||
      failed(verifyDim(op, stats, 0, "H", heads)) || failed(verifyDim(op, stats, 1, "slots", sums.getDim(1))) ||
      failed(verifyDim(op, stats, 2, "places", sums.getDim(2))) || failed(verifyDim(op, stats, 3, "max and sum", 2)))
    return failure();
  if (!sums.getType().hasStaticShape())
    return op->emitOpError("expected sums to have a static shape");
  return success();
}

LogicalResult AttentionPartsOp::verify() {
  ShapedOperand query{"query", getQuery(), 3}, sums{"sums", getSums(), 4};
  if (failed(verifyAttention(*this)) || failed(verifyDim(*this, query, 0, "one row", 1)) ||
      failed(verifyParts(*this, getSums(), getStats(), query.getDim(1), query.getDim(2))))
    return failure();
  int64_t slots = getSlots();
  if (!llvm::isPowerOf2_64(slots) || slots < 0)
    return emitOpError("expected slots to be a power of two, but got ") << slots;
  if (sums.getDim(1) > slots)
    return emitOpError("expected sums dim 1 to be at most slots (") << slots << "), but got " << sums.getDim(1);
  int64_t capacity = cast<ShapedType>(getKey().getType()).getDimSize(1) * kKeyBlock;
  int64_t parts = getMaxParts(getWindow(), getPart(), capacity);
  if (sums.getDim(2) * slots < parts)
    return emitOpError("expected room for ") << parts << " parts, but got " << sums.getDim(2) * slots;
  return success();
}

LogicalResult MergePartsOp::verify() {
  ShapedOperand init{"init", getInit(), 3}, sums{"sums", getSums(), 4};
  if (failed(verifyOneSemantics(*this)) || failed(verifyOperand(*this, init, Float32Type::get(getContext()))) ||
      failed(verifyDim(*this, init, 0, "one row", 1)) ||
      failed(verifyParts(*this, getSums(), getStats(), init.getDim(1), init.getDim(2))))
    return failure();
  if (!llvm::isPowerOf2_64(sums.getDim(1)))
    return emitOpError("expected sums dim 1 (slots) to be a power of two, but got ") << sums.getDim(1);
  if (int64_t part = getPart(); part <= 0 || part % kKeyBlock != 0)
    return emitOpError("expected part to be a multiple of ") << kKeyBlock << ", but got " << part;
  if (int64_t window = getWindow(); window < 0)
    return emitOpError("expected window not to be negative, but got ") << window;
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
DESTINATION_STYLE_OP(AttentionPartsOp, /*READS_INITS=*/false)
DESTINATION_STYLE_OP(MergePartsOp, /*READS_INITS=*/false)

#undef DESTINATION_STYLE_OP
