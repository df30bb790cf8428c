//===- Network.cpp - A graph with layers as a library ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Network.h"
#include "PlainGraph.h"
#include "elutq/Conversion/ONNXToLinalg.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/JSON.h"
#include <map>

using namespace llvm;
using namespace elutq;
using mlir::ModuleOp;

ImportOptions elutq::networkImport(const GraphShape &shape) {
  ImportOptions options = plainGraphImport();
  // Their patterns take the last axis, as the norms of networks have it.
  options.isLowered = [](StringRef domain, StringRef name) {
    return normalize::isLoweredToLinalg(domain, name) || (domain.empty() && (name == "LayerNormalization" || name == "RMSNormalization"));
  };
  for (const auto &[name, size] : shape)
    options.dimBindings[name] = size;
  return options;
}

bool elutq::hasLayers(ModuleOp module) {
  auto isMatrix = [](mlir::Value value) {
    if (auto transposed = value.getDefiningOp<onnx::TransposeOp>())
      value = transposed.getData();
    return mlir::matchPattern(value, mlir::m_Constant());
  };
  auto result = module.walk([&](mlir::Operation *op) {
    bool found = isa<onnx::ContribMatMulNBitsOp, onnx::ContribGatherBlockQuantizedOp, onnx::ElutqHLQMatMulOp, onnx::ElutqHLQGatherOp>(op) ||
                 (isa<onnx::MatMulOp, onnx::GemmOp, onnx::ConvOp>(op) && isMatrix(op->getOperand(1)));
    return found ? mlir::WalkResult::interrupt() : mlir::WalkResult::advance();
  });
  return result.wasInterrupted();
}

std::string elutq::networkEntry(size_t shape) { return "shape" + std::to_string(shape); }

Expected<NetworkValues> elutq::getNetworkValues(ModuleOp module) {
  auto function = module.lookupSymbol<mlir::func::FuncOp>("main_graph");
  NetworkValues values;
  std::string problems;
  auto add = [&](StringRef kind, auto &list, mlir::Type type, mlir::Attribute name) {
    std::string label = name ? cast<mlir::StringAttr>(name).str() : "";
    auto tensor = dyn_cast<mlir::RankedTensorType>(type);
    if (tensor && tensor.hasStaticShape() && !graphTypeName(tensor.getElementType()).empty()) {
      list.emplace_back(label, tensor);
      return;
    }
    std::string printed;
    raw_string_ostream(printed) << type;
    problems += (problems.empty() ? "" : ", ") + kind.str() + " '" + label + "' of type " + printed;
  };
  for (auto [i, type] : enumerate(function.getArgumentTypes()))
    add("input", values.inputs, type, function.getArgAttr(i, "onnx.name"));
  for (auto [i, type] : enumerate(function.getResultTypes()))
    add("output", values.outputs, type, function.getResultAttr(i, "onnx.name"));
  if (!problems.empty())
    return unknownShapes(problems);
  return values;
}

/// The symbolic dimensions of the inputs that `shape` does not name, because they follow from those that it does.
static std::map<std::string, int64_t> findSums(const NetworkValues &values, const SymbolicShapes &names, const GraphShape &shape) {
  std::map<std::string, int64_t> sums;
  for (const auto &[input, type] : values.inputs)
    for (auto [name, size] : zip(names.lookup(input), type.getShape()))
      if (!name.empty() && !any_of(shape, [&, &name = name](const auto &given) { return given.first == name; }))
        sums[name] = size;
  return sums;
}

