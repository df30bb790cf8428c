//===- Recognize.cpp - recognize-onnx -------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Traits.h"
#include "mlir/IR/Iterators.h"

namespace elutq {
#define GEN_PASS_DEF_RECOGNIZEONNXPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

/// The shape that numpy's broadcasting gives, or none where a dimension is unknown.
static std::optional<SmallVector<int64_t>> broadcastShapes(OperandRange operands) {
  SmallVector<int64_t> shape;
  for (Value operand : operands) {
    RankedTensorType type = getStaticType(operand);
    if (!type)
      return std::nullopt;
    SmallVector<int64_t> joined;
    if (!OpTrait::util::getBroadcastedShape(shape, type.getShape(), joined))
      return std::nullopt;
    shape = std::move(joined);
  }
  return shape;
}

static std::optional<SmallVector<int64_t>> inferShape(Operation *op) {
  if (isa<onnx::AddOp, onnx::SubOp, onnx::MulOp, onnx::DivOp, onnx::PowOp>(op))
    return broadcastShapes(op->getOperands());
  RankedTensorType input = op->getNumOperands() > 0 ? getStaticType(op->getOperand(0)) : nullptr;
  if (!input)
    return std::nullopt;
  if (isa<onnx::CastOp, onnx::IdentityOp, onnx::SqrtOp, onnx::ReciprocalOp, onnx::TanhOp, onnx::SigmoidOp, onnx::ErfOp, onnx::NegOp,
          onnx::SoftmaxOp, onnx::ReluOp, onnx::CosOp, onnx::SinOp>(op))
    return SmallVector<int64_t>(input.getShape());
  if (auto transpose = dyn_cast<onnx::TransposeOp>(op)) {
    SmallVector<int64_t> shape;
    for (int64_t i = 0; i < input.getRank(); ++i)
      shape.push_back(input.getDimSize(transpose.getPerm() ? (*transpose.getPerm())[i] : input.getRank() - 1 - i));
    return shape;
  }
  if (auto gather = dyn_cast<onnx::GatherOp>(op)) {
    RankedTensorType indices = getStaticType(gather.getIndices());
    if (!indices)
      return std::nullopt;
    int64_t axis = normalizeAxis(static_cast<int64_t>(gather.getAxis()), input.getRank());
    SmallVector<int64_t> shape(input.getShape().take_front(axis));
    llvm::append_range(shape, indices.getShape());
    llvm::append_range(shape, input.getShape().drop_front(axis + 1));
    return shape;
  }
  if (auto unsqueeze = dyn_cast<onnx::UnsqueezeOp>(op)) {
    std::optional<SmallVector<int64_t>> axes = getConstantInts(unsqueeze.getAxes());
    if (!axes)
      return std::nullopt;
    int64_t rank = input.getRank() + axes->size();
    SmallVector<int64_t> shape(rank, 0);
    for (int64_t axis : *axes)
      shape[normalizeAxis(axis, rank)] = 1;
    const int64_t *next = input.getShape().begin();
    for (int64_t &size : shape)
      size = size == 1 ? 1 : *next++;
    return shape;
  }
  if (auto concat = dyn_cast<onnx::ConcatOp>(op)) {
    SmallVector<int64_t> shape(input.getShape());
    int64_t axis = normalizeAxis(static_cast<int64_t>(concat.getAxis()), input.getRank());
    for (Value other : concat.getInputs().drop_front()) {
      RankedTensorType type = getStaticType(other);
      if (!type)
        return std::nullopt;
      shape[axis] += type.getDimSize(axis);
    }
    return shape;
  }
  auto result = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (isa<onnx::ReshapeOp>(op) && result && result.getNumDynamicDims() == 1) {
    SmallVector<int64_t> shape(result.getShape());
    int64_t known = 1;
    for (int64_t size : shape)
      known *= ShapedType::isDynamic(size) ? 1 : size;
    if (known == 0 || input.getNumElements() % known != 0)
      return std::nullopt;
    llvm::replace(shape, ShapedType::kDynamic, input.getNumElements() / known);
    return shape;
  }
  if (isa<onnx::MatMulOp>(op)) {
    RankedTensorType matrix = getStaticType(op->getOperand(1));
    if (!matrix || matrix.getRank() != 2 || input.getRank() < 2)
      return std::nullopt;
    SmallVector<int64_t> shape(input.getShape());
    shape.back() = matrix.getDimSize(1);
    return shape;
  }
  if (auto gemm = dyn_cast<onnx::GemmOp>(op)) {
    RankedTensorType matrix = getStaticType(gemm.getB());
    if (!matrix || input.getRank() != 2 || matrix.getRank() != 2)
      return std::nullopt;
    return SmallVector<int64_t>{input.getDimSize(gemm.getTransA() ? 1 : 0), matrix.getDimSize(gemm.getTransB() ? 0 : 1)};
  }
  return std::nullopt;
}

/// Writes the shape of the result in full where it follows from operands.
static void refineResult(Operation *op) {
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || type.hasStaticShape() || llvm::any_of(op->getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); }))
    return;
  std::optional<SmallVector<int64_t>> shape = inferShape(op);
  if (!shape || static_cast<int64_t>(shape->size()) != type.getRank())
    return;
  for (auto [known, inferred] : llvm::zip(type.getShape(), *shape))
    if (!ShapedType::isDynamic(known) && known != inferred)
      return;
  op->getResult(0).setType(RankedTensorType::get(*shape, type.getElementType()));
}

void normalize::refineShapes(func::FuncOp function) {
  function->walk([](Operation *op) {
    if (!isa_and_present<onnx::ONNXDialect>(op->getDialect()) || op->getNumResults() != 1)
      return;
    refineResult(op);
    // A shape that is known need not be computed, from those of inputs that go away.
    RankedTensorType result = getStaticType(op->getResult(0));
    if (!isa<onnx::ReshapeOp, onnx::ExpandOp>(op) || !result || getConstant(op->getOperand(1)) || llvm::is_contained(result.getShape(), 0))
      return;
    OpBuilder builder(op);
    auto type = RankedTensorType::get({result.getRank()}, builder.getI64Type());
    op->setOperand(1, arith::ConstantOp::create(builder, op->getLoc(), type, DenseElementsAttr::get(type, result.getShape())));
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
      numAttention += recognizeAttention(rewriter, function);
      FailureOr<int64_t> weights = recognizeWeights(rewriter, function);
      if (failed(weights))
        return signalPassFailure();
      numWeights += *weights;
      refineShapes(function);
      // Backwards, so that whole unused subgraphs go. No ONNX operator has a side effect.
      function->walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
        if (isOpTriviallyDead(op))
          op->erase();
      });
    }
  }
};
} // namespace
