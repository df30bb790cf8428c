//===- Normalization.cpp - Norms and rotary embeddings to linalg ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

Value add(OpBuilder &builder, Location loc, Value a, Value b) {
  return elementwise(builder, loc, {a, b}, cast<RankedTensorType>(a.getType()), [](OpBuilder &nested, Location l, ValueRange args) -> Value {
    return arith::AddFOp::create(nested, l, args[0], args[1]);
  });
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last dimension, in two passes.
Value layerNorm(OpBuilder &builder, Location loc, Value x, Value scale, Value bias, double epsilon) {
  auto type = cast<RankedTensorType>(x.getType());
  Type element = type.getElementType();
  double columns = type.getShape().back();
  SmallVector<int64_t> column(type.getShape().drop_back());
  column.push_back(1);
  auto columnType = RankedTensorType::get(column, element);
  auto sumOf = [&](Value value, bool squared) {
    return reduceLast(builder, loc, value, 0.0, [&](OpBuilder &b, Location l, Value v, Value acc) -> Value {
      return arith::AddFOp::create(b, l, squared ? Value(arith::MulFOp::create(b, l, v, v)) : v, acc);
    });
  };
  Value sum = reshape(builder, loc, sumOf(x, false), column);
  Value centred = elementwise(builder, loc, {x, sum}, type, [&](OpBuilder &b, Location l, ValueRange args) -> Value {
    return arith::SubFOp::create(b, l, args[0], arith::MulFOp::create(b, l, args[1], scalar(b, l, element, 1.0 / columns)));
  });
  Value squares = reshape(builder, loc, sumOf(centred, true), column);
  Value inverse = elementwise(builder, loc, squares, columnType, [&](OpBuilder &b, Location l, ValueRange args) -> Value {
    Value variance = arith::DivFOp::create(b, l, args[0], scalar(b, l, element, columns));
    Value root = math::SqrtOp::create(b, l, arith::AddFOp::create(b, l, variance, scalar(b, l, element, epsilon)));
    return arith::DivFOp::create(b, l, scalar(b, l, element, 1.0), root);
  });
  SmallVector<Value> inputs{centred, inverse, scale};
  if (!isAbsent(bias))
    inputs.push_back(bias);
  return elementwise(builder, loc, inputs, type, [](OpBuilder &b, Location l, ValueRange args) -> Value {
    Value result = arith::MulFOp::create(b, l, arith::MulFOp::create(b, l, args[0], args[1]), args[2]);
    return args.size() > 3 ? Value(arith::AddFOp::create(b, l, result, args[3])) : result;
  });
}

LogicalResult verifyLastAxis(PatternRewriter &rewriter, Operation *op, Value x, int64_t axis) {
  int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
  if (normalizeAxis(axis, rank) != rank - 1)
    return rewriter.notifyMatchFailure(op, "only normalization over the last dimension is supported");
  return success();
}

LogicalResult verifyUnused(PatternRewriter &rewriter, Operation *op, ArrayRef<Value> results) {
  if (llvm::any_of(results, [](Value result) { return !result.use_empty(); }))
    return rewriter.notifyMatchFailure(op, "its mean and inverse deviation cannot be results");
  return success();
}

/// RMSNormalization and SimplifiedLayerNormalization: x, scale, an axis.
template <typename OpTy>
struct RMSNormPattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)) || failed(verifyLastAxis(rewriter, op, op.getX(), op.getAxis())))
      return failure();
    SmallVector<Value> others(llvm::drop_begin(op->getResults()));
    if (failed(verifyUnused(rewriter, op, others)))
      return failure();
    Value result = rmsNorm(rewriter, op.getLoc(), op.getX(), op.getScale(), op.getEpsilon().convertToFloat());
    rewriter.replaceAllUsesWith(op->getResult(0), result);
    rewriter.eraseOp(op);
    return success();
  }
};

