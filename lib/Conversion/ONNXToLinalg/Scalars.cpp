//===- Scalars.cpp - Arithmetic on elements of onnx tensors ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Scalars.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace elutq::normalize {

static TypedAttr extreme(Type type, bool lowest) {
  if (auto floatType = dyn_cast<FloatType>(type))
    return FloatAttr::get(type, APFloat::getInf(floatType.getFloatSemantics(), lowest));
  unsigned width = type.getIntOrFloatBitWidth();
  if (isUnsignedType(type))
    return IntegerAttr::get(type, lowest ? APInt::getMinValue(width) : APInt::getMaxValue(width));
  return IntegerAttr::get(type, lowest ? APInt::getSignedMinValue(width) : APInt::getSignedMaxValue(width));
}

TypedAttr getLowest(Type type) { return extreme(type, true); }
TypedAttr getHighest(Type type) { return extreme(type, false); }

Value convert(ScalarBuilder &b, Value x, Type from, Type to) {
  Type result = getSignless(to);
  if (from == to)
    return x;
  if (isSmallFloat(from))
    return convert(b, decodeSmallFloat(b, x, cast<FloatType>(from)), b.getF32Type(), to);
  if (isSmallFloat(to))
    return encodeSmallFloat(b, convert(b, x, from, b.getF32Type()), cast<FloatType>(to));
  if (x.getType() == result)
    return x;
  auto fromFloat = dyn_cast<FloatType>(from), toFloat = dyn_cast<FloatType>(to);
  if (fromFloat && toFloat) {
    if (fromFloat.getWidth() == toFloat.getWidth())
      return arith::TruncFOp::create(b, to, arith::ExtFOp::create(b, b.getF32Type(), x));
    return fromFloat.getWidth() < toFloat.getWidth() ? Value(arith::ExtFOp::create(b, to, x))
                                                     : Value(arith::TruncFOp::create(b, to, x));
  }
  if (fromFloat) {
    if (to.isInteger(1))
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x, constant(b, from, 0.0));
    // Numbers beyond the range of so few bits wrap, as in ONNX's reference.
    if (to.getIntOrFloatBitWidth() < 8)
      return arith::TruncIOp::create(b, result, arith::FPToSIOp::create(b, b.getI32Type(), x));
    if (to.isUnsignedInteger())
      return arith::FPToUIOp::create(b, result, x);
    return arith::FPToSIOp::create(b, result, x);
  }
  bool isUnsigned = isUnsignedType(from);
  if (toFloat)
    return isUnsigned ? Value(arith::UIToFPOp::create(b, to, x)) : Value(arith::SIToFPOp::create(b, to, x));
  if (to.isInteger(1))
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x, constant(b, from, 0.0));
  if (from.getIntOrFloatBitWidth() > to.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(b, result, x);
  return isUnsigned ? Value(arith::ExtUIOp::create(b, result, x)) : Value(arith::ExtSIOp::create(b, result, x));
}

Value applyScalar(OpBuilder &builder, Location loc, ValueRange args, Type resultType,
                  function_ref<Value(ScalarBuilder &, ValueRange)> body) {
  SmallVector<Value> signless;
  for (Value arg : args)
    signless.push_back(castSign(builder, loc, arg, getSignless(arg.getType())));
  bool isUnsigned = llvm::any_of(args, [](Value arg) { return arg.getType().isUnsignedInteger(); }) ||
                    (!args.empty() && args[0].getType().isInteger(1));
  ScalarBuilder b(loc, builder, isUnsigned);
  return castSign(b, loc, body(b, signless), resultType);
}

Value elementwiseScalars(OpBuilder &builder, Location loc, ValueRange inputs, RankedTensorType type,
                         function_ref<Value(ScalarBuilder &, ValueRange)> body) {
  return elementwise(builder, loc, inputs, type, [&](OpBuilder &nested, Location l, ValueRange args) {
    return applyScalar(nested, l, args, type.getElementType(), body);
  });
}

