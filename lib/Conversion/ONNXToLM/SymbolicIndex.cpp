//===- SymbolicIndex.cpp - What integer subgraphs of a model compute ------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "SymbolicIndex.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include <limits>

using namespace mlir;

namespace elutq::normalize {

Affine Affine::operator+(const Affine &other) const {
  return {constant + other.constant, past + other.past, query + other.query, key + other.key};
}

Affine Affine::operator*(int64_t factor) const { return {constant * factor, past * factor, query * factor, key * factor}; }

bool Affine::operator==(const Affine &other) const {
  return constant == other.constant && past == other.past && query == other.query && key == other.key;
}

static Symbolic uniform(Affine value) {
  Symbolic result;
  result.elements.push_back(value);
  return result;
}

std::optional<Symbolic> SymbolicEvaluator::evaluate(Value value) {
  auto found = known.find(value);
  if (found != known.end())
    return found->second;
  std::optional<Symbolic> result = compute(value);
  if (!result && !failure)
    failure = value.getDefiningOp();
  known[value] = result;
  return result;
}

std::optional<Affine> SymbolicEvaluator::evaluateSize(Value value, int64_t dim) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || dim < 0 || dim >= type.getRank())
    return std::nullopt;
  if (!type.isDynamicDim(dim))
    return Affine{type.getDimSize(dim)};
  if (auto past = roles.pastAxis.find(value); past != roles.pastAxis.end() && past->second == dim)
    return Affine{0, 1};
  if (value == roles.attentionMask && dim == type.getRank() - 1)
    return Affine{roles.rows, 1};
  Operation *op = value.getDefiningOp();
  if (isa_and_present<onnx::CastOp, onnx::IdentityOp>(op))
    return evaluateSize(op->getOperand(0), dim);
  if (auto concat = dyn_cast_if_present<onnx::ConcatOp>(op)) {
    int64_t axis = normalizeAxis(static_cast<int64_t>(concat.getAxis()), type.getRank());
    if (axis != dim)
      return evaluateSize(concat.getInputs().front(), dim);
    Affine sum;
    for (Value input : concat.getInputs()) {
      std::optional<Affine> size = evaluateSize(input, dim);
      if (!size)
        return std::nullopt;
      sum = sum + *size;
    }
    return sum;
  }
  if (auto transpose = dyn_cast_if_present<onnx::TransposeOp>(op); transpose && transpose.getPerm())
    return evaluateSize(transpose.getData(), (*transpose.getPerm())[dim]);
  if (isa_and_present<onnx::ReshapeOp, onnx::ExpandOp>(op)) {
    std::optional<Symbolic> shape = evaluate(op->getOperand(1));
    if (!shape || static_cast<int64_t>(shape->elements.size()) != type.getRank())
      return std::nullopt;
    const Affine &size = shape->elements[dim];
    if (isa<onnx::ExpandOp>(op) && size == Affine{1}) {
      int64_t own = dim - (type.getRank() - getRank(op->getOperand(0)));
      return own < 0 ? Affine{1} : evaluateSize(op->getOperand(0), own);
    }
    // Numbers up to 0 stand for something else.
    if (!size.isConstant() || size.constant > 0)
      return size;
    return isa<onnx::ReshapeOp>(op) && size == Affine{-1} ? evaluateRest(cast<onnx::ReshapeOp>(op), dim) : std::nullopt;
  }
  if (auto constant = dyn_cast_if_present<onnx::ConstantOfShapeOp>(op)) {
    std::optional<Symbolic> shape = evaluate(constant.getInput());
    return shape && static_cast<int64_t>(shape->elements.size()) == type.getRank() ? std::optional(shape->elements[dim]) : std::nullopt;
  }
  if (auto range = dyn_cast_if_present<onnx::RangeOp>(op))
    return evaluateLength(range);
  if (isa_and_present<onnx::TriluOp, onnx::ScatterNDOp>(op))
    return evaluateSize(op->getOperand(0), dim);
  if (auto slice = dyn_cast_if_present<onnx::SliceOp>(op))
    return evaluateSliceSize(slice, dim);
  // Of broadcast operands, the size that is not 1.
  if (isa_and_present<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::AndOp, onnx::WhereOp, onnx::EqualOp, onnx::LessOp, onnx::LessOrEqualOp,
                      onnx::GreaterOp, onnx::GreaterOrEqualOp>(op)) {
    std::optional<Affine> joined = Affine{1};
    for (Value operand : op->getOperands()) {
      int64_t own = dim - (type.getRank() - getRank(operand));
      std::optional<Affine> size = own < 0 ? Affine{1} : evaluateSize(operand, own);
      if (!size || !joined || *size == Affine{1})
        joined = size ? joined : std::nullopt;
      else
        joined = *joined == Affine{1} || *joined == *size ? size : std::nullopt;
    }
    return joined;
  }
  if (auto unsqueeze = dyn_cast_if_present<onnx::UnsqueezeOp>(op)) {
    std::optional<SmallVector<int64_t>> axes = getConstantInts(unsqueeze.getAxes());
    if (!axes)
      return std::nullopt;
    int64_t before = dim;
    for (int64_t axis : *axes)
      before -= normalizeAxis(axis, type.getRank()) < dim;
    return evaluateSize(unsqueeze.getData(), before);
  }
  // Of a vector of consecutive keys, the length is known.
  if (std::optional<Symbolic> symbolic = evaluate(value); symbolic && symbolic->keyAxis == dim)
    return Affine{roles.rows, 1};
  return std::nullopt;
}

