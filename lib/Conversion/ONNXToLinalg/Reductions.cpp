//===- Reductions.cpp - Reductions and softmax to linalg ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace elutq::normalize {
namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

using Combine = Value (*)(ScalarBuilder &, ValueRange);
using Initial = TypedAttr (*)(Type);

TypedAttr getZero(Type type) { return cast<TypedAttr>(Builder(type.getContext()).getZeroAttr(type)); }
TypedAttr getOne(Type type) { return cast<TypedAttr>(Builder(type.getContext()).getOneAttr(type)); }

Value castElements(OpBuilder &builder, Location loc, Value value, Type to) {
  RankedTensorType type = typeOf(value);
  return elementwiseScalars(builder, loc, value, RankedTensorType::get(type.getShape(), to), [&](ScalarBuilder &b, ValueRange args) {
    return convert(b, args[0], type.getElementType(), to);
  });
}

/// Sums and products of half precision would lose a digit with every few terms.
bool needsF32(Type element, Combine combine) { return isNarrowFloat(element) && (combine == sum || combine == product); }

/// Folds the last dimension.
Value fold(OpBuilder &builder, Location loc, Value value, Initial initial, Combine combine) {
  Type element = typeOf(value).getElementType();
  if (needsF32(element, combine))
    return castElements(builder, loc, fold(builder, loc, castElements(builder, loc, value, builder.getF32Type()), initial, combine), element);
  return reduceLast(builder, loc, value, initial(element), [&](OpBuilder &b, Location l, Value v, Value acc) {
    return applyScalar(b, l, {v, acc}, element, combine);
  });
}

/// A reduction over any dimensions: they are moved to the end and merged.
template <typename OpTy>
struct ReducePattern : OpRewritePattern<OpTy> {
  ReducePattern(MLIRContext *context, Initial initial, Combine combine, bool isMean)
      : OpRewritePattern<OpTy>(context), initial(initial), combine(combine), isMean(isMean) {}

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getData()), resultType = typeOf(op->getResult(0));
    int64_t rank = type.getRank();
    Location loc = op.getLoc();
    SmallVector<bool> reduced(rank, false);
    Value result;
    if (isAbsent(op.getAxes()) || typeOf(op.getAxes()).getNumElements() == 0) {
      reduced.assign(rank, op.getNoopWithEmptyAxes() == 0);
      result = overConstantAxes(rewriter, loc, op.getData(), reduced);
    } else if (std::optional<SmallVector<int64_t>> axes = getConstantInts(op.getAxes())) {
      for (int64_t axis : *axes)
        reduced[normalizeAxis(axis, rank)] = true;
      result = overConstantAxes(rewriter, loc, op.getData(), reduced);
    } else {
      result = overComputedAxes(rewriter, loc, op.getData(), op.getAxes(), resultType);
    }
    int64_t count = type.getNumElements() / std::max<int64_t>(resultType.getNumElements(), 1);
    if (isMean)
      result = elementwiseScalars(rewriter, loc, result, typeOf(result), [&](ScalarBuilder &b, ValueRange args) {
        return arithmetic<arith::DivFOp, arith::DivSIOp, arith::DivUIOp>(b, {args[0], constant(b, args[0].getType(), count)});
      });
    rewriter.replaceOp(op, reshape(rewriter, loc, result, resultType.getShape()));
    return success();
  }

