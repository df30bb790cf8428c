//===- Recognize.cpp - recognize-onnx -------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "SymbolicIndex.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/ONNXToLinalg.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Iterators.h"

namespace elutq {
#define GEN_PASS_DEF_RECOGNIZEONNXPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

Value normalize::createNode(OpBuilder &builder, Location loc, StringRef name, ValueRange operands, RankedTensorType type,
                            ArrayRef<NamedAttribute> attributes) {
  OperationState state(loc, name, operands, TypeRange(type), attributes);
  return builder.create(state)->getResult(0);
}

Value normalize::reshapeNode(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> shape) {
  auto indexType = RankedTensorType::get({static_cast<int64_t>(shape.size())}, builder.getI64Type());
  Value target = arith::ConstantOp::create(builder, loc, indexType, DenseElementsAttr::get(indexType, shape));
  auto type = RankedTensorType::get(shape, cast<RankedTensorType>(value.getType()).getElementType());
  return createNode(builder, loc, onnx::ReshapeOp::getOperationName(), {value, target}, type,
                builder.getNamedAttr("allowzero", builder.getI64IntegerAttr(0)));
}

/// Writes a shape into the type of a result. The function's own results keep theirs.
static void refineResult(OpResult result, ArrayRef<int64_t> shape) {
  auto type = dyn_cast<RankedTensorType>(result.getType());
  if (!type || type.hasStaticShape() || static_cast<int64_t>(shape.size()) != type.getRank() ||
      llvm::any_of(result.getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); }))
    return;
  SmallVector<int64_t> joined(type.getShape());
  for (auto [known, inferred] : llvm::zip(joined, shape)) {
    if (!ShapedType::isDynamic(known) && !ShapedType::isDynamic(inferred) && known != inferred)
      return;
    if (ShapedType::isDynamic(known))
      known = inferred;
  }
  result.setType(RankedTensorType::get(joined, type.getElementType()));
}

static void refineResults(Operation *op) {
  for (OpResult result : op->getResults())
    if (std::optional<SmallVector<int64_t>> shape = inferShape(result))
      refineResult(result, *shape);
}

void normalize::refineShapes(func::FuncOp function) {
  function->walk([](Operation *op) {
    if (!isa_and_present<onnx::ONNXDialect>(op->getDialect()))
      return;
    refineResults(op);
    // A shape that is known need not be computed, from those of inputs that go away.
    RankedTensorType result = op->getNumResults() == 1 ? getStaticType(op->getResult(0)) : nullptr;
    if (!isa<onnx::ReshapeOp, onnx::ExpandOp>(op) || !result || getConstant(op->getOperand(1)) || llvm::is_contained(result.getShape(), 0))
      return;
    OpBuilder builder(op);
    auto type = RankedTensorType::get({result.getRank()}, builder.getI64Type());
    op->setOperand(1, arith::ConstantOp::create(builder, op->getLoc(), type, DenseElementsAttr::get(type, result.getShape())));
  });
}

/// Dimensions that are computed, where they do not depend on the number of past positions.
static void refineComputedShape(Operation *op, SymbolicEvaluator &evaluator) {
  auto type = op->getNumResults() == 1 ? dyn_cast<RankedTensorType>(op->getResult(0).getType()) : nullptr;
  if (!type || type.hasStaticShape())
    return;
  SmallVector<int64_t> shape(type.getShape());
  for (auto [dim, known] : llvm::enumerate(shape))
    if (std::optional<Affine> size = ShapedType::isDynamic(known) ? evaluator.evaluateSize(op->getResult(0), dim) : std::nullopt)
      known = size->isConstant() && size->constant > 0 ? size->constant : known;
  refineResult(op->getResult(0), shape);
}

void normalize::foldShapes(func::FuncOp function, const InputRoles &roles) {
  SymbolicEvaluator evaluator(roles);
  constexpr int64_t kMostNumbers = 16;
  function->walk([&](Operation *op) {
    if (!isa_and_present<onnx::ONNXDialect>(op->getDialect()))
      return;
    refineResults(op);
    refineComputedShape(op, evaluator);
    RankedTensorType type = op->getNumResults() == 1 ? getStaticType(op->getResult(0)) : nullptr;
    if (!type)
      return;
    // Nothing is erased here, as the evaluator remembers values by their address. Of a Range it has to know that it is one.
    bool isRange = isa<onnx::RangeOp>(op) && type.getNumElements() != 1;
    ElementsAttr constant = isRange ? nullptr : evaluateConstant(op);
    if (!constant && type.getElementType().isSignlessInteger() && !type.getElementType().isInteger(1) && type.getNumElements() <= kMostNumbers) {
      std::optional<Symbolic> numbers = evaluator.evaluate(op->getResult(0));
      if (!numbers || numbers->isBool || numbers->queryAxis >= 0 || numbers->keyAxis >= 0 ||
          !llvm::all_of(numbers->elements, [](const Affine &number) { return number.isConstant(); }) ||
          (numbers->elements.size() != 1 && static_cast<int64_t>(numbers->elements.size()) != type.getNumElements()))
        return;
      SmallVector<APInt> values;
      for (const Affine &number : numbers->elements)
        values.emplace_back(type.getElementTypeBitWidth(), number.constant, /*isSigned=*/true);
      constant = DenseElementsAttr::get(type, values);
    }
    if (!constant)
      return;
    OpBuilder builder(op);
    op->getResult(0).replaceAllUsesWith(arith::ConstantOp::create(builder, op->getLoc(), cast<TypedAttr>(constant)));
  });
}

namespace {
struct RecognizeONNXPass : elutq::impl::RecognizeONNXPassBase<RecognizeONNXPass> {
  void getDependentDialects(DialectRegistry &registry) const override { registry.insert<arith::ArithDialect>(); }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      InputRoles roles = findRoles(function);
      // The shapes of a layer may be known only once the attention of the one before is found.
      while (!roles.pastAxis.empty()) {
        foldShapes(function, roles);
        int64_t found = recognizeMultiHead(rewriter, function) + recognizeAttention(rewriter, function, roles);
        numAttention += found;
        if (found == 0)
          break;
      }
      FailureOr<int64_t> weights = recognizeWeights(rewriter, function);
      if (failed(weights))
        return signalPassFailure();
      numWeights += *weights;
      refineShapes(function);
      numExperts += recognizeExperts(rewriter, function);
      // Backwards, so that whole unused subgraphs go. No ONNX operator has a side effect.
      function->walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
        if (isOpTriviallyDead(op))
          op->erase();
      });
    }
  }
};
} // namespace
