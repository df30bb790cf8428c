//===- Shape.cpp - Reshaping, moving and cutting data to tensor ops -------===//
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
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

/// Reshape, Squeeze, Unsqueeze, Flatten, Identity: the result type says everything.
template <typename OpTy>
struct ReshapePattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    rewriter.replaceOp(op, reshape(rewriter, op.getLoc(), op->getOperand(0), type.getShape()));
    return success();
  }
};

struct TransposePattern : OpRewritePattern<onnx::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::TransposeOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    int64_t rank = cast<RankedTensorType>(op.getType()).getRank();
    SmallVector<int64_t> permutation;
    if (std::optional<ArrayRef<int64_t>> perm = op.getPerm())
      llvm::append_range(permutation, *perm);
    else
      llvm::append_range(permutation, llvm::reverse(llvm::seq<int64_t>(0, rank)));
    rewriter.replaceOp(op, transpose(rewriter, op.getLoc(), op.getData(), permutation));
    return success();
  }
};

struct ConcatPattern : OpRewritePattern<onnx::ConcatOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ConcatOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    auto type = cast<RankedTensorType>(op.getType());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank()), offset = 0;
    Value result = tensor::EmptyOp::create(rewriter, loc, type.getShape(), type.getElementType());
    for (Value input : op.getInputs()) {
      result = insert(rewriter, loc, input, result, axis, offset);
      offset += cast<RankedTensorType>(input.getType()).getDimSize(axis);
    }
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct SplitPattern : OpRewritePattern<onnx::SplitOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SplitOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getInput().getType());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank()), offset = 0;
    SmallVector<Value> results;
    for (Type part : op.getResultTypes()) {
      int64_t size = cast<RankedTensorType>(part).getDimSize(axis);
      results.push_back(slice(rewriter, op.getLoc(), op.getInput(), axis, rewriter.getIndexAttr(offset), size));
      offset += size;
    }
    rewriter.replaceOp(op, results);
    return success();
  }
};

struct SlicePattern : OpRewritePattern<onnx::SliceOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SliceOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getData().getType()), resultType = cast<RankedTensorType>(op.getType());
    std::optional<SmallVector<int64_t>> starts = getConstantInts(op.getStarts());
    if (!starts)
      return rewriter.notifyMatchFailure(op, "its bounds must be constant");
    SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
    SmallVector<int64_t> steps(starts->size(), 1);
    for (auto [operand, numbers] : {std::pair(op.getAxes(), &axes), std::pair(op.getSteps(), &steps)}) {
      if (isAbsent(operand))
        continue;
      std::optional<SmallVector<int64_t>> constant = getConstantInts(operand);
      if (!constant)
        return rewriter.notifyMatchFailure(op, "its axes and steps must be constant");
      *numbers = *constant;
    }
    if (llvm::any_of(steps, [](int64_t step) { return step <= 0; }))
      return rewriter.notifyMatchFailure(op, "only positive steps are supported");
    Value result = op.getData();
    for (auto [start, step, given] : llvm::zip_equal(*starts, steps, axes)) {
      int64_t axis = normalizeAxis(given, type.getRank()), size = type.getDimSize(axis);
      int64_t offset = std::clamp<int64_t>(normalizeAxis(start, size), 0, size);
      result = slice(rewriter, op.getLoc(), result, axis, rewriter.getIndexAttr(offset), resultType.getDimSize(axis), step);
    }
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct ExpandPattern : OpRewritePattern<onnx::ExpandOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::ExpandOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto from = cast<RankedTensorType>(op.getInput().getType()), to = cast<RankedTensorType>(op.getType());
    if (from.getNumElements() == to.getNumElements())
      rewriter.replaceOp(op, reshape(rewriter, op.getLoc(), op.getInput(), to.getShape()));
    else
      rewriter.replaceOp(op, elementwise(rewriter, op.getLoc(), op.getInput(), to, [](OpBuilder &, Location, ValueRange args) { return args[0]; }));
    return success();
  }
};

/// Takes slices along one dimension; a negative index counts from the end.
struct GatherPattern : OpRewritePattern<onnx::GatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::GatherOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    auto type = cast<RankedTensorType>(op.getType()), dataType = cast<RankedTensorType>(op.getData().getType());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), dataType.getRank()), size = dataType.getDimSize(axis);
    int64_t indexRank = cast<RankedTensorType>(op.getIndices().getType()).getRank();
    if (std::optional<SmallVector<int64_t>> indices = getConstantInts(op.getIndices()); indices && indices->size() == 1) {
      Value row = slice(rewriter, loc, op.getData(), axis, rewriter.getIndexAttr(normalizeAxis(indices->front(), size)), 1);
      rewriter.replaceOp(op, reshape(rewriter, loc, row, type.getShape()));
      return success();
    }
    Value init = tensor::EmptyOp::create(rewriter, loc, type.getShape(), type.getElementType());
    SmallVector<AffineExpr> exprs;
    for (int64_t i = 0; i < indexRank; ++i)
      exprs.push_back(rewriter.getAffineDimExpr(axis + i));
    AffineMap indexMap = AffineMap::get(type.getRank(), 0, exprs, rewriter.getContext());
    auto generic = linalg::GenericOp::create(
        rewriter, loc, type, op.getIndices(), init, ArrayRef<AffineMap>{indexMap, rewriter.getMultiDimIdentityMap(type.getRank())},
        SmallVector<utils::IteratorType>(type.getRank(), utils::IteratorType::parallel),
        [&](OpBuilder &b, Location l, ValueRange args) {
          Value negative = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, args[0], scalar(b, l, args[0].getType(), 0));
          Value wrapped = arith::AddIOp::create(b, l, args[0], scalar(b, l, args[0].getType(), size));
          Value index = arith::IndexCastOp::create(b, l, b.getIndexType(), arith::SelectOp::create(b, l, negative, wrapped, args[0]));
          SmallVector<Value> position;
          for (int64_t i = 0; i < dataType.getRank(); ++i)
            position.push_back(i == axis ? index : Value(linalg::IndexOp::create(b, l, i < axis ? i : i + indexRank - 1)));
          linalg::YieldOp::create(b, l, tensor::ExtractOp::create(b, l, op.getData(), position).getResult());
        });
    rewriter.replaceOp(op, generic);
    return success();
  }
};

} // namespace

void populateShapePatterns(RewritePatternSet &patterns) {
  patterns.add<ReshapePattern<onnx::ReshapeOp>, ReshapePattern<onnx::SqueezeOp>, ReshapePattern<onnx::UnsqueezeOp>,
               ReshapePattern<onnx::FlattenOp>, ReshapePattern<onnx::IdentityOp>, TransposePattern, ConcatPattern, SplitPattern, SlicePattern,
               ExpandPattern, GatherPattern>(patterns.getContext());
}

} // namespace elutq::normalize