/// What a dimension -1 stands for: the one dimension of the input that is no number, if the others of both multiply to the same.
std::optional<Affine> SymbolicEvaluator::evaluateRest(onnx::ReshapeOp op, int64_t dim) {
  auto input = dyn_cast<RankedTensorType>(op.getData().getType());
  std::optional<Symbolic> shape = evaluate(op.getShape());
  std::optional<Affine> rest;
  int64_t before = 1, after = 1;
  for (int64_t i = 0; input && i < input.getRank(); ++i) {
    if (!input.isDynamicDim(i)) {
      before *= input.getDimSize(i);
    } else if (rest) {
      return std::nullopt;
    } else if (!(rest = evaluateSize(op.getData(), i))) {
      return std::nullopt;
    }
  }
  for (auto [i, size] : llvm::enumerate(shape->elements)) {
    if (static_cast<int64_t>(i) == dim)
      continue;
    if (!size.isConstant() || size.constant <= 0)
      return std::nullopt;
    after *= size.constant;
  }
  return before == after ? rest : std::nullopt;
}

/// Dimensions that a Slice leaves as they are.
std::optional<Affine> SymbolicEvaluator::evaluateSliceSize(onnx::SliceOp op, int64_t dim) {
  std::optional<SmallVector<int64_t>> axes = isAbsent(op.getAxes()) ? std::nullopt : getConstantInts(op.getAxes());
  if (!axes || axes->size() != 1)
    return std::nullopt;
  std::optional<Affine> size = evaluateSize(op.getData(), dim);
  if (normalizeAxis(axes->front(), getRank(op.getData())) != dim)
    return size;
  std::optional<Symbolic> start = evaluate(op.getStarts()), end = evaluate(op.getEnds());
  bool isWhole = start && end && start->elements.size() == 1 && end->elements.size() == 1 && start->elements.front() == Affine{0} &&
                 (isAbsent(op.getSteps()) || getConstantNumber(op.getSteps()) == 1.0) && size && end->elements.front() == *size;
  return isWhole ? size : std::nullopt;
}

/// The number of elements of a Range that counts up by one.
std::optional<Affine> SymbolicEvaluator::evaluateLength(onnx::RangeOp op) {
  std::optional<Symbolic> start = evaluate(op.getStart()), limit = evaluate(op.getLimit()), delta = evaluate(op.getDelta());
  if (!start || !limit || !delta || !start->isUniform() || !limit->isUniform() || !delta->isUniform() || start->isBool || limit->isBool ||
      !(delta->elements.front() == Affine{1}))
    return std::nullopt;
  return limit->elements.front() - start->elements.front();
}

