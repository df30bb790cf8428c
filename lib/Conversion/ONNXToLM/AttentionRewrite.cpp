//===- AttentionRewrite.cpp - Attention ops to the lm dialect -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AttentionSite.h"
#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AsmState.h"
#include <cstring>

using namespace mlir;

namespace elutq::normalize {

static bool isHeadsFirst(Value value) {
  auto transposeOp = value.getDefiningOp<onnx::TransposeOp>();
  return transposeOp && transposeOp.getPerm() && *transposeOp.getPerm() == ArrayRef<int64_t>{0, 2, 1, 3};
}

/// `[1, M, heads * size]` or `[1, heads, M, size]` as `[M, heads, size]`.
static Value rowsFirst(OpBuilder &builder, Location loc, Value value, int64_t rows, int64_t heads, int64_t size) {
  if (cast<RankedTensorType>(value.getType()).getRank() == 3)
    return reshape(builder, loc, value, {rows, heads, size});
  // The model moved the heads to the front: take what it moved.
  if (isHeadsFirst(value))
    return reshape(builder, loc, value.getDefiningOp<onnx::TransposeOp>().getData(), {rows, heads, size});
  return transpose(builder, loc, reshape(builder, loc, value, {heads, rows, size}), {1, 0, 2});
}

/// The first `rows` rows of a constant table; the last one is repeated where there are fewer.
static Value resizeTable(OpBuilder &builder, Location loc, Value table, int64_t rows) {
  auto type = cast<RankedTensorType>(table.getType());
  if (type.getDimSize(0) == rows)
    return table;
  int64_t rowBytes = type.getDimSize(1) * 4, ownRows = type.getDimSize(0);
  ArrayRef<char> bytes = *getConstantBytes(table);
  auto resultType = RankedTensorType::get({rows, type.getDimSize(1)}, type.getElementType());
  auto write = [&](char *to) {
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(to + i * rowBytes, bytes.data() + std::min(i, ownRows - 1) * rowBytes, rowBytes);
  };
  ElementsAttr attr = getConstant(table);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    std::string suffix = (".rows" + Twine(rows)).str();
    StringRef key = resource.getRawHandle().getKey();
    auto *dialect = builder.getContext()->getLoadedDialect<onnx::ONNXDialect>();
    DenseResourceElementsHandle handle = dialect->getOrCreateBlob((key + suffix).str(), (key + suffix).str(), [&] {
      AsmResourceBlob blob = HeapAsmResourceBlob::allocate(rows * rowBytes, /*align=*/64, /*dataIsMutable=*/true);
      write(blob.getMutableData().data());
      return blob;
    });
    return arith::ConstantOp::create(builder, loc, resultType, DenseResourceElementsAttr::get(resultType, handle));
  }
  std::vector<char> data(rows * rowBytes);
  write(data.data());
  return arith::ConstantOp::create(builder, loc, resultType, DenseElementsAttr::getFromRawBuffer(resultType, data));
}

/// Rows `position`, `position + 1`, ... of a rotary table, as `[M, 1, R/2]`.
static Value readTable(OpBuilder &builder, Location loc, Value table, const EntryContext &entry) {
  Value resized = resizeTable(builder, loc, table, entry.tableRows);
  Value rows = slice(builder, loc, resized, 0, entry.position, entry.rows);
  return reshape(builder, loc, rows, {entry.rows, 1, cast<RankedTensorType>(table.getType()).getDimSize(1)});
}

/// An RMS norm of each row of the last dimension.
static Value normalizeHeads(OpBuilder &builder, Location loc, Value heads, Value weight, FloatAttr epsilon) {
  return createNode(builder, loc, onnx::RMSNormalizationOp::getOperationName(), {heads, weight}, cast<RankedTensorType>(heads.getType()),
                    builder.getNamedAttr("epsilon", epsilon));
}

