//===- GraphCheck.cpp - Check the structure of a graph ----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "OperatorTable.h"
#include "Schemas.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"

#include <map>

using namespace llvm;

namespace elutq {

std::string describeNode(const ::onnx::NodeProto &node) {
  if (!node.name().empty())
    return "node '" + node.name() + "'";
  for (const std::string &output : node.output())
    if (!output.empty())
      return "the node of '" + output + "'";
  return "a node";
}

std::string describeOperator(const ::onnx::NodeProto &node) {
  return node.domain().empty() ? node.op_type() : node.domain() + "::" + node.op_type();
}

namespace {
/// What a node's operator is to the importer.
enum class Support { Supported, Unknown, TooNew, TooOld };
} // namespace

/// Operators that modernizeOperators() turns into others.
static bool isModernized(const ::onnx::NodeProto &node) {
  return node.domain().empty() && (node.op_type() == "Scatter" || node.op_type() == "Upsample");
}

static const ::onnx::OpSchema *getSchema(const ::onnx::NodeProto &node, int opset) {
  return getSchemas().GetSchema(node.op_type(), opset, node.domain());
}

static Support getSupport(const ::onnx::NodeProto &node, int opset) {
  const OperatorInfo *info = findOperator(node.domain(), node.op_type());
  bool isConstant = node.domain().empty() && node.op_type() == "Constant";
  if (!info && !isConstant && !isModernized(node))
    return Support::Unknown;
  const ::onnx::OpSchema *schema = getSchema(node, opset);
  if (!schema)
    return Support::TooNew;
  // Up to opset 20, scale and bias were per group; there is no telling the two apart by shape.
  if (node.domain().empty() && node.op_type() == "GroupNormalization" && schema->since_version() < 21)
    return Support::TooOld;
  return schema->deprecated() && !isModernized(node) ? Support::TooOld : Support::Supported;
}

StringRef getFirstResult(const ::onnx::NodeProto &node) {
  for (const std::string &output : node.output())
    if (!output.empty())
      return output;
  return "";
}

std::string getReason(Error error, const ::onnx::NodeProto &node) {
  std::string text = toString(std::move(error));
  StringRef reason = text;
  reason.consume_front(describeNode(node) + " (" + describeOperator(node) + "): ");
  return reason.str();
}

void findUnsupported(const Model &model, Refusals &refusals) {
  int opset = model.getOpset();
  for (const ::onnx::NodeProto &node : model.proto.graph().node()) {
    Support support = getSupport(node, opset);
    if (support == Support::Supported)
      continue;
    std::string reason = "this operator ";
    bool isControlFlow = node.domain().empty() && (node.op_type() == "If" || node.op_type() == "Loop" || node.op_type() == "Scan");
    if (isControlFlow)
      reason += "is supported only where what it does is known when the model is compiled: the condition, or the number of turns";
    else if (support == Support::TooNew)
      reason += "does not exist in opset " + std::to_string(opset);
    else
      reason += "is not supported" + (support == Support::TooOld ? " in its version of opset " + std::to_string(opset) : "");
    refusals.try_emplace(getFirstResult(node), reason);
  }
}

Error checkOperators(const Model &model) {
  struct Use {
    Support support;
    SmallVector<std::string> nodes;
  };
  // Of each operator.
  constexpr size_t maxNodes = 8;
  std::map<std::string, Use> uses;
  int opset = model.getOpset();
  for (const ::onnx::NodeProto &node : model.proto.graph().node()) {
    Support support = getSupport(node, opset);
    if (support == Support::Supported)
      continue;
    Use &use = uses[describeOperator(node)];
    use.support = support;
    use.nodes.push_back(describeNode(node));
  }
  if (uses.empty())
    return Error::success();
  SmallVector<std::string> parts;
  for (const auto &[name, use] : uses) {
    std::string part = name + " (" + join(ArrayRef(use.nodes).take_front(maxNodes), ", ");
    if (use.nodes.size() > maxNodes)
      part += " and " + std::to_string(use.nodes.size() - maxNodes) + " more";
    if (use.support == Support::TooNew)
      part += ", not in opset " + std::to_string(opset);
    if (use.support == Support::TooOld)
      part += ", in the version of opset " + std::to_string(opset);
    parts.push_back(part + ")");
  }
  return createStringError("unsupported operators: " + join(parts, ", ") + "; docs/Operators.md lists what is supported");
}

static Error checkAttributes(const ::onnx::NodeProto &node) {
  StringSet<> names;
  for (const ::onnx::AttributeProto &attribute : node.attribute()) {
    if (attribute.name().empty() || !names.insert(attribute.name()).second)
      return createStringError(describeNode(node) + " (" + describeOperator(node) + ") has attribute '" +
                               attribute.name() + "' twice, or one without a name");
    if (!attribute.ref_attr_name().empty())
      return createStringError(describeNode(node) + " (" + describeOperator(node) + "): attribute '" +
                               attribute.name() + "' refers to an attribute of a function, but is in none");
    // The ONNX library makes a list of this length before it looks at the outputs.
    if (attribute.name() == "num_outputs" && attribute.i() != node.output_size())
      return createStringError(describeNode(node) + " (" + describeOperator(node) + ") has " +
                               Twine(node.output_size()) + " outputs, but its num_outputs is " + Twine(attribute.i()));
  }
  return Error::success();
}

static Error checkNode(const ::onnx::NodeProto &node, int opset, StringSet<> &defined) {
  for (const std::string &input : node.input())
    if (!input.empty() && !defined.contains(input))
      return createStringError(describeNode(node) + " (" + describeOperator(node) + ") uses '" + input +
                               "', which is no input, initializer or result of an earlier node");
  if (Error error = checkAttributes(node))
    return error;
  bool hasOutput = false;
  for (const std::string &output : node.output()) {
    hasOutput |= !output.empty();
    if (!output.empty() && !defined.insert(output).second)
      return createStringError(describeNode(node) + " (" + describeOperator(node) + ") defines '" + output +
                               "', which is defined already");
  }
  if (!hasOutput)
    return createStringError(describeNode(node) + " (" + describeOperator(node) + ") has no result");
  try {
    if (const ::onnx::OpSchema *schema = getSchema(node, opset))
      schema->Verify(node);
  } catch (const std::exception &exception) {
    return createStringError(describeNode(node) + " (" + describeOperator(node) + ") is malformed: " + exception.what());
  }
  return Error::success();
}

Error checkStructure(const Model &model) {
  const ::onnx::GraphProto &graph = model.proto.graph();
  if (!graph.sparse_initializer().empty())
    return createStringError("sparse initializers are not supported");
  StringSet<> inputs, defined;
  for (const ::onnx::ValueInfoProto &input : graph.input()) {
    if (input.name().empty())
      return createStringError("an input has no name");
    if (!inputs.insert(input.name()).second)
      return createStringError("two inputs have the name '" + input.name() + "'");
    defined.insert(input.name());
  }
  StringSet<> initializers;
  for (const ::onnx::TensorProto &initializer : graph.initializer()) {
    if (initializer.name().empty())
      return createStringError("an initializer has no name");
    if (!initializers.insert(initializer.name()).second)
      return createStringError("two initializers have the name '" + initializer.name() + "'");
    defined.insert(initializer.name());
  }
  for (const ::onnx::NodeProto &node : graph.node())
    if (Error error = checkNode(node, model.getOpset(), defined))
      return error;
  if (graph.output().empty())
    return createStringError("the graph has no outputs");
  StringSet<> outputs;
  for (const ::onnx::ValueInfoProto &output : graph.output()) {
    if (!defined.contains(output.name()))
      return createStringError("output '" + output.name() + "' is no input, initializer or result of a node");
    if (!outputs.insert(output.name()).second)
      return createStringError("two outputs have the name '" + output.name() + "'");
  }
  return Error::success();
}

Error checkGraph(const Model &model) {
  if (Error error = checkOperators(model))
    return error;
  return checkStructure(model);
}

} // namespace elutq