std::optional<Symbolic> SymbolicEvaluator::compute(Value value) {
  if (value == roles.positionIds) {
    Symbolic result = uniform({0, 0, 1, 0});
    result.queryAxis = getRank(value) - 1;
    return result;
  }
  if (roles.starts.contains(value))
    return uniform({0, 1});
  if (roles.lengths.contains(value))
    return uniform({roles.rows, 1});
  // There is no padding: every position may be seen.
  if (value == roles.attentionMask)
    return uniform({1});
  if (auto type = getStaticType(value); type && isa<IntegerType>(type.getElementType())) {
    if (std::optional<SmallVector<int64_t>> ints = getConstantInts(value)) {
      if (type.getElementType().isInteger(1)) {
        if (!llvm::all_equal(*ints) || ints->empty())
          return std::nullopt;
        Symbolic result;
        result.isBool = true;
        result.isFalse = ints->front() == 0;
        return result;
      }
      Symbolic result;
      result.isVector = type.getRank() == 1 && ints->size() != 1;
      if (!result.isVector && (ints->empty() || !llvm::all_equal(*ints)))
        return std::nullopt;
      for (int64_t number : *ints) {
        result.elements.push_back({number});
        if (!result.isVector)
          break;
      }
      return result;
    }
  }
  Operation *op = value.getDefiningOp();
  return op && op->getNumResults() == 1 ? computeOp(op) : std::nullopt;
}

std::optional<Symbolic> SymbolicEvaluator::computeOp(Operation *op) {
  if (isa<onnx::IdentityOp>(op))
    return evaluate(op->getOperand(0));
  if (std::optional<Symbolic> mask = computeMask(op))
    return mask;
  if (auto castOp = dyn_cast<onnx::CastOp>(op)) {
    std::optional<Symbolic> input = evaluate(castOp.getInput());
    auto type = cast<ShapedType>(castOp.getType());
    if (!input || !isa<IntegerType>(type.getElementType()))
      return std::nullopt;
    bool toBool = type.getElementType().isInteger(1);
    if (toBool == input->isBool)
      return input;
    // Only the attention mask and constants are numbers that stand for truth.
    if (!input->isUniform() || (toBool && !input->elements.front().isConstant()))
      return std::nullopt;
    Symbolic result;
    if (toBool) {
      result.isBool = true;
      result.isFalse = input->elements.front().constant == 0;
      return result;
    }
    if (!input->conditions.empty())
      return std::nullopt;
    return uniform({input->isFalse ? 0 : 1});
  }
  if (isa<onnx::ShapeOp>(op))
    return computeShapeOf(op);
  if (isa<onnx::RangeOp>(op))
    return computeRange(op);
  if (isa<onnx::AddOp, onnx::SubOp, onnx::MulOp>(op))
    return computeBinary(op);
  if (isa<onnx::LessOp, onnx::LessOrEqualOp, onnx::GreaterOp, onnx::GreaterOrEqualOp>(op))
    return computeCompare(op);
  if (isa<onnx::AndOp, onnx::NotOp>(op))
    return computeLogic(op);
  if (isa<onnx::WhereOp>(op))
    return computeSelect(op);
  if (isa<onnx::ReshapeOp, onnx::SqueezeOp, onnx::UnsqueezeOp, onnx::ExpandOp, onnx::FlattenOp>(op))
    return computeReshape(op);
  return computeVectorOp(op);
}

/// Broadcasting aligns dimensions at the end.
void SymbolicEvaluator::mergeAxes(Operation *op, const Symbolic &lhs, const Symbolic &rhs, Symbolic &result) {
  int64_t rank = getRank(op->getResult(0));
  auto merge = [&](int64_t left, int64_t right, int64_t Symbolic::*axis) {
    int64_t fromLeft = left < 0 ? -1 : left + rank - getRank(op->getOperand(0));
    int64_t fromRight = right < 0 ? -1 : right + rank - getRank(op->getOperand(1));
    result.*axis = std::max(fromLeft, fromRight);
  };
  merge(lhs.queryAxis, rhs.queryAxis, &Symbolic::queryAxis);
  merge(lhs.keyAxis, rhs.keyAxis, &Symbolic::keyAxis);
}

/// Whether two operands run along the same dimensions where both run.
static bool sameAxes(Operation *op, const Symbolic &lhs, const Symbolic &rhs) {
  int64_t difference = getRank(op->getOperand(0)) - getRank(op->getOperand(1));
  auto agree = [&](int64_t left, int64_t right) { return left < 0 || right < 0 || left == right + difference; };
  return agree(lhs.queryAxis, rhs.queryAxis) && agree(lhs.keyAxis, rhs.keyAxis);
}

