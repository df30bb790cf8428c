//===- RecognizeMultiHead.cpp - ONNX Runtime's attention ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// onnxruntime-genai's model builder writes com.microsoft::MultiHeadAttention for f16 on the CPU, of keys and values that it joins with the past
// and whose heads it repeats in front of it. That is the standard operator, but for the place of the heads.
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"

using namespace mlir;

namespace elutq::normalize {

/// `[1, heads, T, size]` of which `value` is `[1, T, heads * size]`, or null.
static Value matchHeads(Value value, int64_t heads, int64_t size) {
  auto reshape = value.getDefiningOp<onnx::ReshapeOp>();
  auto transpose = reshape ? reshape.getData().getDefiningOp<onnx::TransposeOp>() : nullptr;
  if (!transpose || !transpose.getPerm() || *transpose.getPerm() != ArrayRef<int64_t>{0, 2, 1, 3})
    return nullptr;
  auto from = dyn_cast<RankedTensorType>(transpose.getData().getType()), to = dyn_cast<RankedTensorType>(value.getType());
  bool fits = from && to && from.getRank() == 4 && to.getRank() == 3 && from.getDimSize(0) == 1 && from.getDimSize(1) == heads &&
              from.getDimSize(3) == size && to.getDimSize(2) == heads * size;
  return fits ? transpose.getData() : Value();
}

/// The standard operator's result in the place of `op`'s, or null where `op` does something else.
static Value rewrite(OpBuilder &builder, onnx::ContribMultiHeadAttentionOp op) {
  RankedTensorType query = getStaticType(op.getQuery());
  int64_t heads = op.getNumHeads();
  bool isPlain = llvm::all_of(ValueRange{op.getBias(), op.getKeyPaddingMask(), op.getPastKey(), op.getPastValue(), op.getPastSequenceLength(),
                                         op.getCacheIndirection()},
                              isAbsent);
  bool isRead = llvm::any_of(op->getResults().drop_front(), [](Value result) { return !result.use_empty(); });
  if (!isPlain || isRead || !query || query.getRank() != 3 || query.getDimSize(0) != 1 || heads <= 0 || query.getDimSize(2) % heads != 0 ||
      isAbsent(op.getKey()) || isAbsent(op.getValue()))
    return nullptr;
  int64_t rows = query.getDimSize(1), size = query.getDimSize(2) / heads;
  Value key = matchHeads(op.getKey(), heads, size), values = matchHeads(op.getValue(), heads, size);
  if (!key || !values)
    return nullptr;
  Location loc = op.getLoc();
  auto swap = builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr({0, 2, 1, 3}));
  auto headsFirst = RankedTensorType::get({1, heads, rows, size}, query.getElementType());
  auto rowsFirst = RankedTensorType::get({1, rows, heads, size}, query.getElementType());
  Value split = createNode(builder, loc, onnx::TransposeOp::getOperationName(), reshapeNode(builder, loc, op.getQuery(), rowsFirst.getShape()),
                           headsFirst, swap);
  Value none = onnx::NoneOp::create(builder, loc, builder.getNoneType());
  OperationState state(loc, onnx::AttentionOp::getOperationName());
  state.addOperands({split, key, values, op.getAttentionBias(), none, none, none});
  state.addTypes({headsFirst, none.getType(), none.getType(), none.getType()});
  if (op.getScale().convertToFloat() != 0)
    state.addAttribute("scale", op.getScaleAttr());
  if (op.getUnidirectional() != 0)
    state.addAttribute("is_causal", builder.getI64IntegerAttr(1));
  Value joined = createNode(builder, loc, onnx::TransposeOp::getOperationName(), builder.create(state)->getResult(0), rowsFirst, swap);
  return reshapeNode(builder, loc, joined, query.getShape());
}

int64_t recognizeMultiHead(IRRewriter &rewriter, func::FuncOp function) {
  SmallVector<onnx::ContribMultiHeadAttentionOp> ops;
  function->walk([&](onnx::ContribMultiHeadAttentionOp op) { ops.push_back(op); });
  int64_t count = 0;
  for (onnx::ContribMultiHeadAttentionOp op : ops) {
    rewriter.setInsertionPoint(op);
    Value result = rewrite(rewriter, op);
    if (!result)
      continue;
    rewriter.replaceAllUsesWith(op.getResult(0), result);
    rewriter.eraseOp(op);
    ++count;
  }
  return count;
}

} // namespace elutq::normalize
