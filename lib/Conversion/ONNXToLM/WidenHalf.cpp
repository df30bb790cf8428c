//===- WidenHalf.cpp - widen-half-onnx ------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/APFloat.h"

namespace elutq {
#define GEN_PASS_DEF_WIDENHALFONNXPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

static bool isHalf(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return shaped && (shaped.getElementType().isF16() || shaped.getElementType().isBF16());
}

static Type widen(Type type) { return isHalf(type) ? cast<ShapedType>(type).clone(Float32Type::get(type.getContext())) : type; }

/// Every number of a small constant, wider.
static ElementsAttr widen(DenseElementsAttr attr) {
  return attr.mapValues(Float32Type::get(attr.getContext()), [](const APFloat &number) {
    APFloat wide = number;
    bool losesInfo;
    wide.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &losesInfo);
    return wide.bitcastToAPInt();
  });
}

/// Stored weights: constants, also transposed or reshaped. They stay as they are.
static bool isStored(Value value) {
  Operation *op = value.getDefiningOp();
  return op && (isa<arith::ConstantOp>(op) || (isa<onnx::TransposeOp, onnx::ReshapeOp>(op) && isStored(op->getOperand(0))));
}

/// Operands that are read in half precision where they are stored: tables, the scales of quantized matrices, and what the model widens itself.
static bool readsHalf(OpOperand &use) {
  Operation *op = use.getOwner();
  if (isa<onnx::CastOp>(op))
    return !isHalf(op->getResult(0).getType());
  if (isa<onnx::GatherOp>(op))
    return use.getOperandNumber() == 0;
  return isa<onnx::ContribMatMulNBitsOp, onnx::ContribGatherBlockQuantizedOp, onnx::ElutqHLQMatMulOp, onnx::ElutqHLQGatherOp>(op);
}

namespace {
struct WidenHalfONNXPass : elutq::impl::WidenHalfONNXPassBase<WidenHalfONNXPass> {
  void getDependentDialects(DialectRegistry &registry) const override { registry.insert<arith::ArithDialect>(); }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal())
        widenFunction(function);
  }

private:
  static Value castTo(OpBuilder &builder, Location loc, Value value, Type type) {
    constexpr int64_t kFloat = 1; // onnx::TensorProto::FLOAT
    OperationState state(loc, onnx::CastOp::getOperationName());
    state.addOperands(value);
    state.addTypes(type);
    state.addAttribute("to", builder.getI64IntegerAttr(kFloat));
    return builder.create(state)->getResult(0);
  }

  /// A stored value in f32, for a user that computes. Small ones that are constant are converted here.
  static Value load(OpBuilder &builder, Value value) {
    builder.setInsertionPointAfterValue(value);
    if (auto constant = value.getDefiningOp<arith::ConstantOp>())
      if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()))
        return arith::ConstantOp::create(builder, value.getLoc(), cast<TypedAttr>(widen(dense)));
    if (auto table = loadTable(builder, value))
      return table;
    return castTo(builder, value.getLoc(), value, widen(value.getType()));
  }

  /// The tables of rotary embeddings have to be constants, of f32.
  static Value loadTable(OpBuilder &builder, Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    std::optional<ArrayRef<char>> bytes = value.getDefiningOp<arith::ConstantOp>() ? getConstantBytes(value) : std::nullopt;
    bool isTable = llvm::any_of(value.getUsers(), [](Operation *user) {
      return isa<onnx::ContribGroupQueryAttentionOp, onnx::ContribRotaryEmbeddingOp, onnx::RotaryEmbeddingOp>(user);
    });
    if (!bytes || !isTable)
      return nullptr;
    const llvm::fltSemantics &from = cast<FloatType>(type.getElementType()).getFloatSemantics();
    llvm::Expected<Value> table = deriveConstant(builder, value.getLoc(), value, ".f32", cast<RankedTensorType>(widen(type)), [&](char *to) {
      for (int64_t i = 0; i < type.getNumElements(); ++i) {
        uint16_t bits;
        std::memcpy(&bits, bytes->data() + 2 * i, 2);
        bool losesInfo;
        APFloat number(from, APInt(16, bits));
        number.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &losesInfo);
        float wide = number.convertToFloat();
        std::memcpy(to + 4 * i, &wide, 4);
      }
    });
    if (table)
      return *table;
    llvm::consumeError(table.takeError());
    return nullptr;
  }

  void widenOperands(Operation *op) {
    OpBuilder builder(op);
    for (OpOperand &use : op->getOpOperands()) {
      Value value = use.get();
      if (!isHalf(value.getType()) || !isStored(value) || readsHalf(use))
        continue;
      Value &wide = loaded[value];
      if (!wide)
        wide = load(builder, value);
      use.set(wide);
    }
  }

  void widenFunction(func::FuncOp function) {
    // Inputs are the keys and values of the past: a model that computes in half precision has them so.
    if (llvm::none_of(function.getArgumentTypes(), isHalf) && llvm::none_of(function.getResultTypes(), isHalf))
      return;
    loaded.clear();
    SmallVector<Operation *> ops;
    function->walk([&](Operation *op) { ops.push_back(op); });
    for (BlockArgument argument : function.getArguments())
      argument.setType(widen(argument.getType()));
    for (Operation *op : ops) {
      if (op == function || isa<arith::ConstantOp>(op) || llvm::any_of(op->getResults(), [](Value result) { return isStored(result); }))
        continue;
      widenOperands(op);
      widenResults(op);
    }
    auto types = llvm::map_to_vector(function.front().getTerminator()->getOperandTypes(), [](Type type) { return type; });
    function.setFunctionType(FunctionType::get(&getContext(), function.front().getArgumentTypes(), types));
    ++numWidened;
  }

  void widenResults(Operation *op) {
    // A row of a table is widened behind it.
    if (auto gather = dyn_cast<onnx::GatherOp>(op); gather && isHalf(gather.getData().getType())) {
      OpBuilder builder(op->getContext());
      builder.setInsertionPointAfter(op);
      Value row = gather.getOutput(), wide = castTo(builder, op->getLoc(), row, widen(row.getType()));
      row.replaceAllUsesExcept(wide, wide.getDefiningOp());
      return;
    }
    bool isWidened = false;
    for (Value result : op->getResults()) {
      isWidened |= isHalf(result.getType());
      result.setType(widen(result.getType()));
    }
    if (!isWidened)
      return;
    if (auto castOp = dyn_cast<onnx::CastOp>(op))
      castOp.setTo(1);
    if (auto constant = dyn_cast<onnx::ConstantOfShapeOp>(op); constant && constant.getValue())
      if (auto dense = dyn_cast<DenseElementsAttr>(*constant.getValue()))
        constant.setValueAttr(widen(dense));
  }

  llvm::DenseMap<Value, Value> loaded;
};
} // namespace