std::optional<Symbolic> SymbolicEvaluator::computeBinary(Operation *op) {
  std::optional<Symbolic> lhs = evaluate(op->getOperand(0)), rhs = evaluate(op->getOperand(1));
  if (!lhs || !rhs || lhs->isBool || rhs->isBool || !sameAxes(op, *lhs, *rhs))
    return std::nullopt;
  Symbolic result;
  result.isVector = lhs->isVector || rhs->isVector;
  size_t size = std::max(lhs->elements.size(), rhs->elements.size());
  for (size_t i = 0; i < size; ++i) {
    Affine a = lhs->elements[lhs->elements.size() == 1 ? 0 : i], b = rhs->elements[rhs->elements.size() == 1 ? 0 : i];
    if (isa<onnx::AddOp>(op))
      result.elements.push_back(a + b);
    else if (isa<onnx::SubOp>(op))
      result.elements.push_back(a - b);
    else if (b.isConstant())
      result.elements.push_back(a * b.constant);
    else if (a.isConstant())
      result.elements.push_back(b * a.constant);
    else
      return std::nullopt;
  }
  mergeAxes(op, *lhs, *rhs, result);
  return result;
}

/// Where both operands run over the new rows, one along the last dimension and one along that in front of it, the last one counts keys: those from P
/// on. What is in front of them such a triangle does not say; it can only be run without a past.
static void readColumnsAsKeys(Operation *op, Symbolic &lhs, Symbolic &rhs) {
  int64_t rank = getRank(op->getResult(0));
  auto axisOf = [&](const Symbolic &side, int64_t number) { return side.queryAxis < 0 ? -1 : side.queryAxis + rank - getRank(op->getOperand(number)); };
  int64_t left = axisOf(lhs, 0), right = axisOf(rhs, 1);
  if (rank < 2 || std::max(left, right) != rank - 1 || std::min(left, right) != rank - 2 || lhs.keyAxis >= 0 || rhs.keyAxis >= 0)
    return;
  Symbolic &columns = left > right ? lhs : rhs;
  std::swap(columns.queryAxis, columns.keyAxis);
  for (Affine &form : columns.elements)
    std::swap(form.query, form.key);
}

std::optional<Symbolic> SymbolicEvaluator::computeCompare(Operation *op) {
  std::optional<Symbolic> lhs = evaluate(op->getOperand(0)), rhs = evaluate(op->getOperand(1));
  if (lhs && rhs)
    readColumnsAsKeys(op, *lhs, *rhs);
  if (!lhs || !rhs || lhs->isBool || rhs->isBool || lhs->isVector || rhs->isVector || !sameAxes(op, *lhs, *rhs))
    return std::nullopt;
  Symbolic result;
  result.isBool = true;
  Affine a = lhs->elements.front(), b = rhs->elements.front();
  // As `form >= 0`, on integers.
  if (isa<onnx::LessOrEqualOp>(op))
    result.conditions.push_back(b - a);
  else if (isa<onnx::LessOp>(op))
    result.conditions.push_back(b - a - Affine{1});
  else if (isa<onnx::GreaterOrEqualOp>(op))
    result.conditions.push_back(a - b);
  else
    result.conditions.push_back(a - b - Affine{1});
  mergeAxes(op, *lhs, *rhs, result);
  return result;
}

std::optional<Symbolic> SymbolicEvaluator::computeLogic(Operation *op) {
  std::optional<Symbolic> lhs = evaluate(op->getOperand(0));
  if (!lhs || !lhs->isBool)
    return std::nullopt;
  if (isa<onnx::NotOp>(op)) {
    Symbolic result = *lhs;
    if (lhs->conditions.empty()) {
      result.isFalse = !lhs->isFalse;
      return result;
    }
    if (lhs->conditions.size() != 1 || lhs->isFalse)
      return std::nullopt;
    result.conditions.front() = lhs->conditions.front() * -1 - Affine{1};
    return result;
  }
  std::optional<Symbolic> rhs = evaluate(op->getOperand(1));
  if (!rhs || !rhs->isBool || !sameAxes(op, *lhs, *rhs))
    return std::nullopt;
  Symbolic result = *lhs;
  llvm::append_range(result.conditions, rhs->conditions);
  result.isFalse |= rhs->isFalse;
  mergeAxes(op, *lhs, *rhs, result);
  return result;
}

