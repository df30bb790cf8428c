//===- RecognizeAttention.cpp - Attention written out ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "SymbolicIndex.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include <cmath>

using namespace mlir;

namespace elutq::normalize {

namespace {

/// `x * factor`, whichever way it is written.
bool matchScaled(Operation *op, Value &x, double &factor) {
  if (auto div = dyn_cast_if_present<onnx::DivOp>(op)) {
    std::optional<double> number = getConstantNumber(div.getB());
    if (!number || *number == 0)
      return false;
    x = div.getA();
    factor = 1 / *number;
    return true;
  }
  if (!isa_and_present<onnx::MulOp>(op))
    return false;
  for (int side : {0, 1})
    if (std::optional<double> number = getConstantNumber(op->getOperand(side))) {
      x = op->getOperand(1 - side);
      factor = *number;
      return true;
    }
  return false;
}

bool isIdentity(Operation *op) {
  if (isa_and_present<onnx::IdentityOp>(op))
    return true;
  return isa_and_present<onnx::CastOp>(op) && op->getOperand(0).getType() == op->getResult(0).getType();
}

/// One softmax of scores of queries and cached keys.
class AttentionMatcher {
public:
  AttentionMatcher(SymbolicEvaluator &evaluator, const InputRoles &roles) : evaluator(evaluator), roles(roles) {}

  /// The weighted sum of values, or null.
  Operation *match(onnx::SoftmaxOp softmax);

  /// The keys or values before their heads were repeated, if `value` is such a repetition of what the cache and new rows make.
  Value skipRepetition(Value value);

  Value query, key, values, mask;
  double scale = 1, softcap = 0;

private:
  bool matchScores(Value scores);
  Value matchTransposed(Value value);
  bool isCached(Value value) const;
  /// Drops factors in front of `value`, into `scale`.
  Value skipFactors(Value value);

