//===- PlainGraph.cpp - Any graph as a shared library ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PlainGraph.h"
#include "Package.h"
#include "elutq/Conversion/ONNXToLinalg.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace elutq;
using mlir::ModuleOp;

static constexpr StringLiteral kGraph = "main_graph";

ImportOptions elutq::plainGraphImport() {
  ImportOptions options;
  options.plainGraph = true;
  options.isLowered = normalize::isLoweredToLinalg;
  options.fold = normalize::evaluateConstant;
  return options;
}

std::string elutq::graphTypeName(mlir::Type type) {
  if (type.isF32())
    return "float32";
  if (type.isF64())
    return "float64";
  if (type.isF16())
    return "float16";
  if (type.isBF16())
    return "bfloat16";
  if (isa<mlir::Float8E4M3FNType>(type))
    return "float8_e4m3fn";
  if (isa<mlir::Float8E4M3FNUZType>(type))
    return "float8_e4m3fnuz";
  if (isa<mlir::Float8E5M2Type>(type))
    return "float8_e5m2";
  if (isa<mlir::Float8E5M2FNUZType>(type))
    return "float8_e5m2fnuz";
  if (isa<mlir::Float8E8M0FNUType>(type))
    return "float8_e8m0fnu";
  if (isa<mlir::Float4E2M1FNType>(type))
    return "float4_e2m1fn";
  auto integer = dyn_cast<mlir::IntegerType>(type);
  if (!integer)
    return "";
  if (integer.getWidth() == 1)
    return "bool";
  return (integer.isUnsigned() ? "uint" : "int") + std::to_string(integer.getWidth());
}

Error elutq::unknownShapes(const Twine &values) {
  return createStringError("--emit=graph needs dense tensors with shapes that are known: " + values +
                           "; --shape=name=n,... gives symbolic dimensions numbers");
}

Expected<std::string> elutq::describeGraph(ModuleOp module, const cpu::TargetInfo &target) {
  auto function = module.lookupSymbol<mlir::func::FuncOp>(kGraph);
  std::string text;
  raw_string_ostream os(text);
  json::OStream json(os);
  std::string problems;
  auto describe = [&](StringRef kind, mlir::Type type, mlir::Attribute name) {
    std::string label = name ? cast<mlir::StringAttr>(name).str() : "";
    auto tensor = dyn_cast<mlir::RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape() || graphTypeName(tensor.getElementType()).empty()) {
      std::string printed;
      raw_string_ostream(printed) << type;
      problems += (problems.empty() ? "" : ", ") + kind.str() + " '" + label + "' of type " + printed;
      return;
    }
    json.object([&] {
      json.attribute("name", label);
      json.attribute("type", graphTypeName(tensor.getElementType()));
      json.attributeArray("shape", [&] {
        for (int64_t size : tensor.getShape())
          json.value(size);
      });
    });
  };
  json.object([&] {
    json.attribute("version", 1);
    json.attribute("cpu", target.cpu);
    json.attributeArray("inputs", [&] {
      for (auto [i, type] : enumerate(function.getArgumentTypes()))
        describe("input", type, function.getArgAttr(i, "onnx.name"));
    });
    json.attributeArray("outputs", [&] {
      for (auto [i, type] : enumerate(function.getResultTypes()))
        describe("output", type, function.getResultAttr(i, "onnx.name"));
    });
  });
  if (!problems.empty())
    return unknownShapes(problems);
  return text;
}

void elutq::flattenEmptyTensors(ModuleOp module) {
  auto function = module.lookupSymbol<mlir::func::FuncOp>(kGraph);
  mlir::Block &body = function.front();
  auto builder = mlir::OpBuilder::atBlockBegin(&body);
  auto empty = [&](ArrayRef<int64_t> shape, mlir::RankedTensorType like) -> mlir::Value {
    return mlir::tensor::EmptyOp::create(builder, function.getLoc(), shape, like.getElementType());
  };
  auto isEmpty = [](mlir::Type type) { return cast<mlir::RankedTensorType>(type).getNumElements() == 0; };
  for (mlir::BlockArgument argument : body.getArguments()) {
    auto type = cast<mlir::RankedTensorType>(argument.getType());
    if (!isEmpty(type))
      continue;
    argument.replaceAllUsesWith(empty(type.getShape(), type));
    argument.setType(mlir::RankedTensorType::get({0}, type.getElementType()));
  }
  mlir::Operation *terminator = body.getTerminator();
  for (mlir::OpOperand &operand : terminator->getOpOperands())
    if (auto type = cast<mlir::RankedTensorType>(operand.get().getType()); isEmpty(type))
      operand.set(empty({0}, type));
  function.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), terminator->getOperandTypes()));
}

mlir::LLVM::GlobalOp elutq::addText(mlir::ImplicitLocOpBuilder &builder, StringRef name, StringRef text) {
  std::string bytes = text.str();
  bytes.push_back('\0');
  auto type = mlir::LLVM::LLVMArrayType::get(builder.getI8Type(), bytes.size());
  return mlir::LLVM::GlobalOp::create(builder, type, /*isConstant=*/true, mlir::LLVM::Linkage::External, name, builder.getStringAttr(bytes));
}

void elutq::addGraphInterface(ModuleOp module, unsigned inputs, StringRef signature, const cpu::TargetInfo &target) {
  mlir::ImplicitLocOpBuilder builder(module.getLoc(), module.getContext());
  builder.setInsertionPointToEnd(module.getBody());
  addText(builder, "elutq_graph_signature", signature);
  addText(builder, "elutq_plain_graph_features", formatFeatures(target)).setVisibility_(mlir::LLVM::Visibility::Hidden);

  auto graph = module.lookupSymbol<mlir::LLVM::LLVMFuncOp>(kGraph);
  graph.setLinkage(mlir::LLVM::Linkage::Internal);
  // The names of inputs and outputs are in the signature, and mean nothing to LLVM.
  graph.removeArgAttrsAttr();
  graph.removeResAttrsAttr();
  auto pointer = mlir::LLVM::LLVMPointerType::get(module.getContext());
  auto none = mlir::LLVM::LLVMVoidType::get(module.getContext());
  auto run = mlir::LLVM::LLVMFuncOp::create(builder, "elutq_plain_graph_compute",
                                            mlir::LLVM::LLVMFunctionType::get(none, {pointer, pointer}));
  run.setVisibility_(mlir::LLVM::Visibility::Hidden);
  mlir::Block *block = run.addEntryBlock(builder);
  builder.setInsertionPointToStart(block);
  SmallVector<mlir::Value> arguments;
  for (unsigned i = 0, e = graph.getNumArguments(); i < e; ++i) {
    bool isInput = i < inputs;
    mlir::Value slot = mlir::LLVM::GEPOp::create(builder, pointer, pointer, block->getArgument(isInput ? 0 : 1),
                                                 mlir::LLVM::GEPArg(isInput ? i : i - inputs));
    arguments.push_back(mlir::LLVM::LoadOp::create(builder, pointer, slot));
  }
  mlir::LLVM::CallOp::create(builder, graph, arguments);
  mlir::LLVM::ReturnOp::create(builder, mlir::ValueRange());
}
