//===- InferShape.cpp - Shapes that follow from those of operands ---------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Traits.h"

using namespace mlir;

namespace elutq::normalize {

using Shape = SmallVector<int64_t>;

static std::optional<Shape> broadcast(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  Shape joined;
  return OpTrait::util::getBroadcastedShape(a, b, joined) ? std::optional(joined) : std::nullopt;
}

/// The shape that numpy's broadcasting gives, or none where a dimension is unknown.
static std::optional<Shape> broadcastShapes(OperandRange operands) {
  std::optional<Shape> shape = Shape{};
  for (Value operand : operands) {
    RankedTensorType type = getStaticType(operand);
    shape = type && shape ? broadcast(*shape, type.getShape()) : std::nullopt;
  }
  return shape;
}

static Shape inferTranspose(onnx::TransposeOp op, RankedTensorType input) {
  Shape shape;
  for (int64_t i = 0; i < input.getRank(); ++i)
    shape.push_back(input.getDimSize(op.getPerm() ? (*op.getPerm())[i] : input.getRank() - 1 - i));
  return shape;
}

static std::optional<Shape> inferGather(onnx::GatherOp op, RankedTensorType input) {
  RankedTensorType indices = getStaticType(op.getIndices());
  if (!indices)
    return std::nullopt;
  int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), input.getRank());
  Shape shape(input.getShape().take_front(axis));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, input.getShape().drop_front(axis + 1));
  return shape;
}

static std::optional<Shape> inferUnsqueeze(onnx::UnsqueezeOp op, RankedTensorType input) {
  std::optional<Shape> axes = getConstantInts(op.getAxes());
  if (!axes)
    return std::nullopt;
  int64_t rank = input.getRank() + axes->size();
  SmallVector<bool> isNew(rank, false);
  for (int64_t axis : *axes)
    isNew[normalizeAxis(axis, rank)] = true;
  Shape shape;
  for (int64_t i = 0, from = 0; i < rank; ++i)
    shape.push_back(isNew[i] ? 1 : input.getDimSize(from++));
  return shape;
}

static std::optional<Shape> inferSqueeze(onnx::SqueezeOp op, RankedTensorType input) {
  std::optional<Shape> axes = isAbsent(op.getAxes()) ? std::nullopt : getConstantInts(op.getAxes());
  if (!axes && !isAbsent(op.getAxes()))
    return std::nullopt;
  SmallVector<bool> isGone(input.getRank(), false);
  for (int64_t i = 0; !axes && i < input.getRank(); ++i)
    isGone[i] = input.getDimSize(i) == 1;
  for (int64_t axis : axes.value_or(Shape{}))
    isGone[normalizeAxis(axis, input.getRank())] = true;
  Shape shape;
  for (int64_t i = 0; i < input.getRank(); ++i)
    if (!isGone[i])
      shape.push_back(input.getDimSize(i));
  return shape;
}

static std::optional<Shape> inferConcat(onnx::ConcatOp op, RankedTensorType input) {
  Shape shape(input.getShape());
  int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), input.getRank());
  for (Value other : op.getInputs().drop_front()) {
    RankedTensorType type = getStaticType(other);
    if (!type)
      return std::nullopt;
    shape[axis] += type.getDimSize(axis);
  }
  return shape;
}

/// The last unknown dimension is what the others leave.
static std::optional<Shape> inferRest(RankedTensorType input, Shape shape) {
  int64_t known = 1;
  for (int64_t size : shape)
    known *= ShapedType::isDynamic(size) ? 1 : size;
  if (llvm::count(shape, ShapedType::kDynamic) > 1 || known == 0 || input.getNumElements() % known != 0)
    return std::nullopt;
  llvm::replace(shape, ShapedType::kDynamic, input.getNumElements() / known);
  return shape;
}

