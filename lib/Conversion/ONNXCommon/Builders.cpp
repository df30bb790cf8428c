//===- Builders.cpp - The linalg and tensor ops that conversions share ----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/ONNXCommon.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace elutq::normalize {

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Drops the batch: one leading unit dimension of a shape of rank three or more.
static SmallVector<int64_t> dropBatch(ArrayRef<int64_t> shape) {
  return SmallVector<int64_t>(shape.size() >= 3 && shape[0] == 1 ? shape.drop_front() : shape);
}

static SmallVector<utils::IteratorType> parallelLoops(size_t rank) {
  return SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel);
}

static Value empty(OpBuilder &builder, Location loc, ArrayRef<int64_t> shape, Type elementType) {
  return tensor::EmptyOp::create(builder, loc, shape, elementType);
}

Value reshape(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> shape) {
  RankedTensorType type = typeOf(value);
  if (type.getShape() == shape)
    return value;
  RankedTensorType resultType = RankedTensorType::get(shape, type.getElementType());
  if (ElementsAttr attr = getConstant(value)) {
    ElementsAttr retyped;
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
      retyped = DenseResourceElementsAttr::get(resultType, resource.getRawHandle());
    else if (auto dense = dyn_cast<DenseElementsAttr>(attr))
      retyped = dense.reshape(resultType);
    if (retyped)
      return arith::ConstantOp::create(builder, value.getLoc(), resultType, cast<TypedAttr>(retyped));
  }
  // Undo an earlier reshape first, so that chains of them do not pile up.
  Value source = value;
  if (auto expand = value.getDefiningOp<tensor::ExpandShapeOp>())
    source = expand.getSrc();
  else if (auto collapse = value.getDefiningOp<tensor::CollapseShapeOp>())
    source = collapse.getSrc();
  for (Value from : {source, value}) {
    RankedTensorType fromType = typeOf(from);
    if (fromType == resultType)
      return from;
    std::optional<SmallVector<ReassociationIndices>> map = getReassociationIndicesForReshape(fromType, resultType);
    if (!map)
      continue;
    if (fromType.getRank() > resultType.getRank())
      return tensor::CollapseShapeOp::create(builder, loc, resultType, from, *map);
    return tensor::ExpandShapeOp::create(builder, loc, resultType, from, *map);
  }
  if (type.getNumElements() == 0)
    return empty(builder, loc, shape, type.getElementType());
  // Neither a collapse nor an expansion: go through one dimension.
  Value flat = reshape(builder, loc, value, {type.getNumElements()});
  ReassociationIndices all = llvm::to_vector(llvm::seq<int64_t>(0, resultType.getRank()));
  SmallVector<ReassociationIndices> map;
  if (!all.empty())
    map.push_back(all);
  if (resultType.getRank() == 0)
    return tensor::CollapseShapeOp::create(builder, loc, resultType, flat, map);
  return tensor::ExpandShapeOp::create(builder, loc, resultType, flat, map);
}

Value transpose(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> permutation) {
  RankedTensorType type = typeOf(value);
  SmallVector<int64_t> shape, moved, order;
  for (int64_t source : permutation)
    shape.push_back(type.getDimSize(source));
  // Only dimensions larger than one move data.
  SmallVector<int64_t> reduced;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (type.getDimSize(i) != 1) {
      moved.push_back(i);
      reduced.push_back(type.getDimSize(i));
    }
  for (int64_t source : permutation)
    if (type.getDimSize(source) != 1)
      order.push_back(llvm::find(moved, source) - moved.begin());
  if (llvm::is_sorted(order))
    return reshape(builder, loc, value, shape);
  SmallVector<int64_t> transposed;
  for (int64_t source : order)
    transposed.push_back(reduced[source]);
  Value input = reshape(builder, loc, value, reduced);
  Value init = empty(builder, loc, transposed, type.getElementType());
  Value result = linalg::TransposeOp::create(builder, loc, input, init, order)->getResult(0);
  return reshape(builder, loc, result, shape);
}

static TypedAttr numberOf(Type type, double number) {
  if (isa<FloatType>(type))
    return FloatAttr::get(type, number);
  return IntegerAttr::get(type, static_cast<int64_t>(number));
}

