//===- SymbolicMask.cpp - Masks that exporters compute in floats ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// transformers up to 4.5x makes the mask of a layer so (`_prepare_4d_causal_attention_mask_with_cache_position`): the triangle above the diagonal of a
// matrix of very negative numbers, times the keys behind the query's position; then, over all of it, the same with padded keys hidden, too.
//
// onnxruntime-genai's model builder adds two for MultiHeadAttention: Where(mask == 0, very negative, 0), and a triangle over the new rows alone,
// Where(Range < Range + 1, 0, very negative), expanded to all keys: it can be run for one row, or without a past.
//
//===----------------------------------------------------------------------===//

#include "SymbolicIndex.h"
#include "elutq/Conversion/ONNXCommon.h"

using namespace mlir;

namespace elutq::normalize {

static bool isFloat(Value value) { return isa<FloatType>(cast<ShapedType>(value.getType()).getElementType()); }

/// The boolean that `value` is a conversion of to 0 and 1, or null.
static Value getConvertedBool(Value value) {
  auto castOp = value.getDefiningOp<onnx::CastOp>();
  return castOp && isFloat(value) && cast<ShapedType>(castOp.getInput().getType()).getElementType().isInteger(1) ? castOp.getInput() : Value();
}

/// A matrix of very negative numbers above a diagonal, and 0 elsewhere.
std::optional<Symbolic> SymbolicEvaluator::computeTriangle(onnx::TriluOp op) {
  std::optional<Symbolic> input = evaluate(op.getInput());
  std::optional<double> diagonal = isAbsent(op.getK()) ? 0.0 : getConstantNumber(op.getK());
  int64_t rank = getRank(op.getOutput());
  if (!input || !input->isBool || !input->isFalse || !diagonal || op.getUpper() != 1 || rank < 2)
    return std::nullopt;
  std::optional<Affine> rows = evaluateSize(op.getInput(), rank - 2), keys = evaluateSize(op.getInput(), rank - 1);
  if (!rows || !keys || !(*rows == Affine{roles.rows}) || !(*keys == Affine{roles.rows, 1}))
    return std::nullopt;
  // Row q - P sees key k where k - (q - P) < diagonal.
  Symbolic result;
  result.isBool = true;
  result.queryAxis = rank - 2;
  result.keyAxis = rank - 1;
  result.conditions.push_back(Affine{static_cast<int64_t>(*diagonal) - 1, -1, 1, -1});
  return result;
}

/// A mask times a boolean: a key stays hidden where both hide it. One must follow from the other.
std::optional<Symbolic> SymbolicEvaluator::computeMaskedBy(onnx::MulOp op) {
  for (int side : {0, 1}) {
    Value flag = getConvertedBool(op->getOperand(1 - side));
    if (!flag)
      continue;
    std::optional<Symbolic> mask = evaluate(op->getOperand(side)), hides = evaluate(flag);
    if (!mask || !mask->isBool || !hides || hides->isFalse || hides->conditions.size() != 1)
      return std::nullopt;
    Symbolic result = *hides;
    Affine &visible = result.conditions.front();
    visible = visible * -1 - Affine{1};
    if (!mask->isFalse) {
      // What the mask shows, the boolean shows: their difference is never negative.
      Affine difference = mask->conditions.size() == 1 ? visible - mask->conditions.front() : Affine{0, 0, 1};
      if (roles.rows == 1)
        difference = {difference.constant, difference.past + difference.query, 0, difference.key};
      if (difference.query != 0 || difference.key != 0 || difference.past < 0 || difference.constant < 0)
        return std::nullopt;
    }
    int64_t rank = getRank(op.getResult()), shift = rank - getRank(flag);
    result.queryAxis += result.queryAxis < 0 ? 0 : shift;
    result.keyAxis += result.keyAxis < 0 ? 0 : shift;
    return result;
  }
  return std::nullopt;
}

/// A mask plus the input's attention mask, which has no zeros: 0 would be a visible key that is padding.
bool SymbolicEvaluator::isNeverZero(Value value) {
  auto sum = value.getDefiningOp<onnx::AddOp>();
  if (!sum || !isFloat(value))
    return false;
  for (int side : {0, 1}) {
    auto converted = sum->getOperand(1 - side).getDefiningOp<onnx::CastOp>();
    std::optional<Symbolic> mask = evaluate(sum->getOperand(side)), numbers = converted ? evaluate(converted.getInput()) : std::nullopt;
    if (!mask || !mask->isBool || !numbers || numbers->isBool || numbers->isVector || !numbers->elements.front().isConstant())
      continue;
    int64_t number = numbers->elements.front().constant;
    return number != 0 && number < -kHidden;
  }
  return false;
}

/// Every element of the mask is written, in its place: the indices are those of the elements.
std::optional<Symbolic> SymbolicEvaluator::computeOverwritten(onnx::ScatterNDOp op) {
  auto indices = op.getIndices().getDefiningOp<onnx::ConcatOp>();
  auto data = dyn_cast<RankedTensorType>(op.getData().getType());
  if (!indices || !data || data.getRank() != 4 || indices.getInputs().size() != 4 || getRank(op.getIndices()) != 5 ||
      normalizeAxis(static_cast<int64_t>(indices.getAxis()), 5) != 4 || op.getReduction() != "none" || data.getDimSize(0) != 1 ||
      data.getDimSize(1) != 1)
    return std::nullopt;
  for (auto [dim, input] : llvm::enumerate(indices.getInputs())) {
    std::optional<Symbolic> index = evaluate(input);
    if (!index || index->isBool || index->isVector)
      return std::nullopt;
    const Affine &form = index->elements.front();
    bool isRow = index->queryAxis == 2 && index->keyAxis < 0 && form == Affine{0, -1, 1};
    bool isZero = index->queryAxis < 0 && index->keyAxis < 0 && form == Affine{0};
    bool isKey = index->queryAxis < 0 && index->keyAxis == 3 && form == Affine{0, 0, 0, 1};
    if (!(dim < 2 ? isZero : dim == 2 ? isRow || (isZero && roles.rows == 1) : isKey))
      return std::nullopt;
  }
  std::optional<Symbolic> updates = evaluate(op.getUpdates());
  return updates && updates->isBool && getRank(op.getUpdates()) == 4 ? updates : std::nullopt;
}

/// A number that all elements of a float tensor are, of the attention mask, which is 1, too.
std::optional<double> SymbolicEvaluator::evaluateNumber(Value value) {
  if (std::optional<double> number = getConstantNumber(value))
    return number;
  Operation *op = value.getDefiningOp();
  if (auto castOp = dyn_cast_if_present<onnx::CastOp>(op)) {
    std::optional<Symbolic> input = isFloat(castOp.getInput()) ? std::nullopt : evaluate(castOp.getInput());
    bool isNumber = input && !input->isBool && input->isUniform() && input->elements.front().isConstant();
    return isNumber ? std::optional<double>(input->elements.front().constant) : std::nullopt;
  }
  if (auto difference = dyn_cast_if_present<onnx::SubOp>(op)) {
    std::optional<double> a = evaluateNumber(difference.getA()), b = evaluateNumber(difference.getB());
    return a && b ? std::optional(*a - *b) : std::nullopt;
  }
  return std::nullopt;
}

/// One branch of a condition that is known. Zeros show every key.
std::optional<Symbolic> SymbolicEvaluator::computeChosen(onnx::WhereOp op) {
  auto isTrue = [&]() -> std::optional<bool> {
    auto castOp = op.getCondition().getDefiningOp<onnx::CastOp>();
    if (castOp && isFloat(castOp.getInput())) {
      std::optional<double> number = evaluateNumber(castOp.getInput());
      return number ? std::optional(*number != 0) : std::nullopt;
    }
    std::optional<Symbolic> condition = evaluate(op.getCondition());
    return condition && condition->isBool && condition->conditions.empty() ? std::optional(!condition->isFalse) : std::nullopt;
  }();
  if (!isTrue)
    return std::nullopt;
  Value branch = *isTrue ? op.getX() : op.getY();
  if (evaluateNumber(branch) != 0.0)
    return evaluate(branch);
  Symbolic result;
  result.isBool = true;
  return result;
}

/// What only masks consist of; `std::nullopt` for all other ops.
std::optional<Symbolic> SymbolicEvaluator::computeMask(Operation *op) {
  Symbolic result;
  result.isBool = true;
  if (auto constant = dyn_cast<onnx::ConstantOfShapeOp>(op); constant && isFloat(constant.getResult())) {
    auto value = constant.getValue() ? dyn_cast<DenseElementsAttr>(*constant.getValue()) : nullptr;
    if (!value || !value.isSplat() || value.getSplatValue<APFloat>().convertToDouble() > kHidden)
      return std::nullopt;
    result.isFalse = true;
    return result;
  }
  if (auto triangle = dyn_cast<onnx::TriluOp>(op))
    return computeTriangle(triangle);
  if (auto product = dyn_cast<onnx::MulOp>(op); product && isFloat(product.getResult()))
    return computeMaskedBy(product);
  if (auto scatter = dyn_cast<onnx::ScatterNDOp>(op))
    return computeOverwritten(scatter);
  if (auto equal = dyn_cast<onnx::EqualOp>(op)) {
    result.isFalse = true;
    for (int side : {0, 1})
      if (getConstantNumber(op->getOperand(side)) == 0.0 && isNeverZero(op->getOperand(1 - side)))
        return result;
  }
  if (auto where = dyn_cast<onnx::WhereOp>(op); where && isFloat(where.getResult()))
    return computeChosen(where);
  // Both have to show a key.
  if (isa<onnx::AddOp>(op) && isFloat(op->getResult(0)))
    return computeLogic(op);
  // The same for all heads.
  if (auto tile = dyn_cast<onnx::TileOp>(op)) {
    std::optional<SmallVector<int64_t>> repeats = getConstantInts(tile.getRepeats());
    int64_t rank = getRank(tile.getResult());
    bool isKept = repeats && rank >= 2 && static_cast<int64_t>(repeats->size()) == rank && (*repeats)[rank - 1] == 1 && (*repeats)[rank - 2] == 1;
    std::optional<Symbolic> mask = isKept ? evaluate(tile.getInput()) : std::nullopt;
    return mask && mask->isBool ? mask : std::nullopt;
  }
  return std::nullopt;
}

} // namespace elutq::normalize