struct LayerNormPattern : OpRewritePattern<onnx::LayerNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::LayerNormalizationOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)) || failed(verifyLastAxis(rewriter, op, op.getX(), op.getAxis())) ||
        failed(verifyUnused(rewriter, op, {op.getMean(), op.getInvStdDev()})))
      return failure();
    Value result = layerNorm(rewriter, op.getLoc(), op.getX(), op.getScale(), op.getB(), op.getEpsilon().convertToFloat());
    rewriter.replaceAllUsesWith(op.getY(), result);
    rewriter.eraseOp(op);
    return success();
  }
};

/// The residual addition and the norm of its result; both can be results.
struct SkipRMSNormPattern : OpRewritePattern<onnx::ContribSkipSimplifiedLayerNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ContribSkipSimplifiedLayerNormalizationOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)) || failed(verifyUnused(rewriter, op, {op.getMean(), op.getInvStdVar()})))
      return failure();
    Value sum = add(rewriter, op.getLoc(), op.getInput(), op.getSkip());
    if (!isAbsent(op.getBias()))
      sum = add(rewriter, op.getLoc(), sum, op.getBias());
    Value result = rmsNorm(rewriter, op.getLoc(), sum, op.getGamma(), op.getEpsilon().convertToFloat());
    rewriter.replaceAllUsesWith(op.getOutput(), result);
    if (!isAbsent(op.getInputSkipBiasSum()))
      rewriter.replaceAllUsesWith(op.getInputSkipBiasSum(), sum);
    rewriter.eraseOp(op);
    return success();
  }
};

struct SkipLayerNormPattern : OpRewritePattern<onnx::ContribSkipLayerNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ContribSkipLayerNormalizationOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)) || failed(verifyUnused(rewriter, op, {op.getMean(), op.getInvStdVar()})))
      return failure();
    Value sum = add(rewriter, op.getLoc(), op.getInput(), op.getSkip());
    if (!isAbsent(op.getBias()))
      sum = add(rewriter, op.getLoc(), sum, op.getBias());
    Value result = layerNorm(rewriter, op.getLoc(), sum, op.getGamma(), op.getBeta(), op.getEpsilon().convertToFloat());
    rewriter.replaceAllUsesWith(op.getOutput(), result);
    if (!isAbsent(op.getInputSkipBiasSum()))
      rewriter.replaceAllUsesWith(op.getInputSkipBiasSum(), sum);
    rewriter.eraseOp(op);
    return success();
  }
};

/// Rows of a constant table by position.
Value gatherRows(OpBuilder &builder, Location loc, Value table, Value positions) {
  auto tableType = cast<RankedTensorType>(table.getType());
  SmallVector<int64_t> shape(cast<RankedTensorType>(positions.getType()).getShape());
  shape.push_back(tableType.getDimSize(1));
  int64_t rank = shape.size();
  Value init = tensor::EmptyOp::create(builder, loc, shape, tableType.getElementType());
  AffineMap identity = builder.getMultiDimIdentityMap(rank);
  return linalg::GenericOp::create(builder, loc, init.getType(), positions, init, ArrayRef<AffineMap>{identity.dropResult(rank - 1), identity},
                                   SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
                                   [&](OpBuilder &b, Location l, ValueRange args) {
                                     // Rows of padding may stand beyond the table: keep them inside.
                                     Value last = scalar(b, l, args[0].getType(), tableType.getDimSize(0) - 1);
                                     Value row = arith::IndexCastOp::create(b, l, b.getIndexType(), arith::MinSIOp::create(b, l, args[0], last));
                                     Value column = linalg::IndexOp::create(b, l, rank - 1);
                                     linalg::YieldOp::create(b, l, tensor::ExtractOp::create(b, l, table, ValueRange{row, column}).getResult());
                                   })
      .getResult(0);
}