static std::optional<Shape> inferReshape(onnx::ReshapeOp op, RankedTensorType input) {
  if (std::optional<Shape> shape = getConstantInts(op.getShape())) {
    for (auto [i, size] : llvm::enumerate(*shape)) {
      if (size == 0 && op.getAllowzero() == 0 && static_cast<int64_t>(i) < input.getRank())
        size = input.getDimSize(i);
      if (size < 0)
        size = ShapedType::kDynamic;
    }
    return inferRest(input, *shape);
  }
  auto result = dyn_cast<RankedTensorType>(op.getType());
  return result ? inferRest(input, Shape(result.getShape())) : std::nullopt;
}

static std::optional<Shape> inferSlice(onnx::SliceOp op, RankedTensorType input) {
  std::optional<Shape> starts = getConstantInts(op.getStarts()), ends = getConstantInts(op.getEnds());
  Shape all(llvm::to_vector(llvm::seq<int64_t>(0, input.getRank())));
  std::optional<Shape> axes = isAbsent(op.getAxes()) ? all : getConstantInts(op.getAxes());
  bool hasSteps = !isAbsent(op.getSteps());
  std::optional<Shape> steps = hasSteps ? getConstantInts(op.getSteps()) : std::nullopt;
  if (!starts || !ends || !axes || hasSteps != steps.has_value() || starts->size() != ends->size() || axes->size() < starts->size())
    return std::nullopt;
  Shape shape(input.getShape());
  for (auto [i, start, end] : llvm::enumerate(*starts, *ends)) {
    int64_t axis = normalizeAxis((*axes)[i], input.getRank()), size = input.getDimSize(axis), step = steps ? (*steps)[i] : 1;
    if (step <= 0)
      return std::nullopt;
    auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(normalizeAxis(bound, size), 0, size); };
    shape[axis] = std::max<int64_t>(0, (clamp(end) - clamp(start) + step - 1) / step);
  }
  return shape;
}

static std::optional<Shape> inferMatMul(onnx::MatMulOp op, RankedTensorType input) {
  RankedTensorType other = getStaticType(op.getB());
  if (!other || other.getRank() < 2 || input.getRank() < 2)
    return std::nullopt;
  std::optional<Shape> shape = broadcast(input.getShape().drop_back(2), other.getShape().drop_back(2));
  if (shape)
    shape->append({input.getShape().drop_back().back(), other.getShape().back()});
  return shape;
}

static std::optional<Shape> inferGemm(onnx::GemmOp op, RankedTensorType input) {
  RankedTensorType matrix = getStaticType(op.getB());
  if (!matrix || input.getRank() != 2 || matrix.getRank() != 2)
    return std::nullopt;
  return Shape{input.getDimSize(op.getTransA() ? 1 : 0), matrix.getDimSize(op.getTransB() ? 0 : 1)};
}

/// Sums and means over dimensions that stay, with size one.
static std::optional<Shape> inferReduction(RankedTensorType input, Value axesOperand, bool keeps) {
  std::optional<Shape> axes = isAbsent(axesOperand) ? std::nullopt : getConstantInts(axesOperand);
  if (!axes || !keeps || axes->empty())
    return std::nullopt;
  Shape shape(input.getShape());
  for (int64_t axis : *axes)
    shape[normalizeAxis(axis, input.getRank())] = 1;
  return shape;
}

/// Of a product with a quantized matrix of `n` rows.
static std::optional<Shape> inferQuantized(RankedTensorType input, int64_t n) {
  if (input.getRank() == 0)
    return std::nullopt;
  Shape shape(input.getShape());
  shape.back() = n;
  return shape;
}

