//===- Reductions.cpp - Reductions and softmax to linalg ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <limits>

using namespace mlir;

namespace elutq::normalize {
namespace {

Value addUp(OpBuilder &b, Location l, Value v, Value acc) { return arith::AddFOp::create(b, l, v, acc); }
Value maximum(OpBuilder &b, Location l, Value v, Value acc) { return arith::MaximumFOp::create(b, l, v, acc); }
Value minimum(OpBuilder &b, Location l, Value v, Value acc) { return arith::MinimumFOp::create(b, l, v, acc); }

using Combine = Value (*)(OpBuilder &, Location, Value, Value);

/// A reduction over any dimensions: they are moved to the end and merged.
template <typename OpTy>
struct ReducePattern : OpRewritePattern<OpTy> {
  ReducePattern(MLIRContext *context, double initial, Combine combine, bool isMean)
      : OpRewritePattern<OpTy>(context), initial(initial), combine(combine), isMean(isMean) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getData().getType());
    if (!isa<FloatType>(type.getElementType()))
      return rewriter.notifyMatchFailure(op, "reductions of integers are supported on constants only");
    int64_t rank = type.getRank();
    SmallVector<bool> reduced(rank, false);
    if (isAbsent(op.getAxes())) {
      reduced.assign(rank, op.getNoopWithEmptyAxes() == 0);
    } else {
      std::optional<SmallVector<int64_t>> axes = getConstantInts(op.getAxes());
      if (!axes)
        return rewriter.notifyMatchFailure(op, "its axes must be constant");
      for (int64_t axis : *axes)
        reduced[normalizeAxis(axis, rank)] = true;
    }
    Location loc = op.getLoc();
    SmallVector<int64_t> permutation, shape;
    int64_t count = 1;
    for (int64_t i = 0; i < rank; ++i)
      if (!reduced[i]) {
        permutation.push_back(i);
        shape.push_back(type.getDimSize(i));
      }
    for (int64_t i = 0; i < rank; ++i)
      if (reduced[i]) {
        permutation.push_back(i);
        count *= type.getDimSize(i);
      }
    shape.push_back(count);
    Value moved = reshape(rewriter, loc, transpose(rewriter, loc, op.getData(), permutation), shape);
    Value result = reduceLast(rewriter, loc, moved, initial, combine);
    if (isMean)
      result = elementwise(rewriter, loc, result, cast<RankedTensorType>(result.getType()),
                           [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                             return arith::DivFOp::create(b, l, args[0], scalar(b, l, args[0].getType(), count));
                           });
    rewriter.replaceOp(op, reshape(rewriter, loc, result, cast<RankedTensorType>(op->getResult(0).getType()).getShape()));
    return success();
  }

private:
  double initial;
  Combine combine;
  bool isMean;
};

struct SoftmaxPattern : OpRewritePattern<onnx::SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SoftmaxOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getType());
    if (normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank()) != type.getRank() - 1)
      return rewriter.notifyMatchFailure(op, "only the last dimension is supported");
    Location loc = op.getLoc();
    SmallVector<int64_t> column(type.getShape().drop_back());
    column.push_back(1);
    Value top = reduceLast(rewriter, loc, op.getInput(), -std::numeric_limits<double>::infinity(), maximum);
    Value exp = elementwise(rewriter, loc, {op.getInput(), reshape(rewriter, loc, top, column)}, type,
                            [](OpBuilder &b, Location l, ValueRange args) -> Value {
                              return math::ExpOp::create(b, l, arith::SubFOp::create(b, l, args[0], args[1]));
                            });
    Value sum = reduceLast(rewriter, loc, exp, 0.0, addUp);
    rewriter.replaceOp(op, elementwise(rewriter, loc, {exp, reshape(rewriter, loc, sum, column)}, type,
                                       [](OpBuilder &b, Location l, ValueRange args) -> Value {
                                         return arith::DivFOp::create(b, l, args[0], args[1]);
                                       }));
    return success();
  }
};

} // namespace

void populateReductionPatterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  double infinity = std::numeric_limits<double>::infinity();
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceSumOp>>(context, 0.0, addUp, false));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceMeanOp>>(context, 0.0, addUp, true));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceMaxOp>>(context, -infinity, maximum, false));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceMinOp>>(context, infinity, minimum, false));
  patterns.add<SoftmaxPattern>(context);
}

} // namespace elutq::normalize