  SymbolicEvaluator &evaluator;
  const InputRoles &roles;
};

} // namespace

bool AttentionMatcher::isCached(Value value) const {
  auto concat = value.getDefiningOp<onnx::ConcatOp>();
  return concat && concat.getInputs().size() == 2 && getRank(value) == 4 &&
         normalizeAxis(static_cast<int64_t>(concat.getAxis()), 4) == 2 && roles.pastAxis.contains(concat.getInputs().front());
}

Value AttentionMatcher::skipFactors(Value value) {
  double factor;
  Value x;
  while (Operation *op = value.getDefiningOp()) {
    if (isIdentity(op)) {
      value = op->getOperand(0);
    } else if (matchScaled(op, x, factor)) {
      value = x;
      scale *= factor;
    } else {
      break;
    }
  }
  return value;
}

/// Unsqueeze, Expand and Reshape from `[1, kvHeads, T, size]` over `[1, kvHeads, n, T, size]` to `[1, kvHeads * n, T, size]`.
Value AttentionMatcher::skipRepetition(Value value) {
  while (isIdentity(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  auto reshape = value.getDefiningOp<onnx::ReshapeOp>();
  auto expand = reshape ? reshape.getData().getDefiningOp<onnx::ExpandOp>() : nullptr;
  auto unsqueeze = expand ? expand.getInput().getDefiningOp<onnx::UnsqueezeOp>() : nullptr;
  if (!unsqueeze)
    return value;
  auto from = dyn_cast<RankedTensorType>(unsqueeze.getData().getType()), wide = dyn_cast<RankedTensorType>(expand.getType()),
       to = dyn_cast<RankedTensorType>(reshape.getType());
  std::optional<SmallVector<int64_t>> axes = getConstantInts(unsqueeze.getAxes());
  if (!axes || axes->size() != 1 || normalizeAxis(axes->front(), 5) != 2 || !from || !wide || !to || from.getRank() != 4 ||
      wide.getRank() != 5 || to.getRank() != 4)
    return value;
  // With three dimensions of each as they have to be, the positions are what is left.
  bool fits = !wide.isDynamicDim(2) && wide.getDimSize(0) == 1 && to.getDimSize(0) == 1 && from.getDimSize(0) == 1;
  for (auto [before, between] : {std::pair(1, 1), std::pair(3, 4)})
    fits &= !from.isDynamicDim(before) && from.getDimSize(before) == wide.getDimSize(between);
  fits = fits && to.getDimSize(1) == from.getDimSize(1) * wide.getDimSize(2) && to.getDimSize(3) == from.getDimSize(3);
  return fits && isCached(unsqueeze.getData()) ? unsqueeze.getData() : value;
}

/// `[1, heads, T, size]` of which `value` is `[1, heads, size, T]`.
Value AttentionMatcher::matchTransposed(Value value) {
  if (auto transpose = value.getDefiningOp<onnx::TransposeOp>())
    return transpose.getPerm() && *transpose.getPerm() == ArrayRef<int64_t>{0, 1, 3, 2} ? transpose.getData() : Value();
  // In three dimensions: [heads, T, size].
  auto back = value.getDefiningOp<onnx::ReshapeOp>();
  auto transpose = back ? back.getData().getDefiningOp<onnx::TransposeOp>() : nullptr;
  auto flat = transpose ? transpose.getData().getDefiningOp<onnx::ReshapeOp>() : nullptr;
  if (!flat || !transpose.getPerm() || *transpose.getPerm() != ArrayRef<int64_t>{0, 2, 1})
    return nullptr;
  auto from = dyn_cast<RankedTensorType>(flat.getData().getType()), to = dyn_cast<RankedTensorType>(back.getType());
  std::optional<Affine> positions = from && from.getRank() == 4 ? evaluator.evaluateSize(flat.getData(), 2) : std::nullopt;
  std::optional<Symbolic> shape = evaluator.evaluate(flat.getShape());
  if (!positions || !shape || shape->elements.size() != 3 || !to || to.getRank() != 4)
    return nullptr;
  bool fits = shape->elements[1] == *positions && !from.isDynamicDim(3) && shape->elements[2] == Affine{from.getDimSize(3)};
  fits &= from.getDimSize(0) == 1 && to.getDimSize(0) == 1 && !from.isDynamicDim(1) && to.getDimSize(1) == from.getDimSize(1) &&
          to.getDimSize(2) == from.getDimSize(3);
  return fits ? flat.getData() : Value();
}

/// Mask, softcap and factors, from the outside to the product of queries and keys.
bool AttentionMatcher::matchScores(Value scores) {
  for (;;) {
    Operation *op = scores.getDefiningOp();
    Value x;
    double factor;
    if (auto product = dyn_cast_if_present<onnx::MatMulOp>(op)) {
      query = skipFactors(product.getA());
      Value transposed = matchTransposed(skipFactors(product.getB()));
      if (!transposed)
        return false;
      key = skipRepetition(skipFactors(transposed));
      return isCached(key) && getRank(query) == 4 && getStaticType(query) && scale > 0;
    }
    if (isIdentity(op)) {
      scores = op->getOperand(0);
    } else if (isa_and_present<onnx::AddOp>(op) && !mask) {
      // The scores have as many heads as queries; the mask does not depend on them.
      bool first = evaluator.evaluate(op->getOperand(0)).has_value();
      mask = op->getOperand(first ? 0 : 1);
      scores = op->getOperand(first ? 1 : 0);
    } else if (matchScaled(op, x, factor) && factor > 0) {
      Operation *inner = x.getDefiningOp();
      double inverse;
      if (isa_and_present<onnx::TanhOp>(inner)) {
        // tanh(x / c) * c; a factor outside of it would be one of the mask, too.
        Value capped;
        if (softcap != 0 || scale != 1 || !matchScaled(inner->getOperand(0).getDefiningOp(), capped, inverse) ||
            std::abs(inverse * factor - 1) > 1e-6)
          return false;
        softcap = factor;
        scores = capped;
      } else {
        scale *= factor;
        scores = x;
      }
    } else {
      return false;
    }
  }
}

Operation *AttentionMatcher::match(onnx::SoftmaxOp softmax) {
  int64_t rank = getRank(softmax.getInput());
  if (rank != 4 || normalizeAxis(static_cast<int64_t>(softmax.getAxis()), rank) != rank - 1)
    return nullptr;
  // torch makes rows without a visible key 0, by Where(IsNaN(p), 0, p). There are none.
  Value weights = softmax.getOutput();
  for (;;) {
    onnx::WhereOp where;
    Operation *next = nullptr;
    for (Operation *user : weights.getUsers()) {
      if (isa<onnx::IsNaNOp>(user))
        continue;
      if (next)
        return nullptr;
      next = user;
    }
    where = dyn_cast_if_present<onnx::WhereOp>(next);
    if (where) {
      auto isNaN = where.getCondition().getDefiningOp<onnx::IsNaNOp>();
      if (!isNaN || isNaN.getX() != weights || where.getY() != weights || getConstantNumber(where.getX()) != 0.0)
        return nullptr;
      weights = where.getOutput();
    } else if (isIdentity(next)) {
      weights = next->getResult(0);
    } else {
      auto product = dyn_cast_if_present<onnx::MatMulOp>(next);
      if (!product || product.getA() != weights || !matchScores(softmax.getInput()))
        return nullptr;
      values = skipRepetition(product.getB());
      return isCached(values) ? product : nullptr;
    }
  }
}

/// Whether rows of a table are taken by `value`, which may be reshaped before.
static bool indexesTable(Value value) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (isa<onnx::ReshapeOp, onnx::CastOp, onnx::IdentityOp>(user))
      return user->getOperand(0) == value && indexesTable(user->getResult(0));
    auto gather = dyn_cast<onnx::GatherOp>(user);
    return gather && gather.getIndices() == value;
  });
}