/// Whether two sizes are equal, where that does not depend on P >= 0.
static std::optional<bool> compareSizes(const Affine &lhs, const Affine &rhs) {
  Affine difference = lhs - rhs;
  if (difference.isConstant())
    return difference.constant == 0;
  bool isPositive = difference.constant > 0 && difference.past >= 0, isNegative = difference.constant < 0 && difference.past <= 0;
  return difference.query == 0 && difference.key == 0 && (isPositive || isNegative) ? std::optional(false) : std::nullopt;
}

/// Where(Equal(a, b), x, y) on the elements of a shape: exporters replace -1 by the size of an input this way.
std::optional<Symbolic> SymbolicEvaluator::computeSizes(onnx::WhereOp where) {
  auto equal = where.getCondition().getDefiningOp<onnx::EqualOp>();
  if (!equal || getRank(where.getResult()) > 1)
    return std::nullopt;
  SmallVector<Symbolic, 4> operands;
  size_t size = 1;
  for (Value operand : {equal.getA(), equal.getB(), where.getX(), where.getY()}) {
    std::optional<Symbolic> known = evaluate(operand);
    if (!known || known->isBool || known->queryAxis >= 0 || known->keyAxis >= 0)
      return std::nullopt;
    size = std::max<size_t>(size, known->elements.size());
    operands.push_back(*known);
  }
  Symbolic result;
  result.isVector = size != 1;
  for (size_t i = 0; i < size; ++i) {
    auto at = [&](int64_t operand) { return operands[operand].elements[operands[operand].elements.size() == 1 ? 0 : i]; };
    std::optional<bool> isEqual = compareSizes(at(0), at(1));
    if (!isEqual)
      return std::nullopt;
    result.elements.push_back(*isEqual ? at(2) : at(3));
  }
  return result;
}

/// A number that all elements are, or minus infinity where they hide every key.
std::optional<double> SymbolicEvaluator::getMaskNumber(Value value) {
  if (std::optional<double> number = getConstantNumber(value))
    return number;
  std::optional<Symbolic> mask = evaluate(value);
  return mask && mask->isBool && mask->isFalse ? std::optional(-std::numeric_limits<double>::infinity()) : std::nullopt;
}

/// Where(visible, 0, very negative) is the mask as numbers; the condition stands for it.
std::optional<Symbolic> SymbolicEvaluator::computeSelect(Operation *op) {
  auto where = cast<onnx::WhereOp>(op);
  if (isa<IntegerType>(cast<ShapedType>(where.getType()).getElementType()))
    return computeSizes(where);
  std::optional<double> yes = getMaskNumber(where.getX()), no = getMaskNumber(where.getY());
  if (!yes || !no || !isa<FloatType>(cast<ShapedType>(where.getType()).getElementType()))
    return std::nullopt;
  std::optional<Symbolic> condition = evaluate(where.getCondition());
  if (!condition || !condition->isBool || getRank(where.getCondition()) != getRank(where.getResult()))
    return std::nullopt;
  if (*yes == 0.0 && *no <= kHidden)
    return condition;
  if (*no == 0.0 && *yes <= kHidden && condition->conditions.size() == 1 && !condition->isFalse) {
    condition->conditions.front() = condition->conditions.front() * -1 - Affine{1};
    return condition;
  }
  return std::nullopt;
}

std::optional<Symbolic> SymbolicEvaluator::computeRange(Operation *op) {
  auto range = cast<onnx::RangeOp>(op);
  std::optional<Affine> known = evaluateLength(range);
  if (!known)
    return std::nullopt;
  Affine first = evaluate(range.getStart())->elements.front(), length = *known;
  Symbolic result;
  if (length == Affine{roles.rows, 1} || (roles.slots > 0 && length == Affine{roles.slots})) {
    // One entry per key.
    result = uniform(first + Affine{0, 0, 0, 1});
    result.keyAxis = 0;
    return result;
  }
  if (length == Affine{1})
    return uniform(first);
  if (length == Affine{roles.rows}) {
    // One entry per row: row i is q - P.
    result = uniform(first + Affine{0, -1, 1, 0});
    result.queryAxis = 0;
    return result;
  }
  return std::nullopt;
}

