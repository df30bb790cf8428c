//===- FoldConstants.cpp - Evaluates the arithmetic of shapes -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/ONNXToLinalg.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <functional>
#include <numeric>

using namespace mlir;

namespace elutq::normalize {
namespace {

using Numbers = SmallVector<int64_t>;

/// Larger results stay as operations.
constexpr int64_t kLimit = 4096;

/// A constant of signed integers or booleans with its shape.
struct Constant {
  Numbers values;
  Numbers shape;
};

std::optional<Constant> read(Value value) {
  if (isAbsent(value))
    return std::nullopt;
  std::optional<Numbers> values = getConstantInts(value, kLimit);
  if (!values)
    return std::nullopt;
  return Constant{*values, Numbers(cast<RankedTensorType>(value.getType()).getShape())};
}

/// The element of `constant` that broadcasting puts at the linear `index` of `shape`.
int64_t at(const Constant &constant, ArrayRef<int64_t> shape, int64_t index) {
  int64_t offset = 0, stride = 1;
  for (int64_t i = 0, rank = shape.size(), own = constant.shape.size(); i < rank; ++i) {
    int64_t coordinate = index % shape[rank - 1 - i];
    index /= shape[rank - 1 - i];
    if (i >= own)
      continue;
    int64_t size = constant.shape[own - 1 - i];
    offset += (size == 1 ? 0 : coordinate) * stride;
    stride *= size;
  }
  return constant.values[offset];
}

int64_t floorDivideTowardsZero(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? -a : a / b; }

/// With the sign of the dividend, or of the divisor (Python's).
int64_t floorRemainder(int64_t a, int64_t b, bool ofDividend) {
  int64_t rest = b == 0 || b == -1 ? 0 : a % b;
  return !ofDividend && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

std::optional<Numbers> foldElementwise(Operation *op, ArrayRef<int64_t> shape, function_ref<int64_t(ArrayRef<int64_t>)> body) {
  SmallVector<Constant> inputs;
  for (Value operand : op->getOperands()) {
    std::optional<Constant> constant = read(operand);
    if (!constant)
      return std::nullopt;
    inputs.push_back(*constant);
  }
  Numbers result;
  for (int64_t i = 0, e = ShapedType::getNumElements(shape); i < e; ++i) {
    Numbers args;
    for (const Constant &input : inputs)
      args.push_back(at(input, shape, i));
    result.push_back(body(args));
  }
  return result;
}

std::optional<Numbers> foldShape(onnx::ShapeOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getData().getType());
  if (!type)
    return std::nullopt;
  int64_t rank = type.getRank();
  auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(normalizeAxis(bound, rank), 0, rank); };
  int64_t start = clamp(op.getStart()), end = clamp(op.getEnd().value_or(rank));
  Numbers sizes;
  for (int64_t i = start; i < end; ++i) {
    if (type.isDynamicDim(i))
      return std::nullopt;
    sizes.push_back(type.getDimSize(i));
  }
  return sizes;
}

std::optional<Numbers> foldGather(onnx::GatherOp op) {
  std::optional<Constant> data = read(op.getData()), indices = read(op.getIndices());
  if (!data || !indices || data->shape.size() != 1 || op.getAxis() != 0)
    return std::nullopt;
  Numbers result;
  for (int64_t index : indices->values) {
    index = normalizeAxis(index, data->values.size());
    if (index < 0 || index >= static_cast<int64_t>(data->values.size()))
      return std::nullopt;
    result.push_back(data->values[index]);
  }
  return result;
}

std::optional<Numbers> foldConcat(onnx::ConcatOp op) {
  Numbers result;
  for (Value input : op.getInputs()) {
    std::optional<Constant> part = read(input);
    if (!part || part->shape.size() != 1)
      return std::nullopt;
    llvm::append_range(result, part->values);
  }
  return result;
}

std::optional<Numbers> foldSlice(onnx::SliceOp op) {
  std::optional<Constant> data = read(op.getData()), starts = read(op.getStarts()), ends = read(op.getEnds());
  if (!data || !starts || !ends || data->shape.size() != 1 || starts->values.size() != 1 || ends->values.size() != 1)
    return std::nullopt;
  int64_t step = 1, size = data->values.size();
  if (!isAbsent(op.getSteps())) {
    std::optional<Constant> steps = read(op.getSteps());
    if (!steps || steps->values.front() <= 0)
      return std::nullopt;
    step = steps->values.front();
  }
  auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(normalizeAxis(bound, size), 0, size); };
  Numbers result;
  for (int64_t i = clamp(starts->values.front()), end = clamp(ends->values.front()); i < end; i += step)
    result.push_back(data->values[i]);
  return result;
}