Type getSignless(Type type) {
  bool isSmallFloat = isa<FloatType>(type) && type.getIntOrFloatBitWidth() <= 8;
  return type.isUnsignedInteger() || isSmallFloat ? IntegerType::get(type.getContext(), type.getIntOrFloatBitWidth()) : type;
}

Value castSign(OpBuilder &builder, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  if (auto cast = value.getDefiningOp<UnrealizedConversionCastOp>(); cast && cast.getInputs()[0].getType() == type)
    return cast.getInputs()[0];
  return UnrealizedConversionCastOp::create(builder, loc, type, value).getResult(0);
}

Value scalar(OpBuilder &builder, Location loc, TypedAttr number) {
  Type type = number.getType(), signless = getSignless(type);
  if (signless != type)
    number = IntegerAttr::get(signless, isa<FloatAttr>(number) ? cast<FloatAttr>(number).getValue().bitcastToAPInt()
                                                               : cast<IntegerAttr>(number).getValue());
  return castSign(builder, loc, arith::ConstantOp::create(builder, loc, signless, number), type);
}

Value scalar(OpBuilder &builder, Location loc, Type type, double number) { return scalar(builder, loc, numberOf(type, number)); }

Value fill(OpBuilder &builder, Location loc, RankedTensorType type, TypedAttr number) {
  Value init = empty(builder, loc, type.getShape(), type.getElementType());
  return linalg::FillOp::create(builder, loc, scalar(builder, loc, number), init).getResult(0);
}

Value fill(OpBuilder &builder, Location loc, RankedTensorType type, double number) {
  return fill(builder, loc, type, numberOf(type.getElementType(), number));
}

/// The one element of a constant that is a splat or has one element, as what it is; else null.
static TypedAttr getConstantScalar(Value value) {
  if (auto dense = dyn_cast_if_present<DenseElementsAttr>(getConstant(value)))
    return dense.isSplat() || dense.getNumElements() == 1 ? dyn_cast<TypedAttr>(*dense.value_begin<Attribute>()) : TypedAttr();
  if (std::optional<double> number = getConstantNumber(value))
    return numberOf(typeOf(value).getElementType(), *number);
  return nullptr;
}

Value elementwise(OpBuilder &builder, Location loc, ValueRange inputs, RankedTensorType resultType, ElementwiseBody body,
                  Value init) {
  SmallVector<int64_t> shape = dropBatch(resultType.getShape());
  int64_t rank = shape.size();
  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  SmallVector<int> operandOf;
  for (Value input : inputs) {
    if (getConstantScalar(input)) {
      operandOf.push_back(-1);
      continue;
    }
    // Dimensions of the input counted from the end; those of size one that are stretched are dropped.
    ArrayRef<int64_t> inputShape = typeOf(input).getShape();
    int64_t inputRank = inputShape.size();
    SmallVector<int64_t> kept;
    SmallVector<AffineExpr> exprs;
    for (int64_t i = 0; i < inputRank; ++i) {
      int64_t loop = i + rank - inputRank;
      if (loop < 0 || (inputShape[i] == 1 && shape[loop] != 1))
        continue;
      kept.push_back(inputShape[i]);
      exprs.push_back(builder.getAffineDimExpr(loop));
    }
    operandOf.push_back(operands.size());
    operands.push_back(reshape(builder, loc, input, kept));
    maps.push_back(AffineMap::get(rank, 0, exprs, builder.getContext()));
  }
  maps.push_back(builder.getMultiDimIdentityMap(rank));
  if (!init)
    init = empty(builder, loc, shape, resultType.getElementType());
  auto generic = linalg::GenericOp::create(
      builder, loc, init.getType(), operands, init, maps, parallelLoops(rank),
      [&](OpBuilder &nested, Location nestedLoc, ValueRange args) {
        SmallVector<Value> scalars;
        for (auto [input, operand] : llvm::zip_equal(inputs, operandOf))
          scalars.push_back(operand >= 0 ? args[operand] : scalar(nested, nestedLoc, getConstantScalar(input)));
        linalg::YieldOp::create(nested, nestedLoc, body(nested, nestedLoc, scalars));
      });
  return reshape(builder, loc, generic.getResult(0), resultType.getShape());
}