std::optional<Symbolic> SymbolicEvaluator::computeShapeOf(Operation *op) {
  auto shape = cast<onnx::ShapeOp>(op);
  int64_t rank = getRank(shape.getData());
  if (rank < 0)
    return std::nullopt;
  auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(normalizeAxis(bound, rank), 0, rank); };
  Symbolic result;
  for (int64_t i = clamp(shape.getStart()), end = clamp(shape.getEnd().value_or(rank)); i < end; ++i) {
    std::optional<Affine> size = evaluateSize(shape.getData(), i);
    if (!size)
      return std::nullopt;
    result.elements.push_back(*size);
  }
  result.isVector = result.elements.size() != 1;
  return result;
}

/// Shape(data)[indices]; the other dimensions need not be known.
std::optional<Symbolic> SymbolicEvaluator::computeSizeOf(Value data, Value indices) {
  std::optional<SmallVector<int64_t>> dims = getConstantInts(indices);
  Symbolic result;
  for (int64_t dim : dims.value_or(SmallVector<int64_t>{})) {
    std::optional<Affine> size = evaluateSize(data, normalizeAxis(dim, getRank(data)));
    if (!size)
      return std::nullopt;
    result.elements.push_back(*size);
  }
  result.isVector = result.elements.size() != 1;
  return result.elements.empty() ? std::nullopt : std::optional(result);
}

std::optional<Symbolic> SymbolicEvaluator::computeConstantOfShape(onnx::ConstantOfShapeOp op) {
  std::optional<ElementsAttr> value = op.getValue();
  auto type = dyn_cast<IntegerType>(cast<ShapedType>(op.getType()).getElementType());
  auto dense = value ? dyn_cast<DenseElementsAttr>(*value) : nullptr;
  if (!type || getRank(op.getResult()) < 0 || (value && (!dense || !dense.isSplat())))
    return std::nullopt;
  int64_t number = dense ? type.isInteger(1) ? dense.getSplatValue<APInt>().getZExtValue() : dense.getSplatValue<APInt>().getSExtValue() : 0;
  if (!type.isInteger(1))
    return uniform({number});
  Symbolic result;
  result.isBool = true;
  result.isFalse = number == 0;
  return result;
}

/// Moves the dimensions along which an input runs. A dimension of size one need not be followed: broadcasting makes its place irrelevant.
std::optional<Symbolic> SymbolicEvaluator::computeReshape(Operation *op) {
  std::optional<Symbolic> input = evaluate(op->getOperand(0));
  if (!input)
    return std::nullopt;
  Symbolic result = *input;
  int64_t rank = getRank(op->getResult(0)), inputRank = getRank(op->getOperand(0));
  if (input->isVector) {
    auto type = getStaticType(op->getResult(0));
    return type && type.getRank() == 1 && isa<onnx::ReshapeOp, onnx::ExpandOp>(op) ? std::optional(result) : std::nullopt;
  }
  if (input->isUniform() || rank < 0)
    return rank < 0 ? std::nullopt : std::optional(result);
  auto inputType = cast<RankedTensorType>(op->getOperand(0).getType()), type = cast<RankedTensorType>(op->getResult(0).getType());
  SmallVector<bool> isNew(rank, false);
  SmallVector<int64_t> target(inputRank, -1);
  if (isa<onnx::FlattenOp>(op))
    return std::nullopt;
  if (isa<onnx::ExpandOp>(op)) {
    for (int64_t i = 0; i < inputRank; ++i)
      target[i] = i + rank - inputRank;
  } else if (isa<onnx::UnsqueezeOp>(op)) {
    std::optional<SmallVector<int64_t>> axes = getConstantInts(op->getOperand(1));
    if (!axes)
      return std::nullopt;
    for (int64_t axis : *axes)
      isNew[normalizeAxis(axis, rank)] = true;
    for (int64_t i = 0, from = 0; i < rank && from < inputRank; ++i)
      if (!isNew[i])
        target[from++] = i;
  } else {
    // Reshape and Squeeze: dimensions of size one come and go, the others keep their order.
    for (int64_t i = 0, to = 0; i < inputRank; ++i) {
      if (inputType.getDimSize(i) == 1)
        continue;
      while (to < rank && type.getDimSize(to) == 1)
        ++to;
      if (to == rank || type.getDimSize(to) != inputType.getDimSize(i))
        return std::nullopt;
      target[i] = to++;
    }
  }
  result.queryAxis = input->queryAxis < 0 ? -1 : target[input->queryAxis];
  result.keyAxis = input->keyAxis < 0 ? -1 : target[input->keyAxis];
  if (input->keyAxis >= 0 && result.keyAxis < 0)
    return std::nullopt;
  return result;
}