std::string elutq::describeNetwork(const std::vector<NetworkValues> &choices, const std::vector<GraphShape> &shapes,
                                   const SymbolicShapes &names, const cpu::TargetInfo &target) {
  std::string text;
  raw_string_ostream os(text);
  json::OStream json(os);
  auto describe = [&](const auto &values) {
    for (const auto &value : values)
      json.object([&] {
        const std::string &name = value.first;
        mlir::RankedTensorType type = value.second;
        json.attribute("name", name);
        json.attribute("type", graphTypeName(type.getElementType()));
        json.attributeArray("shape", [&] {
          std::vector<std::string> dims = names.lookup(name);
          dims.resize(type.getRank());
          for (auto [size, dim] : zip_equal(type.getShape(), dims)) {
            if (dim.empty())
              json.value(size);
            else
              json.value(dim);
          }
        });
      });
  };
  auto sizes = [&](const auto &values) {
    for (const auto &value : values)
      json.array([&] {
        for (int64_t size : value.second.getShape())
          json.value(size);
      });
  };
  json.object([&] {
    json.attribute("version", 2);
    json.attribute("cpu", target.cpu);
    json.attributeArray("inputs", [&] { describe(choices.front().inputs); });
    json.attributeArray("outputs", [&] { describe(choices.front().outputs); });
    json.attributeArray("shapes", [&] {
      for (auto [shape, values] : zip_equal(shapes, choices))
        json.object([&, &shape = shape, &values = values] {
          json.attributeObject("dims", [&] {
            for (const auto &[name, size] : shape)
              json.attribute(name, size);
            for (const auto &[name, size] : findSums(values, names, shape))
              json.attribute(name, size);
          });
          json.attributeArray("inputs", [&] { sizes(values.inputs); });
          json.attributeArray("outputs", [&] { sizes(values.outputs); });
        });
    });
  });
  return text;
}

/// A constant array `name` of `elements`, made in the initializer of the global.
static void addArray(mlir::ImplicitLocOpBuilder &builder, StringRef name, mlir::Type type, ArrayRef<mlir::LLVM::LLVMFuncOp> functions) {
  auto array = mlir::LLVM::LLVMArrayType::get(type, functions.size());
  auto global = mlir::LLVM::GlobalOp::create(builder, array, /*isConstant=*/true, mlir::LLVM::Linkage::External, name, mlir::Attribute());
  mlir::OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(&global.getInitializerRegion());
  mlir::Value value = mlir::LLVM::PoisonOp::create(builder, array);
  for (auto [i, function] : enumerate(functions)) {
    mlir::Value address = mlir::LLVM::AddressOfOp::create(builder, function);
    value = mlir::LLVM::InsertValueOp::create(builder, value, address, static_cast<int64_t>(i));
  }
  mlir::LLVM::ReturnOp::create(builder, value);
}

Error elutq::addNetworkInterface(ModuleOp module, const std::vector<NetworkValues> &choices, StringRef signature) {
  mlir::ImplicitLocOpBuilder builder(module.getLoc(), module.getContext());
  builder.setInsertionPointToEnd(module.getBody());
  std::vector<int64_t> layout{static_cast<int64_t>(choices.size()), static_cast<int64_t>(choices.front().inputs.size()),
                              static_cast<int64_t>(choices.front().outputs.size())};
  SmallVector<mlir::LLVM::LLVMFuncOp> entries;
  for (auto [i, values] : enumerate(choices)) {
    auto entry = module.lookupSymbol<mlir::LLVM::LLVMFuncOp>("elutq_entry_" + networkEntry(i));
    auto places = entry ? entry->getAttrOfType<mlir::DenseI64ArrayAttr>("elutq.places") : mlir::DenseI64ArrayAttr();
    if (!places || static_cast<size_t>(places.size()) != values.inputs.size() + values.outputs.size())
      return createStringError("the places of inputs and outputs are not known");
    entry->removeAttr("elutq.places");
    entry->removeAttr("elutq.graph");
    size_t next = 0;
    for (const auto &value : concat<const std::pair<std::string, mlir::RankedTensorType>>(values.inputs, values.outputs)) {
      mlir::RankedTensorType type = value.second;
      layout.push_back(places[next++]);
      layout.push_back(type.getNumElements() * divideCeil(type.getElementTypeBitWidth(), 8));
    }
    entries.push_back(entry);
  }
  addText(builder, "elutq_graph_signature", signature);
  auto type = mlir::RankedTensorType::get({static_cast<int64_t>(layout.size())}, builder.getI64Type());
  mlir::LLVM::GlobalOp::create(builder, mlir::LLVM::LLVMArrayType::get(builder.getI64Type(), layout.size()), /*isConstant=*/true,
                               mlir::LLVM::Linkage::External, "elutq_graph_layout",
                               mlir::DenseElementsAttr::get(type, ArrayRef<int64_t>(layout)));
  addArray(builder, "elutq_graph_entries", mlir::LLVM::LLVMPointerType::get(module.getContext()), entries);
  return Error::success();
}