private:
  Value overConstantAxes(OpBuilder &builder, Location loc, Value data, ArrayRef<bool> reduced) const {
    RankedTensorType type = typeOf(data);
    SmallVector<int64_t> permutation, shape;
    int64_t count = 1;
    for (int64_t i = 0, rank = type.getRank(); i < rank; ++i)
      if (!reduced[i]) {
        permutation.push_back(i);
        shape.push_back(type.getDimSize(i));
      }
    for (int64_t i = 0, rank = type.getRank(); i < rank; ++i)
      if (reduced[i]) {
        permutation.push_back(i);
        count *= type.getDimSize(i);
      }
    shape.push_back(count);
    return fold(builder, loc, reshape(builder, loc, transpose(builder, loc, data, permutation), shape), initial, combine);
  }

  /// Every element is added where it belongs: strides of the result are computed from the axes, 0 for those that are reduced.
  Value overComputedAxes(OpBuilder &builder, Location loc, Value data, Value axes, RankedTensorType resultType) const {
    RankedTensorType type = typeOf(data);
    Type element = type.getElementType();
    if (needsF32(element, combine)) {
      Value wide = castElements(builder, loc, data, builder.getF32Type());
      return castElements(builder, loc, overComputedAxes(builder, loc, wide, axes, resultType), element);
    }
    ScalarBuilder outer(loc, builder, false);
    SmallVector<Value> strides(type.getRank());
    Value stride = indexConstant(outer, 1), zero = indexConstant(outer, 0);
    for (int64_t i = type.getRank() - 1; i >= 0; --i) {
      Value isReduced = scalar(outer, loc, outer.getI1Type(), 0), own = indexConstant(outer, i);
      for (int64_t k = 0, count = typeOf(axes).getNumElements(); k < count; ++k) {
        Value axis = readIndex(outer, axes, indexConstant(outer, k), type.getRank());
        isReduced = arith::OrIOp::create(outer, isReduced, arith::CmpIOp::create(outer, arith::CmpIPredicate::eq, axis, own));
      }
      strides[i] = arith::SelectOp::create(outer, isReduced, zero, stride);
      Value next = arith::MulIOp::create(outer, stride, indexConstant(outer, type.getDimSize(i)));
      stride = arith::SelectOp::create(outer, isReduced, stride, next);
    }
    int64_t count = resultType.getNumElements();
    Value init = fill(builder, loc, RankedTensorType::get({count}, element), initial(element));
    return loop(builder, loc, type.getShape(), init, [&](ScalarBuilder &b, Indices indices, Value state) {
      Value offset = zero;
      for (auto [index, step] : llvm::zip_equal(indices, strides))
        offset = arith::AddIOp::create(b, offset, arith::MulIOp::create(b, index, step));
      // Axes that contradict the shape of the result must not lead out of it.
      offset = arith::MinUIOp::create(b, offset, indexConstant(b, count - 1));
      Value next = combine(b, {readElement(b, data, indices), readElement(b, state, offset)});
      return writeElement(b, next, state, offset);
    });
  }

  Initial initial;
  Combine combine;
  bool isMean;
};

/// The dimension `axis` moved to the end, or back.
Value moveAxis(OpBuilder &builder, Location loc, Value value, int64_t axis, bool back) {
  int64_t rank = typeOf(value).getRank();
  SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (back)
    permutation.insert(permutation.begin() + axis, permutation.pop_back_val());
  else {
    permutation.erase(permutation.begin() + axis);
    permutation.push_back(axis);
  }
  return transpose(builder, loc, value, permutation);
}

/// The index of the first or last extreme along a dimension, without that dimension.
Value findExtreme(OpBuilder &builder, Location loc, Value data, int64_t axis, bool greatest, bool takeLast) {
  RankedTensorType type = typeOf(data);
  bool isUnsigned = isUnsignedType(type.getElementType());
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + axis);
  Value init = fill(builder, loc, RankedTensorType::get(shape, builder.getI64Type()), 0);
  return loop(builder, loc, type.getShape(), init, [&](ScalarBuilder &b, Indices indices, Value state) {
    SmallVector<Value> outer(indices), best(indices);
    outer.erase(outer.begin() + axis);
    Value known = readElement(b, state, outer);
    best[axis] = arith::IndexCastOp::create(b, b.getIndexType(), known);
    Value x = readElement(b, data, indices), y = readElement(b, data, best), better;
    if (isFloat(x)) {
      using P = arith::CmpFPredicate;
      better = arith::CmpFOp::create(b, greatest ? (takeLast ? P::OGE : P::OGT) : (takeLast ? P::OLE : P::OLT), x, y);
    } else {
      using P = arith::CmpIPredicate;
      P above = isUnsigned ? (takeLast ? P::uge : P::ugt) : (takeLast ? P::sge : P::sgt);
      P below = isUnsigned ? (takeLast ? P::ule : P::ult) : (takeLast ? P::sle : P::slt);
      better = arith::CmpIOp::create(b, greatest ? above : below, x, y);
    }
    Value own = arith::IndexCastOp::create(b, b.getI64Type(), indices[axis]);
    return writeElement(b, arith::SelectOp::create(b, better, own, known), state, outer);
  });
}