std::optional<Numbers> foldRange(onnx::RangeOp op) {
  std::optional<Constant> start = read(op.getStart()), limit = read(op.getLimit()), delta = read(op.getDelta());
  if (!start || !limit || !delta || delta->values.front() == 0)
    return std::nullopt;
  int64_t step = delta->values.front(), end = limit->values.front();
  Numbers result;
  for (int64_t i = start->values.front(); step > 0 ? i < end : i > end; i += step) {
    if (static_cast<int64_t>(result.size()) == kLimit)
      return std::nullopt;
    result.push_back(i);
  }
  return result;
}

std::optional<Numbers> foldReduceProd(onnx::ReduceProdOp op) {
  std::optional<Constant> data = read(op.getData());
  if (!data || cast<RankedTensorType>(op.getType()).getNumElements() != 1)
    return std::nullopt;
  return Numbers{std::accumulate(data->values.begin(), data->values.end(), int64_t(1), std::multiplies<int64_t>())};
}

/// The result of an op on constant integers.
std::optional<Numbers> evaluate(Operation *op, ArrayRef<int64_t> shape) {
  using Args = ArrayRef<int64_t>;
  auto elementwise = [&](auto body) { return foldElementwise(op, shape, body); };
  auto sameElements = [&](Value value) -> std::optional<Numbers> {
    std::optional<Constant> constant = read(value);
    return constant ? std::optional(constant->values) : std::nullopt;
  };
  return llvm::TypeSwitch<Operation *, std::optional<Numbers>>(op)
      .Case([](onnx::ShapeOp shapeOp) { return foldShape(shapeOp); })
      .Case([](onnx::GatherOp gather) { return foldGather(gather); })
      .Case([](onnx::ConcatOp concat) { return foldConcat(concat); })
      .Case([](onnx::SliceOp sliceOp) { return foldSlice(sliceOp); })
      .Case([](onnx::RangeOp range) { return foldRange(range); })
      .Case([](onnx::ReduceProdOp reduce) { return foldReduceProd(reduce); })
      .Case([](onnx::SizeOp size) -> std::optional<Numbers> {
        RankedTensorType type = getStaticType(size.getData());
        return type ? std::optional(Numbers{type.getNumElements()}) : std::nullopt;
      })
      .Case<onnx::ReshapeOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::FlattenOp, onnx::IdentityOp>(
          [&](Operation *same) { return sameElements(same->getOperand(0)); })
      .Case([&](onnx::CastOp castOp) -> std::optional<Numbers> {
        std::optional<Numbers> numbers = sameElements(castOp.getInput());
        if (numbers && castOp.getType().getElementType().isInteger(1))
          for (int64_t &number : *numbers)
            number = number != 0;
        return numbers;
      })
      .Case([&](onnx::ExpandOp expand) -> std::optional<Numbers> {
        std::optional<Constant> constant = read(expand.getInput());
        if (!constant)
          return std::nullopt;
        Numbers result;
        for (int64_t i = 0, e = ShapedType::getNumElements(shape); i < e; ++i)
          result.push_back(at(*constant, shape, i));
        return result;
      })
      .Case([&](onnx::AddOp) { return elementwise([](Args v) { return v[0] + v[1]; }); })
      .Case([&](onnx::SubOp) { return elementwise([](Args v) { return v[0] - v[1]; }); })
      .Case([&](onnx::MulOp) { return elementwise([](Args v) { return v[0] * v[1]; }); })
      .Case([&](onnx::DivOp) { return elementwise([](Args v) { return floorDivideTowardsZero(v[0], v[1]); }); })
      .Case([&](onnx::ModOp mod) { return elementwise([&](Args v) { return floorRemainder(v[0], v[1], mod.getFmod() != 0); }); })
      .Case([&](onnx::NegOp) { return elementwise([](Args v) { return -v[0]; }); })
      .Case([&](onnx::AbsOp) { return elementwise([](Args v) { return std::abs(v[0]); }); })
      .Case([&](onnx::NotOp) { return elementwise([](Args v) -> int64_t { return !v[0]; }); })
      .Case([&](onnx::AndOp) { return elementwise([](Args v) -> int64_t { return v[0] && v[1]; }); })
      .Case([&](onnx::OrOp) { return elementwise([](Args v) -> int64_t { return v[0] || v[1]; }); })
      .Case([&](onnx::LessOrEqualOp) { return elementwise([](Args v) -> int64_t { return v[0] <= v[1]; }); })
      .Case([&](onnx::GreaterOrEqualOp) { return elementwise([](Args v) -> int64_t { return v[0] >= v[1]; }); })
      .Case([&](onnx::EqualOp) { return elementwise([](Args v) -> int64_t { return v[0] == v[1]; }); })
      .Case([&](onnx::LessOp) { return elementwise([](Args v) -> int64_t { return v[0] < v[1]; }); })
      .Case([&](onnx::GreaterOp) { return elementwise([](Args v) -> int64_t { return v[0] > v[1]; }); })
      .Case([&](onnx::WhereOp) { return elementwise([](Args v) { return v[0] ? v[1] : v[2]; }); })
      .Case([&](onnx::MaxOp) { return elementwise([](Args v) { return *llvm::max_element(v); }); })
      .Case([&](onnx::MinOp) { return elementwise([](Args v) { return *llvm::min_element(v); }); })
      .Default([](Operation *) { return std::nullopt; });
}

