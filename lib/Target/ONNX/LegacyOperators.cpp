//===- LegacyOperators.cpp - Rewrite old operator versions ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "OperatorTable.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace elutq {

namespace {
/// Rewrites the nodes of one model in place.
class Modernizer {
public:
  explicit Modernizer(Model &model) : graph(*model.proto.mutable_graph()), opset(model.getOpset()) {
    for (const auto *values : {&graph.input(), &graph.output(), &graph.value_info()})
      for (const ::onnx::ValueInfoProto &value : *values)
        types[value.name()] = value.type();
    for (const ::onnx::TensorProto &initializer : graph.initializer()) {
      ::onnx::TypeProto type;
      type.mutable_tensor_type()->set_elem_type(initializer.data_type());
      for (int64_t dim : initializer.dims())
        type.mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(dim);
      types[initializer.name()] = type;
    }
  }

  Error run(Refusals *refusals) {
    for (::onnx::NodeProto &node : *graph.mutable_node()) {
      Error error = node.domain().empty() ? modernize(node) : Error::success();
      if (error && !refusals)
        return error;
      if (error)
        refusals->try_emplace(getFirstResult(node), getReason(std::move(error), node));
    }
    return Error::success();
  }

private:
  Error modernize(::onnx::NodeProto &node);
  Error modernizeSoftmax(::onnx::NodeProto &node);
  void modernizeResize(::onnx::NodeProto &node);

  /// Removes attribute `name` and returns it, or a nameless one if there is none.
  static ::onnx::AttributeProto takeAttribute(::onnx::NodeProto &node, StringRef name) {
    for (int i = 0; i < node.attribute_size(); ++i) {
      if (name != node.attribute(i).name())
        continue;
      ::onnx::AttributeProto attribute = node.attribute(i);
      node.mutable_attribute()->DeleteSubrange(i, 1);
      return attribute;
    }
    return {};
  }

  static void setString(::onnx::NodeProto &node, StringRef name, StringRef value) {
    ::onnx::AttributeProto &attribute = *node.add_attribute();
    attribute.set_name(name.str());
    attribute.set_type(::onnx::AttributeProto::STRING);
    attribute.set_s(value.str());
  }

  static void setInt(::onnx::NodeProto &node, StringRef name, int64_t value) {
    ::onnx::AttributeProto &attribute = *node.add_attribute();
    attribute.set_name(name.str());
    attribute.set_type(::onnx::AttributeProto::INT);
    attribute.set_i(value);
  }

  static void setInput(::onnx::NodeProto &node, int index, const std::string &name) {
    while (node.input_size() <= index)
      node.add_input();
    node.set_input(index, name);
  }

  ::onnx::TensorProto &addInitializer(const ::onnx::NodeProto &node, StringRef name) {
    ::onnx::TensorProto &tensor = *graph.add_initializer();
    // No value of a model has such a name: its node's first result is in it, behind a zero byte.
    std::string unique = node.output(0);
    unique.push_back('\0');
    tensor.set_name(unique + name.str());
    return tensor;
  }

  /// Makes the attribute `name` (an int or ints) operand `index`.
  void moveInts(::onnx::NodeProto &node, StringRef name, int index) {
    ::onnx::AttributeProto attribute = takeAttribute(node, name);
    if (attribute.name().empty())
      return;
    ::onnx::TensorProto &tensor = addInitializer(node, name);
    tensor.set_data_type(::onnx::TensorProto::INT64);
    if (attribute.type() == ::onnx::AttributeProto::INT)
      attribute.add_ints(attribute.i());
    tensor.add_dims(attribute.ints_size());
    *tensor.mutable_int64_data() = attribute.ints();
    setInput(node, index, tensor.name());
  }

  /// Makes the attribute `name` (a float) operand `index`, a scalar of the element type of operand 0.
  Error moveFloat(::onnx::NodeProto &node, StringRef name, int index) {
    ::onnx::AttributeProto attribute = takeAttribute(node, name);
    if (attribute.name().empty())
      return Error::success();
    if (types[node.input(0)].tensor_type().elem_type() != ::onnx::TensorProto::FLOAT)
      return createStringError(describeNode(node) + " (" + node.op_type() + "): attribute '" + name +
                               "' of opset " + Twine(opset) + " is supported for float only");
    ::onnx::TensorProto &tensor = addInitializer(node, name);
    tensor.set_data_type(::onnx::TensorProto::FLOAT);
    tensor.add_float_data(attribute.f());
    setInput(node, index, tensor.name());
    return Error::success();
  }

  ::onnx::GraphProto &graph;
  int opset;
  StringMap<::onnx::TypeProto> types;
};
} // namespace

/// Until opset 12, Softmax worked on the input flattened to a matrix at `axis` (1 by default). That is the same as today's
/// operator if the axis is the last one.
Error Modernizer::modernizeSoftmax(::onnx::NodeProto &node) {
  ::onnx::AttributeProto attribute = takeAttribute(node, "axis");
  int64_t axis = attribute.name().empty() ? 1 : attribute.i();
  const auto &type = types[node.input(0)].tensor_type();
  if (!type.has_shape() || (axis != -1 && axis != type.shape().dim_size() - 1))
    return createStringError(describeNode(node) + " (" + node.op_type() + "): axis " + Twine(axis) +
                             " in opset " + Twine(opset) + " is supported for the last dimension only");
  setInt(node, "axis", -1);
  return Error::success();
}

/// Upsample and Resize-10 are Resize without `roi`, with other defaults.
void Modernizer::modernizeResize(::onnx::NodeProto &node) {
  node.set_op_type("Resize");
  std::string scales = node.input(1);
  setInput(node, 1, "");
  setInput(node, 2, scales);
  setString(node, "coordinate_transformation_mode", "asymmetric");
  setString(node, "nearest_mode", "floor");
}

Error Modernizer::modernize(::onnx::NodeProto &node) {
  StringRef name = node.op_type();
  if (opset < 13 && (name == "Squeeze" || name == "Unsqueeze" || name == "ReduceSum"))
    moveInts(node, "axes", 1);
  else if (opset < 18 && name.starts_with("Reduce") && name != "ReduceSum")
    moveInts(node, "axes", 1);
  else if (name == "Split" && opset < 18) {
    if (opset < 13)
      moveInts(node, "split", 1);
    if (node.input_size() < 2 || node.input(1).empty())
      setInt(node, "num_outputs", node.output_size());
  } else if (name == "Slice" && opset < 10) {
    moveInts(node, "starts", 1);
    moveInts(node, "ends", 2);
    moveInts(node, "axes", 3);
  } else if (name == "Pad" && opset < 11) {
    moveInts(node, "pads", 1);
    return moveFloat(node, "value", 2);
  } else if (name == "Clip" && opset < 11) {
    if (Error error = moveFloat(node, "min", 1))
      return error;
    return moveFloat(node, "max", 2);
  } else if (name == "TopK" && opset < 10) {
    moveInts(node, "k", 1);
  } else if (name == "Dropout" && opset < 12) {
    // The ratio matters in training only.
    takeAttribute(node, "ratio");
  } else if (name == "Scatter") {
    node.set_op_type("ScatterElements");
  } else if ((name == "Upsample" && opset >= 9) || (name == "Resize" && opset < 11)) {
    modernizeResize(node);
  } else if ((name == "Softmax" || name == "LogSoftmax" || name == "Hardmax") && opset < 13) {
    return modernizeSoftmax(node);
  }
  return Error::success();
}

Error modernizeOperators(Model &model, Refusals *refusals) { return Modernizer(model).run(refusals); }

} // namespace elutq
