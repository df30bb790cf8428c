//===- RecognizeExperts.cpp - Matrices chosen by TopK ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// A mixture of experts multiplies each row with the matrices that a router chose for it. Exporters gather these matrices, a copy for each row. As
// products of all rows with each expert's matrix, of which the chosen one's result is taken, they are matrices like all others: quantized, and
// read once for all rows.
//
//===----------------------------------------------------------------------===//

#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"

using namespace mlir;

namespace elutq::normalize {

/// Operators that keep the elements in their order.
static bool keepsElements(Operation *op) {
  return isa_and_present<onnx::ReshapeOp, onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::IdentityOp, onnx::CastOp>(op);
}

/// Whether `indices` are what TopK chose among `count`, so that each is from 0 to `count - 1`.
static bool areChosenAmong(Value indices, int64_t count) {
  while (keepsElements(indices.getDefiningOp()))
    indices = indices.getDefiningOp()->getOperand(0);
  auto top = indices.getDefiningOp<onnx::TopKOp>();
  RankedTensorType type = top && top.getIndices() == indices ? getStaticType(top.getX()) : nullptr;
  return type && type.getDimSize(normalizeAxis(static_cast<int64_t>(top.getAxis()), type.getRank())) == count;
}

namespace {
/// `product[s] = weights[chosen[s]] * x[s]` (or, where `transposed`, `x[s] * weights[chosen[s]]`) for rows s.
struct ExpertProduct {
  onnx::MatMulOp product;
  /// Constant `[experts, outputs, inputs]`, or `[experts, inputs, outputs]` where `transposed`.
  Value weights;
  /// `[rows]` or `[rows, 1]`.
  Value chosen;
  Value x;
  bool transposed = false;
  int64_t rows = 0, experts = 0, inputs = 0, outputs = 0;
};
} // namespace

/// The matrices and their indices, if `value` are rows of a constant of matrices.
static bool matchChoice(Value value, ExpertProduct &match) {
  if (auto gather = value.getDefiningOp<onnx::GatherNDOp>()) {
    RankedTensorType indices = getStaticType(gather.getIndices());
    if (gather.getBatchDims() != 0 || !indices || indices.getRank() != 2 || indices.getDimSize(1) != 1)
      return false;
    match.weights = gather.getData();
    match.chosen = gather.getIndices();
  } else if (auto gather = value.getDefiningOp<onnx::GatherOp>()) {
    RankedTensorType indices = getStaticType(gather.getIndices());
    if (gather.getAxis() != 0 || !indices || indices.getRank() != 1)
      return false;
    match.weights = gather.getData();
    match.chosen = gather.getIndices();
  } else {
    return false;
  }
  // Weights of half precision are stored so.
  if (auto castOp = match.weights.getDefiningOp<onnx::CastOp>())
    match.weights = castOp.getInput();
  RankedTensorType type = getStaticType(match.weights);
  if (!value.hasOneUse() || !type || type.getRank() != 3 || !isa<FloatType>(type.getElementType()) || !getConstant(match.weights))
    return false;
  match.experts = type.getDimSize(0);
  match.rows = getStaticType(match.chosen).getDimSize(0);
  return areChosenAmong(match.chosen, match.experts);
}

static std::optional<ExpertProduct> matchProduct(onnx::MatMulOp op) {
  ExpertProduct match;
  match.product = op;
  match.transposed = !matchChoice(op.getA(), match);
  if (match.transposed && !matchChoice(op.getB(), match))
    return std::nullopt;
  match.x = match.transposed ? op.getA() : op.getB();
  RankedTensorType weights = getStaticType(match.weights), x = getStaticType(match.x), result = getStaticType(op.getResult());
  match.outputs = weights.getDimSize(match.transposed ? 2 : 1);
  match.inputs = weights.getDimSize(match.transposed ? 1 : 2);
  // One column, or one row, for each choice.
  SmallVector<int64_t> column{match.rows, match.inputs, 1}, row{match.rows, 1, match.inputs};
  if (!x || !result || !result.getElementType().isF32() || x.getShape() != ArrayRef(match.transposed ? row : column))
    return std::nullopt;
  return match;
}

/// The matrix of one expert: a part of the same bytes, which live as long as the context.
static Value getExpert(OpBuilder &builder, Location loc, Value weights, int64_t expert) {
  auto type = cast<RankedTensorType>(weights.getType());
  auto matrix = RankedTensorType::get(type.getShape().drop_front(), type.getElementType());
  ElementsAttr attr = getConstant(weights);
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    size_t size = dense.isSplat() ? dense.getRawData().size() : dense.getRawData().size() / type.getDimSize(0);
    ArrayRef<char> bytes = dense.isSplat() ? dense.getRawData() : dense.getRawData().slice(expert * size, size);
    return arith::ConstantOp::create(builder, loc, matrix, DenseElementsAttr::getFromRawBuffer(matrix, bytes));
  }
  auto resource = cast<DenseResourceElementsAttr>(attr);
  ArrayRef<char> bytes = *getConstantBytes(weights);
  size_t size = bytes.size() / type.getDimSize(0);
  std::string key = (resource.getRawHandle().getKey() + ".expert" + Twine(expert)).str();
  auto *dialect = builder.getContext()->getLoadedDialect<onnx::ONNXDialect>();
  DenseResourceElementsHandle handle = dialect->getOrCreateBlob(key, key, [&] {
    return UnmanagedAsmResourceBlob::allocateWithAlign(bytes.slice(expert * size, size), type.getElementTypeBitWidth() / 8);
  });
  return arith::ConstantOp::create(builder, loc, matrix, DenseResourceElementsAttr::get(matrix, handle));
}