/// ConstantOfShape with a known result is a splat; floats of small reshaped constants keep their bytes elsewhere.
ElementsAttr foldConstantOfShape(onnx::ConstantOfShapeOp op, RankedTensorType type) {
  if (std::optional<ElementsAttr> value = op.getValue())
    if (auto dense = dyn_cast<DenseElementsAttr>(*value); dense && dense.getNumElements() == 1)
      return DenseElementsAttr::get(type, *dense.value_begin<Attribute>());
  if (op.getValue())
    return nullptr;
  return DenseElementsAttr::get(type, Builder(op).getZeroAttr(type.getElementType()));
}

/// A cast of an integer constant to float.
ElementsAttr foldFloatCast(onnx::CastOp op, RankedTensorType type) {
  std::optional<Constant> constant = read(op.getInput());
  if (!constant)
    return nullptr;
  SmallVector<Attribute> values;
  for (int64_t number : constant->values)
    values.push_back(FloatAttr::get(type.getElementType(), static_cast<double>(number)));
  return DenseElementsAttr::get(type, values);
}

/// Arithmetic on single f32 numbers, as with the square root of the size of a head. The result of double precision, rounded, is that of f32.
ElementsAttr foldFloat(Operation *op, RankedTensorType type) {
  SmallVector<double> v;
  for (Value operand : op->getOperands()) {
    auto operandType = dyn_cast<RankedTensorType>(operand.getType());
    std::optional<double> number = operandType && operandType.getElementType().isF32() ? getConstantNumber(operand) : std::nullopt;
    if (!number)
      return nullptr;
    v.push_back(*number);
  }
  std::optional<double> result = llvm::TypeSwitch<Operation *, std::optional<double>>(op)
                                     .Case<onnx::CastOp, onnx::IdentityOp>([&](Operation *) { return v[0]; })
                                     .Case([&](onnx::SqrtOp) { return std::sqrt(v[0]); })
                                     .Case([&](onnx::ReciprocalOp) { return 1 / v[0]; })
                                     .Case([&](onnx::AddOp) { return v[0] + v[1]; })
                                     .Case([&](onnx::SubOp) { return v[0] - v[1]; })
                                     .Case([&](onnx::MulOp) { return v[0] * v[1]; })
                                     .Case([&](onnx::DivOp) { return v[0] / v[1]; })
                                     .Default([](Operation *) { return std::nullopt; });
  return result ? DenseElementsAttr::get(type, static_cast<float>(*result)) : DenseElementsAttr();
}

} // namespace

ElementsAttr evaluateConstant(Operation *op) {
  if (op->getNumResults() != 1)
    return nullptr;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || !type.hasStaticShape())
    return nullptr;
  ElementsAttr result;
  if (auto constantOfShape = dyn_cast<onnx::ConstantOfShapeOp>(op))
    result = foldConstantOfShape(constantOfShape, type);
  else if (auto castOp = dyn_cast<onnx::CastOp>(op); castOp && isa<FloatType>(type.getElementType()))
    result = foldFloatCast(castOp, type);
  else if (isa<IntegerType>(type.getElementType()) && type.getNumElements() <= kLimit) {
    std::optional<Numbers> numbers = evaluate(op, type.getShape());
    if (!numbers || static_cast<int64_t>(numbers->size()) != type.getNumElements())
      return nullptr;
    SmallVector<Attribute> values;
    for (int64_t number : *numbers)
      values.push_back(IntegerAttr::get(type.getElementType(), number));
    result = DenseElementsAttr::get(type, values);
  }
  if (!result && type.getElementType().isF32() && type.getNumElements() == 1)
    result = foldFloat(op, type);
  return result;
}

LogicalResult foldConstantOp(RewriterBase &rewriter, Operation *op) {
  ElementsAttr result = evaluateConstant(op);
  if (!result)
    return failure();
  rewriter.setInsertionPoint(op);
  rewriter.replaceOpWithNewOp<arith::ConstantOp>(op, cast<TypedAttr>(result));
  return success();
}

} // namespace elutq::normalize