/// The rotary embedding of `x` `[B, H, S, D]` or `[B, S, H * D]` by `cos` and `sin` `[B, S, R/2]`, or tables `[P, R/2]` read at `positions`.
LogicalResult rewriteRotary(PatternRewriter &rewriter, Operation *op, Value x, Value cos, Value sin, Value positions, bool interleaved,
                            int64_t heads, int64_t rotated) {
  Location loc = op->getLoc();
  auto type = cast<RankedTensorType>(x.getType());
  if (type.getRank() != 3 && type.getRank() != 4)
    return rewriter.notifyMatchFailure(op, "expected an input of rank 3 or 4");
  if (type.getDimSize(0) != 1)
    return rewriter.notifyMatchFailure(op, "batches are not supported");
  bool headsFirst = type.getRank() == 4;
  int64_t pairs = cast<RankedTensorType>(cos.getType()).getShape().back();
  int64_t rows = headsFirst ? type.getDimSize(2) : type.getDimSize(1);
  if (!headsFirst && heads == 0) {
    // Without num_heads, the tables tell the size of a head that is rotated wholly.
    if (rotated != 0 || type.getDimSize(2) % (2 * pairs) != 0)
      return rewriter.notifyMatchFailure(op, "num_heads is needed for an input of rank 3");
    heads = type.getDimSize(2) / (2 * pairs);
  }
  if (headsFirst)
    heads = type.getDimSize(1);
  int64_t size = headsFirst ? type.getDimSize(3) : type.getDimSize(2) / heads;
  if (2 * pairs > size || (rotated != 0 && rotated != 2 * pairs))
    return rewriter.notifyMatchFailure(op, "its tables do not fit the part of the head that is rotated");
  if (!isAbsent(positions)) {
    Value flat = positions;
    if (cast<RankedTensorType>(positions.getType()).getNumElements() != rows)
      return rewriter.notifyMatchFailure(op, "expected one position per row");
    flat = reshape(rewriter, loc, positions, {rows});
    cos = gatherRows(rewriter, loc, cos, flat);
    sin = gatherRows(rewriter, loc, sin, flat);
  }
  if (cast<RankedTensorType>(cos.getType()).getNumElements() != rows * pairs)
    return rewriter.notifyMatchFailure(op, "expected one row of cosines per row of the input");
  SmallVector<int64_t> shape = headsFirst ? SmallVector<int64_t>{heads, rows, size} : SmallVector<int64_t>{rows, heads, size};
  SmallVector<int64_t> tableShape = headsFirst ? SmallVector<int64_t>{1, rows, pairs} : SmallVector<int64_t>{rows, 1, pairs};
  Value result = rotary(rewriter, loc, reshape(rewriter, loc, x, shape), reshape(rewriter, loc, cos, tableShape),
                        reshape(rewriter, loc, sin, tableShape), interleaved);
  rewriter.replaceOp(op, reshape(rewriter, loc, result, type.getShape()));
  return success();
}

struct RotaryPattern : OpRewritePattern<onnx::RotaryEmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::RotaryEmbeddingOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    return rewriteRotary(rewriter, op, op.getX(), op.getCosCache(), op.getSinCache(), op.getPositionIds(), op.getInterleaved() != 0,
                         op.getNumHeads().value_or(0), op.getRotaryEmbeddingDim());
  }
};

struct ContribRotaryPattern : OpRewritePattern<onnx::ContribRotaryEmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ContribRotaryEmbeddingOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    if (op.getScale().convertToFloat() != 1.0f || op.getIsPackedBatching() != 0)
      return rewriter.notifyMatchFailure(op, "only scale = 1 and is_packed_batching = 0 are supported");
    return rewriteRotary(rewriter, op, op.getInput(), op.getCosCache(), op.getSinCache(), op.getPositionIds(), op.getInterleaved() != 0,
                         op.getNumHeads(), op.getRotaryEmbeddingDim());
  }
};

} // namespace

void populateNormalizationPatterns(RewritePatternSet &patterns) {
  patterns.add<RMSNormPattern<onnx::RMSNormalizationOp>, RMSNormPattern<onnx::ContribSimplifiedLayerNormalizationOp>, LayerNormPattern,
               SkipRMSNormPattern, SkipLayerNormPattern, RotaryPattern, ContribRotaryPattern>(patterns.getContext());
}

} // namespace elutq::normalize