static Value rewrite(OpBuilder &builder, ExpertProduct match) {
  Location loc = match.product.getLoc();
  Type element = cast<RankedTensorType>(match.product.getType()).getElementType();
  auto type = RankedTensorType::get({match.rows, match.outputs}, element);
  auto flags = RankedTensorType::get({match.rows, 1}, builder.getI1Type());
  auto numberType = RankedTensorType::get({}, builder.getI64Type());
  Value x = reshapeNode(builder, loc, match.x, {match.rows, match.inputs}), chosen = reshapeNode(builder, loc, match.chosen, {match.rows, 1}), result;
  for (int64_t expert = 0; expert < match.experts; ++expert) {
    Location own = NameLoc::get(builder.getStringAttr(getNodeName(loc) + ".expert" + Twine(expert)));
    Value matrix = getExpert(builder, own, match.weights, expert);
    auto matrixType = RankedTensorType::get({match.inputs, match.outputs}, cast<RankedTensorType>(matrix.getType()).getElementType());
    if (!match.transposed)
      matrix = createNode(builder, own, onnx::TransposeOp::getOperationName(), matrix, matrixType,
                          builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr({1, 0})));
    constexpr int64_t kFloat = 1; // onnx::TensorProto::FLOAT
    if (matrixType.getElementType() != element)
      matrix = createNode(builder, own, onnx::CastOp::getOperationName(), matrix, matrixType.clone(element),
                          builder.getNamedAttr("to", builder.getI64IntegerAttr(kFloat)));
    Value product = createNode(builder, own, onnx::MatMulOp::getOperationName(), {x, matrix}, type);
    if (!result) {
      result = product;
      continue;
    }
    Value number = arith::ConstantOp::create(builder, own, numberType, DenseElementsAttr::get(numberType, expert));
    Value isChosen = createNode(builder, own, onnx::EqualOp::getOperationName(), {chosen, number}, flags);
    result = createNode(builder, own, onnx::WhereOp::getOperationName(), {isChosen, product, result}, type);
  }
  return reshapeNode(builder, loc, result, cast<RankedTensorType>(match.product.getType()).getShape());
}

int64_t recognizeExperts(IRRewriter &rewriter, func::FuncOp function) {
  SmallVector<ExpertProduct> matches;
  function->walk([&](onnx::MatMulOp op) {
    if (std::optional<ExpertProduct> match = matchProduct(op))
      matches.push_back(*match);
  });
  for (ExpertProduct &match : matches) {
    rewriter.setInsertionPoint(match.product);
    rewriter.replaceOp(match.product, rewrite(rewriter, match));
  }
  return matches.size();
}

} // namespace elutq::normalize