InputRoles findRoles(func::FuncOp function) {
  InputRoles roles;
  SmallVector<BlockArgument> tokensOrPositions;
  for (auto [index, argument] : llvm::enumerate(function.getArguments())) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      continue;
    if (isa<FloatType>(type.getElementType()) && type.getRank() == 4 && type.isDynamicDim(2)) {
      for (OpOperand &use : argument.getUses())
        if (auto concat = dyn_cast<onnx::ConcatOp>(use.getOwner());
            concat && use.getOperandNumber() == 0 && concat.getInputs().size() == 2 &&
            normalizeAxis(static_cast<int64_t>(concat.getAxis()), 4) == 2) {
          roles.pastAxis[argument] = 2;
          if (auto added = getStaticType(concat.getInputs()[1]); added && added.getRank() == 4)
            roles.rows = added.getDimSize(2);
        }
    } else if (isa<IntegerType>(type.getElementType()) && type.getRank() == 2 && type.isDynamicDim(1)) {
      roles.attentionMask = argument;
    } else if (isa<IntegerType>(type.getElementType()) && type.getRank() == 2 && type.hasStaticShape() && type.getDimSize(0) == 1) {
      tokensOrPositions.push_back(argument);
      auto name = function.getArgAttrOfType<StringAttr>(index, "onnx.name");
      if (!indexesTable(argument) || (name && name.getValue().contains("position")))
        roles.positionIds = argument;
    }
  }
  if (roles.rows == 0 && !tokensOrPositions.empty())
    roles.rows = cast<RankedTensorType>(tokensOrPositions.front().getType()).getDimSize(1);
  // Without either, nothing can be said of a length.
  if (roles.rows == 0)
    roles.pastAxis.clear();
  return roles;
}

int64_t recognizeAttention(IRRewriter &rewriter, func::FuncOp function, const InputRoles &roles) {
  if (roles.pastAxis.empty())
    return 0;
  SymbolicEvaluator evaluator(roles);
  SmallVector<onnx::SoftmaxOp> softmaxes;
  function->walk([&](Operation *op) {
    if (auto softmax = dyn_cast<onnx::SoftmaxOp>(op)) {
      softmaxes.push_back(softmax);
    } else if (auto attention = dyn_cast<onnx::AttentionOp>(op); attention && isAbsent(attention.getPastKey())) {
      AttentionMatcher matcher(evaluator, roles);
      Value key = matcher.skipRepetition(attention.getK()), values = matcher.skipRepetition(attention.getV());
      // Either both or none: query heads are divided among the heads of keys and values alike.
      if (key != attention.getK() && values != attention.getV()) {
        attention.getKMutable().assign(key);
        attention.getVMutable().assign(values);
      }
    }
  });
  int64_t count = 0;
  for (onnx::SoftmaxOp softmax : softmaxes) {
    AttentionMatcher matcher(evaluator, roles);
    Operation *product = matcher.match(softmax);
    if (!product)
      continue;
    auto query = cast<RankedTensorType>(matcher.query.getType()), values = cast<RankedTensorType>(matcher.values.getType());
    rewriter.setInsertionPoint(product);
    Location loc = product->getLoc();
    Value none = onnx::NoneOp::create(rewriter, loc, rewriter.getNoneType());
    OperationState state(loc, onnx::AttentionOp::getOperationName());
    state.addOperands({matcher.query, matcher.key, matcher.values, matcher.mask ? matcher.mask : none, none, none, none});
    SmallVector<int64_t> shape(query.getShape());
    shape.back() = values.getShape().back();
    state.addTypes({RankedTensorType::get(shape, query.getElementType()), none.getType(), none.getType(), none.getType()});
    state.addAttribute("scale", rewriter.getF32FloatAttr(static_cast<float>(matcher.scale)));
    if (matcher.softcap != 0)
      state.addAttribute("softcap", rewriter.getF32FloatAttr(static_cast<float>(matcher.softcap)));
    rewriter.replaceAllUsesWith(product->getResult(0), rewriter.create(state)->getResult(0));
    rewriter.eraseOp(product);
    ++count;
  }
  return count;
}

} // namespace elutq::normalize