Value generate(OpBuilder &builder, Location loc, RankedTensorType type, function_ref<Value(ScalarBuilder &, Indices)> body) {
  int64_t rank = type.getRank();
  Value init = tensor::EmptyOp::create(builder, loc, type.getShape(), type.getElementType());
  return linalg::GenericOp::create(builder, loc, type, ValueRange(), init, ArrayRef<AffineMap>{builder.getMultiDimIdentityMap(rank)},
                                   SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
                                   [&](OpBuilder &nested, Location l, ValueRange) {
                                     ScalarBuilder b(l, nested, isUnsignedType(type.getElementType()));
                                     SmallVector<Value> indices;
                                     for (int64_t i = 0; i < rank; ++i)
                                       indices.push_back(linalg::IndexOp::create(b, i));
                                     Value element = castSign(b, l, body(b, indices), type.getElementType());
                                     linalg::YieldOp::create(b, element);
                                   })
      .getResult(0);
}

Value readElement(ScalarBuilder &b, Value tensor, Indices indices) {
  Value element = tensor::ExtractOp::create(b, tensor, indices);
  return castSign(b, b.getLoc(), element, getSignless(element.getType()));
}

Value writeElement(ScalarBuilder &b, Value number, Value tensor, Indices indices) {
  Type type = cast<RankedTensorType>(tensor.getType()).getElementType();
  return tensor::InsertOp::create(b, castSign(b, b.getLoc(), number, type), tensor, indices);
}

Value indexConstant(ScalarBuilder &b, int64_t number) { return arith::ConstantIndexOp::create(b, number); }

Value readIndex(ScalarBuilder &b, Value tensor, Indices indices, int64_t size) {
  Type type = cast<RankedTensorType>(tensor.getType()).getElementType();
  Value element = readElement(b, tensor, indices);
  Value index = isUnsignedType(type) ? Value(arith::IndexCastUIOp::create(b, b.getIndexType(), element))
                                     : Value(arith::IndexCastOp::create(b, b.getIndexType(), element));
  if (size == 0 || isUnsignedType(type))
    return index;
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, indexConstant(b, 0));
  Value wrapped = arith::AddIOp::create(b, index, indexConstant(b, size));
  return arith::SelectOp::create(b, negative, wrapped, index);
}

Value loop(OpBuilder &builder, Location loc, ArrayRef<int64_t> counts, Value tensor,
           function_ref<Value(ScalarBuilder &, Indices, Value)> body) {
  if (llvm::is_contained(counts, 0))
    return tensor;
  bool isUnsigned = isUnsignedType(cast<RankedTensorType>(tensor.getType()).getElementType());
  SmallVector<Value> indices;
  std::function<Value(OpBuilder &, Value)> nest = [&](OpBuilder &outer, Value state) -> Value {
    ScalarBuilder b(loc, outer, isUnsigned);
    if (indices.size() == counts.size())
      return body(b, indices, state);
    Value zero = indexConstant(b, 0), one = indexConstant(b, 1), count = indexConstant(b, counts[indices.size()]);
    auto forOp = scf::ForOp::create(b, zero, count, one, state, [&](OpBuilder &nested, Location l, Value index, ValueRange args) {
      indices.push_back(index);
      Value next = nest(nested, args[0]);
      indices.pop_back();
      scf::YieldOp::create(nested, l, next);
    });
    return forOp.getResult(0);
  };
  return nest(builder, tensor);
}

SmallVector<Value> delinearize(ScalarBuilder &b, Value offset, ArrayRef<int64_t> shape) {
  SmallVector<Value> indices(shape.size());
  for (int64_t i = shape.size() - 1; i >= 0; --i) {
    Value size = indexConstant(b, std::max<int64_t>(shape[i], 1));
    indices[i] = i == 0 ? offset : Value(arith::RemUIOp::create(b, offset, size));
    offset = i == 0 ? offset : Value(arith::DivUIOp::create(b, offset, size));
  }
  return indices;
}

} // namespace elutq::normalize