std::optional<Symbolic> SymbolicEvaluator::computeVectorOp(Operation *op) {
  if (auto concat = dyn_cast<onnx::ConcatOp>(op)) {
    if (getRank(concat.getResult()) != 1)
      return std::nullopt;
    Symbolic result;
    result.isVector = true;
    for (Value input : concat.getInputs()) {
      std::optional<Symbolic> part = evaluate(input);
      if (!part || part->isBool || part->queryAxis >= 0 || part->keyAxis >= 0)
        return std::nullopt;
      llvm::append_range(result.elements, part->elements);
    }
    return result;
  }
  if (auto reduce = dyn_cast<onnx::ReduceSumOp>(op); reduce && reduce.getData() == roles.attentionMask)
    return uniform({roles.rows, 1});
  if (auto reduce = dyn_cast<onnx::ReduceMaxOp>(op)) {
    // The last row is at the greatest position.
    std::optional<Symbolic> data = evaluate(reduce.getData());
    auto type = getStaticType(reduce.getReduced());
    if (!data || data->isBool || data->isVector || data->queryAxis < 0 || data->keyAxis >= 0 || data->elements.front().query != 1 || !type ||
        type.getNumElements() != 1)
      return std::nullopt;
    Affine form = data->elements.front();
    return uniform({form.constant + roles.rows - 1, form.past + 1});
  }
  if (auto sum = dyn_cast<onnx::CumSumOp>(op); sum && sum.getX() == roles.attentionMask) {
    // Of ones, one per key: their number up to and with this one.
    std::optional<SmallVector<int64_t>> axis = getConstantInts(sum.getAxis());
    int64_t rank = getRank(sum.getX());
    if (!axis || axis->size() != 1 || normalizeAxis(axis->front(), rank) != rank - 1 || sum.getExclusive() != 0 || sum.getReverse() != 0)
      return std::nullopt;
    Symbolic result = uniform({1, 0, 0, 1});
    result.keyAxis = rank - 1;
    return result;
  }
  if (auto constant = dyn_cast<onnx::ConstantOfShapeOp>(op))
    return computeConstantOfShape(constant);
  if (auto gather = dyn_cast<onnx::GatherOp>(op))
    if (auto shape = gather.getData().getDefiningOp<onnx::ShapeOp>(); shape && shape.getStart() == 0 && !shape.getEnd())
      return computeSizeOf(shape.getData(), gather.getIndices());
  if (!isa<onnx::GatherOp, onnx::SliceOp, onnx::GatherNDOp, onnx::TransposeOp>(op))
    return std::nullopt;
  std::optional<Symbolic> data = evaluate(op->getOperand(0));
  if (!data)
    return std::nullopt;
  // Moving data of one value changes nothing.
  if (data->isUniform() && data->conditions.empty())
    return data;
  if (auto slice = dyn_cast<onnx::SliceOp>(op); slice && data->keyAxis >= 0)
    return computeSliceOfKeys(slice, *data);
  if (!data->isVector)
    return std::nullopt;
  int64_t size = data->elements.size();
  Symbolic result;
  if (auto gather = dyn_cast<onnx::GatherOp>(op)) {
    std::optional<SmallVector<int64_t>> indices = getConstantInts(gather.getIndices());
    if (!indices)
      return std::nullopt;
    for (int64_t index : *indices) {
      index = normalizeAxis(index, size);
      if (index < 0 || index >= size)
        return std::nullopt;
      result.elements.push_back(data->elements[index]);
    }
  } else if (auto slice = dyn_cast<onnx::SliceOp>(op)) {
    std::optional<SmallVector<int64_t>> starts = getConstantInts(slice.getStarts()), ends = getConstantInts(slice.getEnds());
    if (!starts || !ends || starts->size() != 1 || ends->size() != 1 || !isAbsent(slice.getSteps()))
      return std::nullopt;
    auto clamp = [&](int64_t bound) { return std::clamp<int64_t>(normalizeAxis(bound, size), 0, size); };
    for (int64_t i = clamp(starts->front()); i < clamp(ends->front()); ++i)
      result.elements.push_back(data->elements[i]);
  } else {
    return std::nullopt;
  }
  result.isVector = result.elements.size() != 1;
  return result;
}