Value reduceLast(OpBuilder &builder, Location loc, Value value, double initial,
                 function_ref<Value(OpBuilder &, Location, Value, Value)> combine) {
  return reduceLast(builder, loc, value, numberOf(typeOf(value).getElementType(), initial), combine);
}

Value reduceLast(OpBuilder &builder, Location loc, Value value, TypedAttr initial,
                 function_ref<Value(OpBuilder &, Location, Value, Value)> combine) {
  RankedTensorType type = typeOf(value);
  SmallVector<int64_t> shape = dropBatch(type.getShape());
  Value input = reshape(builder, loc, value, shape);
  int64_t rank = shape.size();
  Value init = fill(builder, loc, RankedTensorType::get(ArrayRef(shape).drop_back(), type.getElementType()), initial);
  AffineMap inputMap = builder.getMultiDimIdentityMap(rank);
  AffineMap resultMap = inputMap.dropResult(rank - 1);
  SmallVector<utils::IteratorType> loops = parallelLoops(rank);
  loops.back() = utils::IteratorType::reduction;
  auto generic = linalg::GenericOp::create(builder, loc, init.getType(), input, init, ArrayRef<AffineMap>{inputMap, resultMap}, loops,
                                           [&](OpBuilder &nested, Location nestedLoc, ValueRange args) {
                                             linalg::YieldOp::create(nested, nestedLoc,
                                                                     combine(nested, nestedLoc, args[0], args[1]));
                                           });
  return reshape(builder, loc, generic.getResult(0), type.getShape().drop_back());
}

static void fillSlice(OpBuilder &builder, ArrayRef<int64_t> shape, int64_t axis, OpFoldResult offset, int64_t stride,
                      SmallVectorImpl<OpFoldResult> &offsets, SmallVectorImpl<OpFoldResult> &strides) {
  offsets.assign(shape.size(), builder.getIndexAttr(0));
  strides.assign(shape.size(), builder.getIndexAttr(1));
  offsets[axis] = offset;
  strides[axis] = builder.getIndexAttr(stride);
}

Value slice(OpBuilder &builder, Location loc, Value value, int64_t axis, OpFoldResult offset, int64_t size, int64_t stride) {
  RankedTensorType type = typeOf(value);
  if (isConstantIntValue(offset, 0) && size == type.getDimSize(axis) && stride == 1)
    return value;
  SmallVector<OpFoldResult> offsets, strides;
  fillSlice(builder, type.getShape(), axis, offset, stride, offsets, strides);
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] = size;
  // A slice of nothing may begin behind the end, where an op must not.
  if (size == 0)
    return empty(builder, loc, shape, type.getElementType());
  return tensor::ExtractSliceOp::create(builder, loc, RankedTensorType::get(shape, type.getElementType()), value, offsets,
                                        getAsIndexOpFoldResult(builder.getContext(), shape), strides);
}

Value insert(OpBuilder &builder, Location loc, Value source, Value destination, int64_t axis, int64_t offset, int64_t stride) {
  if (typeOf(source).getNumElements() == 0)
    return destination;
  SmallVector<OpFoldResult> offsets, strides;
  fillSlice(builder, typeOf(source).getShape(), axis, builder.getIndexAttr(offset), stride, offsets, strides);
  return tensor::InsertSliceOp::create(builder, loc, source, destination, offsets,
                                       getAsIndexOpFoldResult(builder.getContext(), typeOf(source).getShape()), strides);
}

Value matmul(OpBuilder &builder, Location loc, Value x, Value w, bool transposed) {
  int64_t columns = typeOf(w).getDimSize(transposed ? 0 : 1);
  Value init = fill(builder, loc, RankedTensorType::get({typeOf(x).getDimSize(0), columns}, typeOf(x).getElementType()), 0);
  if (transposed)
    return linalg::MatmulTransposeBOp::create(builder, loc, ValueRange{x, w}, ValueRange{init})->getResult(0);
  return linalg::MatmulOp::create(builder, loc, ValueRange{x, w}, ValueRange{init}).getResult(0);
}