template <typename OpTy, bool greatest>
struct ArgExtremePattern : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), typeOf(op.getData()).getRank());
    Value found = findExtreme(rewriter, op.getLoc(), op.getData(), axis, greatest, op.getSelectLastIndex() != 0);
    rewriter.replaceOp(op, reshape(rewriter, op.getLoc(), found, typeOf(op.getReduced()).getShape()));
    return success();
  }
};

/// 1 at the first greatest element of each row, 0 elsewhere.
struct HardmaxPattern : OpRewritePattern<onnx::HardmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::HardmaxOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    RankedTensorType type = typeOf(op.getInput());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank());
    Value found = findExtreme(rewriter, op.getLoc(), op.getInput(), axis, /*greatest=*/true, /*takeLast=*/false);
    rewriter.replaceOp(op, generate(rewriter, op.getLoc(), type, [&](ScalarBuilder &b, Indices indices) {
                         SmallVector<Value> outer(indices);
                         outer.erase(outer.begin() + axis);
                         Value isGreatest = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, indices[axis], readIndex(b, found, outer));
                         Type element = type.getElementType();
                         return Value(arith::SelectOp::create(b, isGreatest, constant(b, element, 1), constant(b, element, 0)));
                       }));
    return success();
  }
};

/// x divided by its norm along a dimension; 0 where that is 0.
struct LpNormalizationPattern : OpRewritePattern<onnx::LpNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::LpNormalizationOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    Location loc = op.getLoc();
    RankedTensorType type = typeOf(op.getInput());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank());
    bool isSquare = op.getP() == 2;
    Value powers = elementwiseScalars(rewriter, loc, op.getInput(), type, [&](ScalarBuilder &b, ValueRange args) -> Value {
      return isSquare ? Value(arith::MulFOp::create(b, args[0], args[0])) : Value(math::AbsFOp::create(b, args[0]));
    });
    Value total = fold(rewriter, loc, moveAxis(rewriter, loc, powers, axis, false), getZero, sum);
    SmallVector<int64_t> shape(type.getShape());
    shape[axis] = 1;
    total = reshape(rewriter, loc, total, shape);
    rewriter.replaceOp(op, elementwiseScalars(rewriter, loc, {op.getInput(), total}, type, [&](ScalarBuilder &b, ValueRange args) -> Value {
                         Value norm = isSquare ? Value(math::SqrtOp::create(b, args[1])) : args[1];
                         Value zero = constant(b, norm.getType(), 0);
                         Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, norm, zero);
                         return arith::SelectOp::create(b, isZero, zero, arith::DivFOp::create(b, args[0], norm));
                       }));
    return success();
  }
};

struct SoftmaxPattern : OpRewritePattern<onnx::SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::SoftmaxOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    auto type = cast<RankedTensorType>(op.getType());
    int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), type.getRank());
    Location loc = op.getLoc();
    Value input = moveAxis(rewriter, loc, op.getInput(), axis, false);
    type = typeOf(input);
    SmallVector<int64_t> column(type.getShape().drop_back());
    column.push_back(1);
    Value top = fold(rewriter, loc, input, getLowest, maximum);
    Value exp = elementwise(rewriter, loc, {input, reshape(rewriter, loc, top, column)}, type,
                            [](OpBuilder &b, Location l, ValueRange args) -> Value {
                              return math::ExpOp::create(b, l, arith::SubFOp::create(b, l, args[0], args[1]));
                            });
    Value total = fold(rewriter, loc, exp, getZero, sum);
    Value result = elementwise(rewriter, loc, {exp, reshape(rewriter, loc, total, column)}, type,
                               [](OpBuilder &b, Location l, ValueRange args) -> Value { return arith::DivFOp::create(b, l, args[0], args[1]); });
    rewriter.replaceOp(op, moveAxis(rewriter, loc, result, axis, true));
    return success();
  }
};

} // namespace

void populateReductionPatterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceSumOp>>(context, getZero, sum, false));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceMeanOp>>(context, getZero, sum, true));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceProdOp>>(context, getOne, product, false));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceMaxOp>>(context, getLowest, maximum, false));
  patterns.add(std::make_unique<ReducePattern<onnx::ReduceMinOp>>(context, getHighest, minimum, false));
  patterns.add<SoftmaxPattern, ArgExtremePattern<onnx::ArgMaxOp, true>, ArgExtremePattern<onnx::ArgMinOp, false>, HardmaxPattern,
               LpNormalizationPattern>(context);
}

} // namespace elutq::normalize