/// The keys from P on are those of the rows: what is said of key k is said of the query at position k.
std::optional<Symbolic> SymbolicEvaluator::computeSliceOfKeys(onnx::SliceOp op, const Symbolic &data) {
  std::optional<Symbolic> start = evaluate(op.getStarts()), end = evaluate(op.getEnds());
  std::optional<SmallVector<int64_t>> axes, steps;
  if (!isAbsent(op.getAxes()))
    axes = getConstantInts(op.getAxes());
  if (!isAbsent(op.getSteps()) && (!(steps = getConstantInts(op.getSteps())) || *steps != SmallVector<int64_t>{1}))
    return std::nullopt;
  if (!start || !end || !axes || start->elements.size() != 1 || end->elements.size() != 1 || axes->size() != 1)
    return std::nullopt;
  constexpr int64_t kEnd = INT32_MAX; // What exporters write is at least that, or the number of keys.
  int64_t axis = normalizeAxis(axes->front(), getRank(op.getData()));
  Affine last = end->elements.front();
  bool isToEnd = last.isConstant() ? last.constant >= kEnd : axis == data.keyAxis && last == Affine{roles.rows, 1};
  if (!isToEnd)
    return std::nullopt;
  if (start->elements.front() == Affine{0})
    return data;
  if (axis != data.keyAxis || !(start->elements.front() == Affine{0, 1}) || data.isBool || data.queryAxis >= 0)
    return std::nullopt;
  Symbolic result = data;
  std::swap(result.queryAxis, result.keyAxis);
  for (Affine &form : result.elements)
    std::swap(form.query, form.key);
  return result;
}

std::optional<CausalMask> matchMask(SymbolicEvaluator &evaluator, Value mask, int64_t rows) {
  std::optional<Symbolic> symbolic = evaluator.evaluate(mask);
  if (!symbolic || !symbolic->isBool || symbolic->isFalse)
    return std::nullopt;
  int64_t rank = getRank(mask);
  if ((symbolic->queryAxis >= 0 && symbolic->queryAxis != rank - 2 && rows != 1) ||
      (symbolic->keyAxis >= 0 && symbolic->keyAxis != rank - 1))
    return std::nullopt;
  CausalMask result;
  // One row sees all keys there are.
  result.isCausal = rows == 1;
  for (Affine form : symbolic->conditions) {
    // The one row of decode is at position P.
    if (rows == 1) {
      form.query += form.past;
      form.past = 0;
    }
    if (form.query == 1 && form.key == -1 && form.past == 0 && form.constant == 0) {
      result.isCausal = true; // q - k >= 0
      continue;
    }
    if (form.query == -1 && form.key == 1 && form.past == 0 && form.constant >= 0) {
      // k - q + window - 1 >= 0
      int64_t window = form.constant + 1;
      result.window = result.window == 0 ? window : std::min(result.window, window);
      continue;
    }
    // What always holds: 0 <= k < P + rows and P <= q < P + rows.
    Affine least = form;
    least.constant += std::min<int64_t>(form.key, 0) * (rows - 1) + std::min<int64_t>(form.query, 0) * (rows - 1);
    least.past += std::min<int64_t>(form.key, 0) + form.query;
    if (least.constant >= 0 && least.past >= 0)
      continue;
    return std::nullopt;
  }
  return result;
}

} // namespace elutq::normalize