/// Replaces the output of the attention op by `result` `[M, heads, size]`.
static void replaceOutput(OpBuilder &builder, Value output, Value result, const EntryContext &entry, const AttentionSite &site) {
  Location loc = site.op->getLoc();
  auto type = cast<RankedTensorType>(output.getType());
  if (type.getRank() == 3) {
    output.replaceAllUsesWith(reshape(builder, loc, result, {1, entry.rows, site.heads * site.headSize}));
    return;
  }
  Value rowsFirstResult = reshape(builder, loc, result, {1, entry.rows, site.heads, site.headSize});
  for (Operation *user : llvm::make_early_inc_range(output.getUsers()))
    if (isa<onnx::TransposeOp>(user) && isHeadsFirst(user->getResult(0))) {
      user->getResult(0).replaceAllUsesWith(rowsFirstResult);
      user->erase();
    }
  if (!output.use_empty())
    output.replaceAllUsesWith(transpose(builder, loc, rowsFirstResult, {0, 2, 1, 3}));
}

FailureOr<SiteCaches> rewriteAttention(OpBuilder &builder, const AttentionSite &site, const EntryContext &entry,
                                       const SiteCaches &caches) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(site.op);
  Location loc = site.op->getLoc();
  int64_t rows = entry.rows, size = site.headSize;
  if (site.cos && cast<RankedTensorType>(site.cos.getType()).getDimSize(0) < entry.maxContext)
    return emitNodeError(site.op) << "its rotary tables have " << cast<RankedTensorType>(site.cos.getType()).getDimSize(0)
                                  << " positions, fewer than the context; choose a smaller max-context",
           failure();
  Value query, key, value;
  if (site.key) {
    query = rowsFirst(builder, loc, site.query, rows, site.heads, size);
    key = rowsFirst(builder, loc, site.key, rows, site.kvHeads, size);
    value = rowsFirst(builder, loc, site.value, rows, site.kvHeads, size);
  } else {
    Value packed = reshape(builder, loc, site.query, {rows, site.heads + 2 * site.kvHeads, size});
    query = slice(builder, loc, packed, 1, builder.getIndexAttr(0), site.heads);
    key = slice(builder, loc, packed, 1, builder.getIndexAttr(site.heads), site.kvHeads);
    value = slice(builder, loc, packed, 1, builder.getIndexAttr(site.heads + site.kvHeads), site.kvHeads);
  }
  if (site.queryNorm)
    query = normalizeHeads(builder, loc, query, site.queryNorm, site.normEpsilon);
  if (site.keyNorm)
    key = normalizeHeads(builder, loc, key, site.keyNorm, site.normEpsilon);
  if (site.cos) {
    Value cos = readTable(builder, loc, site.cos, entry), sin = readTable(builder, loc, site.sin, entry);
    query = rotary(builder, loc, query, cos, sin, site.interleaved);
    key = rotary(builder, loc, key, cos, sin, site.interleaved);
  }
  auto append = [&](Value update, const Cache &cache) {
    auto op = lm::CacheAppendOp::create(builder, loc, ValueRange(cache).getTypes(), update, entry.position, entry.count, cache);
    return Cache(op->getResults());
  };
  SiteCaches updated{append(key, caches.key), append(value, caches.value)};
  Cache scales;
  if (updated.key.size() > 1)
    scales = {updated.key[1], updated.value[1]};
  Value init = tensor::EmptyOp::create(builder, loc, ArrayRef<int64_t>{rows, site.heads, size}, builder.getF32Type());
  Value result = lm::AttentionOp::create(builder, loc, TypeRange{init.getType()}, query, updated.key[0], updated.value[0],
                                         entry.position, scales, init, builder.getF32FloatAttr(site.scale),
                                         builder.getI64IntegerAttr(site.window), builder.getF32FloatAttr(site.softcap))
                     ->getResult(0);
  replaceOutput(builder, site.op->getResult(0), result, entry, site);
  return updated;
}

} // namespace elutq::normalize