Value rmsNorm(OpBuilder &builder, Location loc, Value x, Value scale, double epsilon) {
  SmallVector<int64_t> resultShape(typeOf(x).getShape());
  x = reshape(builder, loc, x, dropBatch(resultShape));
  RankedTensorType type = typeOf(x);
  Type element = type.getElementType();
  Value sum = reduceLast(builder, loc, x, 0.0, [](OpBuilder &b, Location l, Value v, Value acc) -> Value {
    return arith::AddFOp::create(b, l, arith::MulFOp::create(b, l, v, v), acc);
  });
  double columns = type.getDimSize(type.getRank() - 1);
  Value inverse = elementwise(builder, loc, sum, typeOf(sum), [&](OpBuilder &b, Location l, ValueRange args) -> Value {
    Value mean = arith::DivFOp::create(b, l, args[0], scalar(b, l, element, columns));
    Value root = math::SqrtOp::create(b, l, arith::AddFOp::create(b, l, mean, scalar(b, l, element, epsilon)));
    return arith::DivFOp::create(b, l, scalar(b, l, element, 1.0), root);
  });
  SmallVector<int64_t> column(typeOf(inverse).getShape());
  column.push_back(1);
  inverse = reshape(builder, loc, inverse, column);
  Value result = elementwise(builder, loc, {x, inverse, scale}, type, [](OpBuilder &b, Location l, ValueRange args) -> Value {
    return arith::MulFOp::create(b, l, arith::MulFOp::create(b, l, args[0], args[1]), args[2]);
  });
  return reshape(builder, loc, result, resultShape);
}

Value rotary(OpBuilder &builder, Location loc, Value x, Value cos, Value sin, bool interleaved) {
  SmallVector<int64_t> resultShape(typeOf(x).getShape());
  x = reshape(builder, loc, x, dropBatch(resultShape));
  RankedTensorType type = typeOf(x);
  int64_t axis = type.getRank() - 1;
  int64_t half = typeOf(cos).getShape().back();
  int64_t second = interleaved ? 1 : half, stride = interleaved ? 2 : 1;
  auto part = [&](Value value, int64_t offset) { return slice(builder, loc, value, axis, builder.getIndexAttr(offset), half, stride); };
  Value low = part(x, 0), high = part(x, second);
  // Each half is written in its place: the slice of the destination is the init.
  Value result = 2 * half == type.getDimSize(axis) ? empty(builder, loc, type.getShape(), type.getElementType()) : x;
  auto rotate = [&](Value a, Value b, int64_t offset, bool subtract) {
    Value rotated = elementwise(
        builder, loc, {a, b, cos, sin}, typeOf(low),
        [&](OpBuilder &nested, Location l, ValueRange args) -> Value {
          Value left = arith::MulFOp::create(nested, l, args[0], args[2]);
          Value right = arith::MulFOp::create(nested, l, args[1], args[3]);
          if (subtract)
            return arith::SubFOp::create(nested, l, left, right);
          return arith::AddFOp::create(nested, l, left, right);
        },
        part(result, offset));
    result = insert(builder, loc, rotated, result, axis, offset, stride);
  };
  rotate(low, high, 0, true);
  rotate(high, low, second, false);
  return reshape(builder, loc, result, resultShape);
}

Value iota(OpBuilder &builder, Location loc, int64_t count, Value start) {
  Type i64 = builder.getI64Type();
  Value init = empty(builder, loc, {count}, i64);
  return linalg::GenericOp::create(
             builder, loc, init.getType(), ValueRange{}, init, ArrayRef<AffineMap>{builder.getMultiDimIdentityMap(1)},
             parallelLoops(1),
             [&](OpBuilder &nested, Location l, ValueRange) {
               Value index = linalg::IndexOp::create(nested, l, 0);
               Value sum = arith::AddIOp::create(nested, l, index, start);
               Value number = arith::IndexCastOp::create(nested, l, i64, sum);
               linalg::YieldOp::create(nested, l, number);
             })
      .getResult(0);
}

} // namespace elutq::normalize