/// Of the parts of Split.
static std::optional<Shape> inferSplit(onnx::SplitOp op, RankedTensorType input, unsigned part) {
  int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), input.getRank()), parts = op->getNumResults();
  Shape shape(input.getShape());
  if (isAbsent(op.getSplit())) {
    int64_t size = llvm::divideCeil(shape[axis], parts);
    shape[axis] = std::max<int64_t>(0, std::min<int64_t>(size, shape[axis] - size * part));
    return shape;
  }
  std::optional<Shape> sizes = getConstantInts(op.getSplit());
  if (!sizes || static_cast<int64_t>(sizes->size()) != parts)
    return std::nullopt;
  shape[axis] = (*sizes)[part];
  return shape;
}

std::optional<Shape> inferShape(OpResult result) {
  Operation *op = result.getOwner();
  if (isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::PowOp, onnx::WhereOp, onnx::AndOp, onnx::OrOp, onnx::EqualOp, onnx::LessOp,
          onnx::LessOrEqualOp, onnx::GreaterOp, onnx::GreaterOrEqualOp>(op))
    return broadcastShapes(op->getOperands());
  RankedTensorType input = op->getNumOperands() > 0 ? getStaticType(op->getOperand(0)) : nullptr;
  if (!input)
    return std::nullopt;
  if (auto split = dyn_cast<onnx::SplitOp>(op))
    return inferSplit(split, input, result.getResultNumber());
  if (result.getResultNumber() != 0)
    return std::nullopt;
  // Norms have optional further results.
  if (isa<onnx::CastOp, onnx::IdentityOp, onnx::SqrtOp, onnx::ReciprocalOp, onnx::TanhOp, onnx::SigmoidOp, onnx::ErfOp, onnx::NegOp, onnx::NotOp,
          onnx::SoftmaxOp, onnx::TriluOp, onnx::ReluOp, onnx::GeluOp, onnx::CosOp, onnx::SinOp, onnx::LayerNormalizationOp, onnx::RMSNormalizationOp,
          onnx::ContribGeluOp, onnx::ContribFastGeluOp, onnx::ContribQuickGeluOp, onnx::ContribBiasGeluOp, onnx::ContribSimplifiedLayerNormalizationOp>(op))
    return Shape(input.getShape());
  if (auto transpose = dyn_cast<onnx::TransposeOp>(op))
    return inferTranspose(transpose, input);
  if (auto gather = dyn_cast<onnx::GatherOp>(op))
    return inferGather(gather, input);
  if (auto unsqueeze = dyn_cast<onnx::UnsqueezeOp>(op))
    return inferUnsqueeze(unsqueeze, input);
  if (auto squeeze = dyn_cast<onnx::SqueezeOp>(op))
    return inferSqueeze(squeeze, input);
  if (auto concat = dyn_cast<onnx::ConcatOp>(op))
    return inferConcat(concat, input);
  if (auto reshape = dyn_cast<onnx::ReshapeOp>(op))
    return inferReshape(reshape, input);
  if (auto slice = dyn_cast<onnx::SliceOp>(op))
    return inferSlice(slice, input);
  if (auto product = dyn_cast<onnx::MatMulOp>(op))
    return inferMatMul(product, input);
  if (auto gemm = dyn_cast<onnx::GemmOp>(op))
    return inferGemm(gemm, input);
  if (auto product = dyn_cast<onnx::ContribMatMulNBitsOp>(op))
    return inferQuantized(input, product.getN());
  if (auto product = dyn_cast<onnx::ElutqHLQMatMulOp>(op))
    return inferQuantized(input, product.getN());
  if (auto mean = dyn_cast<onnx::ReduceMeanOp>(op))
    return inferReduction(input, mean.getAxes(), mean.getKeepdims() != 0);
  if (auto sum = dyn_cast<onnx::ReduceSumOp>(op))
    return inferReduction(input, sum.getAxes(), sum.getKeepdims() != 0);
  if (auto expand = dyn_cast<onnx::ExpandOp>(op)) {
    std::optional<Shape> shape = getConstantInts(expand.getShape());
    return shape ? broadcast(input.getShape(), *shape) : std::nullopt;
  }
  return std::nullopt;
}

} // namespace elutq::normalize
