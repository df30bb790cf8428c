//===- PlainGraph.cpp - Operators as functions, and constants ---*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "Schemas.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"

#include <optional>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx/inliner/inliner.h"
#pragma GCC diagnostic pop

using namespace llvm;

namespace elutq {

//===----------------------------------------------------------------------===//
// Operators that are functions of others
//===----------------------------------------------------------------------===//

/// Functions that are made of operators; no model has functions of that domain.
static constexpr char kExpandedDomain[] = "elutq.expanded";

/// The body of a node's operator for the version `opset` of the domain ai.onnx, or nothing.
static std::optional<::onnx::FunctionProto> getBody(const ::onnx::OpSchema &schema, const ::onnx::NodeProto &node, int opset,
                                                    const StringMap<::onnx::TypeProto> &types) {
  if (schema.HasContextDependentFunction()) {
    std::vector<::onnx::TypeProto> inputs;
    for (const std::string &input : node.input())
      inputs.push_back(types.lookup(input));
    ::onnx::FunctionProto body;
    ::onnx::FunctionBodyBuildContextImpl context(node, inputs);
    if (schema.BuildContextDependentFunction(context, body, opset))
      return body;
  }
  const ::onnx::FunctionProto *body = schema.HasFunction() ? schema.GetFunction(opset) : nullptr;
  return body ? std::optional(*body) : std::nullopt;
}

/// The body of a function refers to the attributes of its node, defaults included.
static void addDefaults(const ::onnx::OpSchema &schema, ::onnx::NodeProto &node) {
  for (const auto &[name, attribute] : schema.attributes()) {
    if (!attribute.default_value.has_type() ||
        llvm::any_of(node.attribute(), [&name = name](const auto &given) { return given.name() == name; }))
      continue;
    ::onnx::AttributeProto &added = *node.add_attribute();
    added = attribute.default_value;
    added.set_name(name);
  }
}

Expected<bool> expandOperators(Model &model, function_ref<bool(StringRef, StringRef)> isLowered) {
  ::onnx::GraphProto &graph = *model.proto.mutable_graph();
  int opset = model.getOpset();
  StringMap<::onnx::TypeProto> types;
  for (const auto *values : {&graph.input(), &graph.output(), &graph.value_info()})
    for (const ::onnx::ValueInfoProto &value : *values)
      types[value.name()] = value.type();
  for (const ::onnx::TensorProto &tensor : graph.initializer())
    types[tensor.name()].mutable_tensor_type()->set_elem_type(tensor.data_type());
  int count = 0;
  try {
    for (::onnx::NodeProto &node : *graph.mutable_node()) {
      if (isLowered(node.domain(), node.op_type()))
        continue;
      const ::onnx::OpSchema *schema =
          ::onnx::OpSchemaRegistry::Instance()->GetSchema(node.op_type(), node.domain().empty() ? opset : INT_MAX, node.domain());
      if (!schema || !(schema->HasFunction() || schema->HasContextDependentFunction()))
        continue;
      // Where an operator looks at the number of its results, an optional one without a name would count.
      while (node.output_size() > 1 && node.output(node.output_size() - 1).empty())
        node.mutable_output()->RemoveLast();
      std::optional<::onnx::FunctionProto> body = getBody(*schema, node, opset, types);
      if (!body)
        continue;
      addDefaults(*schema, node);
      body->set_domain(kExpandedDomain);
      body->set_name(node.op_type() + std::to_string(count++));
      // The body is in terms of the model's operators; those of other domains do not always say so.
      *body->mutable_opset_import() = model.proto.opset_import();
      node.set_domain(kExpandedDomain);
      node.set_op_type(body->name());
      *model.proto.add_functions() = std::move(*body);
    }
    if (count == 0)
      return false;
    if (llvm::none_of(model.proto.opset_import(), [](const auto &import) { return import.domain() == kExpandedDomain; })) {
      ::onnx::OperatorSetIdProto &import = *model.proto.add_opset_import();
      import.set_domain(kExpandedDomain);
      import.set_version(1);
    }
    ::onnx::inliner::InlineLocalFunctions(model.proto, /*convert_version=*/false);
  } catch (const std::exception &exception) {
    return createStringError("cannot expand an operator to those that define it: " + makeOneLine(exception.what()));
  }
  canonicalizeDomains(model.proto);
  return true;
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

static bool isStatic(const ::onnx::TypeProto &type) {
  return type.tensor_type().has_shape() &&
         llvm::all_of(type.tensor_type().shape().dim(), [](const auto &dim) { return dim.has_dim_value(); });
}

bool inferOperandShapes(const Model &model, std::vector<::onnx::ValueInfoProto> &learned) {
  static const StringSet<> unary{"Abs", "Cast", "CastLike", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Log", "Neg", "Not",
                                 "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Tanh"};
  static const StringSet<> binary{"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"};
  const ::onnx::GraphProto &graph = model.proto.graph();
  StringMap<::onnx::TypeProto> types;
  for (const auto *values : {&graph.input(), &graph.output(), &graph.value_info()})
    for (const ::onnx::ValueInfoProto &value : *values)
      types[value.name()] = value.type();
  for (const ::onnx::TensorProto &tensor : graph.initializer()) {
    auto &type = *types[tensor.name()].mutable_tensor_type();
    type.set_elem_type(tensor.data_type());
    type.mutable_shape();
    for (int64_t dim : tensor.dims())
      type.mutable_shape()->add_dim()->set_dim_value(dim);
  }
  auto isScalar = [&](const std::string &name) {
    const ::onnx::TypeProto type = types.lookup(name);
    return isStatic(type) && type.tensor_type().shape().dim_size() <= 1 &&
           llvm::all_of(type.tensor_type().shape().dim(), [](const auto &dim) { return dim.dim_value() == 1; });
  };
  size_t before = learned.size();
  for (const ::onnx::NodeProto &node : llvm::reverse(graph.node())) {
    if (!node.domain().empty() || node.output_size() != 1 || !isStatic(types.lookup(node.output(0))))
      continue;
    int operand = -1;
    if (unary.contains(node.op_type()))
      operand = 0;
    else if (binary.contains(node.op_type()) && node.input_size() == 2)
      operand = isScalar(node.input(1)) ? 0 : isScalar(node.input(0)) ? 1 : -1;
    // A result of rank 0 or 1 may be that of the scalar.
    const ::onnx::TypeProto result = types.lookup(node.output(0));
    if (operand < 0 || (operand != 0 && result.tensor_type().shape().dim_size() <= 1))
      continue;
    const std::string &name = node.input(operand);
    ::onnx::TypeProto type = types.lookup(name);
    if (type.tensor_type().elem_type() == ::onnx::TensorProto::UNDEFINED || isStatic(type))
      continue;
    *type.mutable_tensor_type()->mutable_shape() = result.tensor_type().shape();
    types[name] = type;
    learned.emplace_back();
    learned.back().set_name(name);
    *learned.back().mutable_type() = type;
  }
  return learned.size() > before;
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

void moveConstants(Model &model) {
  // Before that, every initializer had to be an input.
  if (model.proto.ir_version() < 4)
    model.proto.set_ir_version(4);
  ::onnx::GraphProto &graph = *model.proto.mutable_graph();
  auto *nodes = graph.mutable_node();
  nodes->erase(llvm::remove_if(*nodes,
                               [&](::onnx::NodeProto &node) {
                                 if (!node.domain().empty() || node.op_type() != "Constant" || node.attribute_size() != 1 ||
                                     node.attribute(0).type() != ::onnx::AttributeProto::TENSOR)
                                   return false;
                                 ::onnx::TensorProto &tensor = *graph.add_initializer();
                                 tensor = std::move(*node.mutable_attribute(0)->mutable_t());
                                 tensor.set_name(node.output(0));
                                 return true;
                               }),
               nodes->end());
}

void replaceByInitializers(Model &model, ArrayRef<::onnx::TensorProto> constants) {
  ::onnx::GraphProto &graph = *model.proto.mutable_graph();
  StringSet<> known;
  for (const ::onnx::TensorProto &tensor : constants) {
    known.insert(tensor.name());
    *graph.add_initializer() = tensor;
  }
  auto *nodes = graph.mutable_node();
  nodes->erase(llvm::remove_if(*nodes,
                               [&](const ::onnx::NodeProto &node) {
                                 return llvm::any_of(node.output(), [&](const std::string &output) { return known.contains(output); });
                               }),
               nodes->end());
}

} // namespace elutq
