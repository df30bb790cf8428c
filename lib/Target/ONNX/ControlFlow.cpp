//===- ControlFlow.cpp - Branches and loops that are known ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

#include <cstring>
#include <optional>

using namespace llvm;

namespace elutq {

namespace {
/// Puts the nodes of nested graphs into the graph that has them.
class Inliner {
public:
  explicit Inliner(Model &model) : graph(*model.proto.mutable_graph()), opset(model.getOpset()) {
    for (const auto *values : {&graph.input(), &graph.output(), &graph.value_info()})
      for (const ::onnx::ValueInfoProto &value : *values)
        types[value.name()] = &value.type();
    for (int i = 0; i < graph.initializer_size(); ++i)
      initializers[graph.initializer(i).name()] = i;
  }

  bool run();

private:
  using Names = std::vector<std::string>;

  bool inlineIf(const ::onnx::NodeProto &node);
  bool unrollLoop(const ::onnx::NodeProto &node);
  bool unrollScan(const ::onnx::NodeProto &node);

  /// The nodes of `body`, under names of their own, with `inputs` as its inputs; returns what its outputs are called.
  Names inlineBody(::onnx::GraphProto body, const std::string &prefix, ArrayRef<std::string> inputs);
  void addNode(StringRef operation, ArrayRef<std::string> inputs, const std::string &output, std::optional<int64_t> axis = std::nullopt);
  std::string addConstant(const std::string &name, int64_t value, bool isVector);
  /// The parts of a result along a new dimension, the first one first.
  void join(ArrayRef<std::string> parts, const std::string &output, int64_t axis, const std::string &prefix);
  std::optional<int64_t> getConstant(const std::string &name) const;
  std::optional<int64_t> getSize(const std::string &name, int64_t axis) const;

  ::onnx::GraphProto &graph;
  int opset;
  StringMap<const ::onnx::TypeProto *> types;
  StringMap<int> initializers;
  google::protobuf::RepeatedPtrField<::onnx::NodeProto> nodes;
};
} // namespace

/// What keeps values that are added to a copy of a body apart from the body's own.
static const std::string kOwn(1, '\0');

/// A name that no value of a model has: the zero byte keeps it apart.
static std::string makePrefix(const ::onnx::NodeProto &node, const Twine &text) {
  std::string prefix = getFirstResult(node).str();
  prefix.push_back('\0');
  return prefix + text.str();
}

static const ::onnx::AttributeProto *findAttribute(const ::onnx::NodeProto &node, StringRef name) {
  auto found = llvm::find_if(node.attribute(), [&](const auto &candidate) { return candidate.name() == name; });
  return found == node.attribute().end() ? nullptr : &*found;
}

/// Element `index` of a list of integers, 0 where there is no list.
static int64_t getInt(const ::onnx::NodeProto &node, StringRef name, int index) {
  const ::onnx::AttributeProto *attribute = findAttribute(node, name);
  return attribute && index < attribute->ints_size() ? attribute->ints(index) : 0;
}

/// The number or truth value of an initializer of one element.
std::optional<int64_t> Inliner::getConstant(const std::string &name) const {
  auto found = initializers.find(name);
  if (found == initializers.end())
    return std::nullopt;
  const ::onnx::TensorProto &tensor = graph.initializer(found->second);
  StringRef raw = tensor.raw_data();
  if (tensor.data_type() == ::onnx::TensorProto::BOOL) {
    if (raw.size() == 1)
      return raw[0] != 0;
    if (tensor.int32_data_size() == 1)
      return tensor.int32_data(0) != 0;
  } else if (tensor.data_type() == ::onnx::TensorProto::INT64) {
    int64_t number;
    if (raw.size() == sizeof number)
      return std::memcpy(&number, raw.data(), sizeof number), number;
    if (tensor.int64_data_size() == 1)
      return tensor.int64_data(0);
  }
  return std::nullopt;
}

/// A dimension of a value where it is known.
std::optional<int64_t> Inliner::getSize(const std::string &name, int64_t axis) const {
  if (auto found = initializers.find(name); found != initializers.end()) {
    const auto &dims = graph.initializer(found->second).dims();
    axis += axis < 0 ? dims.size() : 0;
    return axis >= 0 && axis < dims.size() ? std::optional(dims[axis]) : std::nullopt;
  }
  const ::onnx::TypeProto *type = types.lookup(name);
  if (!type || !type->tensor_type().has_shape())
    return std::nullopt;
  const auto &shape = type->tensor_type().shape();
  axis += axis < 0 ? shape.dim_size() : 0;
  if (axis < 0 || axis >= shape.dim_size() || !shape.dim(axis).has_dim_value())
    return std::nullopt;
  return shape.dim(axis).dim_value();
}

/// Gives every value that `branch` defines a name that begins with `prefix`, nested graphs included.
static void renameValues(::onnx::GraphProto &branch, const std::string &prefix, StringMap<std::string> names) {
  auto define = [&](std::string *name) {
    if (!name->empty())
      *name = names[*name] = prefix + *name;
  };
  auto use = [&](std::string *name) {
    if (auto found = names.find(*name); found != names.end())
      *name = found->second;
  };
  for (::onnx::ValueInfoProto &input : *branch.mutable_input())
    define(input.mutable_name());
  for (::onnx::TensorProto &tensor : *branch.mutable_initializer())
    define(tensor.mutable_name());
  for (::onnx::NodeProto &node : *branch.mutable_node()) {
    for (std::string &input : *node.mutable_input())
      use(&input);
    for (::onnx::AttributeProto &attribute : *node.mutable_attribute())
      if (attribute.has_g())
        renameValues(*attribute.mutable_g(), prefix, names);
    for (std::string &output : *node.mutable_output())
      define(&output);
    if (!node.name().empty())
      node.set_name(prefix + node.name());
  }
  for (::onnx::ValueInfoProto &output : *branch.mutable_output())
    use(output.mutable_name());
}

void Inliner::addNode(StringRef operation, ArrayRef<std::string> inputs, const std::string &output, std::optional<int64_t> axis) {
  ::onnx::NodeProto &node = *nodes.Add();
  node.set_op_type(operation.str());
  for (const std::string &input : inputs)
    node.add_input(input);
  node.add_output(output);
  if (!axis)
    return;
  ::onnx::AttributeProto &attribute = *node.add_attribute();
  attribute.set_name("axis");
  attribute.set_type(::onnx::AttributeProto::INT);
  attribute.set_i(*axis);
}

std::string Inliner::addConstant(const std::string &name, int64_t value, bool isVector) {
  ::onnx::TensorProto &tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(::onnx::TensorProto::INT64);
  if (isVector)
    tensor.add_dims(1);
  tensor.add_int64_data(value);
  return name;
}

Inliner::Names Inliner::inlineBody(::onnx::GraphProto body, const std::string &prefix, ArrayRef<std::string> inputs) {
  renameValues(body, prefix, {});
  for (auto [input, value] : llvm::zip(body.input(), inputs))
    addNode("Identity", value, input.name());
  for (::onnx::TensorProto &tensor : *body.mutable_initializer())
    *graph.add_initializer() = std::move(tensor);
  for (::onnx::NodeProto &inner : *body.mutable_node())
    *nodes.Add() = std::move(inner);
  Names outputs;
  for (const ::onnx::ValueInfoProto &output : body.output())
    outputs.push_back(output.name());
  return outputs;
}

void Inliner::join(ArrayRef<std::string> parts, const std::string &output, int64_t axis, const std::string &prefix) {
  std::string axes = opset < 13 ? "" : addConstant(prefix + "axes", axis, /*isVector=*/true);
  Names wide;
  for (const std::string &part : parts) {
    wide.push_back(prefix + std::to_string(wide.size()));
    if (opset >= 13) {
      addNode("Unsqueeze", {part, axes}, wide.back());
      continue;
    }
    addNode("Unsqueeze", part, wide.back());
    ::onnx::AttributeProto &attribute = *nodes.Mutable(nodes.size() - 1)->add_attribute();
    attribute.set_name("axes");
    attribute.set_type(::onnx::AttributeProto::INTS);
    attribute.add_ints(axis);
  }
  addNode("Concat", wide, output, axis);
}

bool Inliner::inlineIf(const ::onnx::NodeProto &node) {
  std::optional<int64_t> condition = node.input_size() == 1 ? getConstant(node.input(0)) : std::nullopt;
  const ::onnx::AttributeProto *branch = findAttribute(node, condition.value_or(0) ? "then_branch" : "else_branch");
  if (!condition || !branch || branch->g().output_size() != node.output_size())
    return false;
  Names outputs = inlineBody(branch->g(), makePrefix(node, ""), {});
  for (auto [value, output] : llvm::zip(outputs, node.output()))
    if (!output.empty())
      addNode("Identity", value, output);
  return true;
}

/// The condition that `body` leaves, where it is the one that it gets or a constant of its own.
static std::optional<bool> getNextCondition(const ::onnx::GraphProto &body, bool condition) {
  std::string name = body.output(0).name();
  for (const ::onnx::NodeProto &node : llvm::reverse(body.node())) {
    if (!llvm::is_contained(node.output(), name))
      continue;
    const ::onnx::AttributeProto *value = findAttribute(node, "value");
    if (node.domain().empty() && node.op_type() == "Identity")
      name = node.input(0);
    else if (node.domain().empty() && node.op_type() == "Constant" && value && value->t().data_type() == ::onnx::TensorProto::BOOL)
      return value->t().raw_data().empty() ? value->t().int32_data_size() == 1 && value->t().int32_data(0) : value->t().raw_data()[0] != 0;
    else
      return std::nullopt;
  }
  return name == body.input(1).name() ? std::optional(condition) : std::nullopt;
}

/// Loops become at most this many copies of their nodes.
static constexpr int64_t kMaxCopies = 1 << 14;

bool Inliner::unrollLoop(const ::onnx::NodeProto &node) {
  const ::onnx::AttributeProto *attribute = findAttribute(node, "body");
  if (!attribute || node.input_size() < 2)
    return false;
  const ::onnx::GraphProto &body = attribute->g();
  int carried = node.input_size() - 2;
  if (body.input_size() != node.input_size() || body.output_size() != node.output_size() + 1 || node.output_size() < carried)
    return false;
  std::optional<int64_t> count = getConstant(node.input(0)), condition = node.input(1).empty() ? 1 : getConstant(node.input(1));
  std::optional<bool> next = condition ? getNextCondition(body, *condition != 0) : std::nullopt;
  if (!next || (!count && (!node.input(0).empty() || (*next && *condition))))
    return false;
  // It ends by its count, or by its condition before or after the first turn.
  int64_t turns = !*condition ? 0 : !*next ? std::min<int64_t>(count.value_or(1), 1) : std::max<int64_t>(*count, 0);
  if (turns * std::max(body.node_size(), 1) > kMaxCopies || (turns == 0 && node.output_size() > carried))
    return false;
  Names state(node.input().begin() + 2, node.input().end());
  std::vector<Names> scanned(node.output_size() - carried);
  for (int64_t turn = 0; turn < turns; ++turn) {
    std::string prefix = makePrefix(node, Twine(turn) + ".");
    ::onnx::TensorProto &yes = *graph.add_initializer();
    yes.set_name(prefix + kOwn + "condition");
    yes.set_data_type(::onnx::TensorProto::BOOL);
    yes.add_int32_data(1);
    Names inputs{addConstant(prefix + kOwn + "turn", turn, /*isVector=*/false), prefix + kOwn + "condition"};
    llvm::append_range(inputs, state);
    Names outputs = inlineBody(body, prefix, inputs);
    state.assign(outputs.begin() + 1, outputs.begin() + 1 + carried);
    for (auto [i, parts] : llvm::enumerate(scanned))
      parts.push_back(outputs[1 + carried + i]);
  }
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    if (i < carried)
      addNode("Identity", state[i], node.output(i));
    else
      join(scanned[i - carried], node.output(i), 0, makePrefix(node, Twine("joined.") + Twine(i) + "."));
  }
  return true;
}

bool Inliner::unrollScan(const ::onnx::NodeProto &node) {
  const ::onnx::AttributeProto *attribute = findAttribute(node, "body"), *number = findAttribute(node, "num_scan_inputs");
  if (!attribute || !number || number->i() < 1 || number->i() > node.input_size())
    return false;
  const ::onnx::GraphProto &body = attribute->g();
  int numScanned = number->i(), carried = node.input_size() - numScanned, numJoined = node.output_size() - carried;
  if (body.input_size() != node.input_size() || body.output_size() != node.output_size() || numJoined < 0)
    return false;
  std::optional<int64_t> turns = getSize(node.input(carried), getInt(node, "scan_input_axes", 0));
  if (!turns || *turns == 0 || *turns * std::max(body.node_size(), 1) > kMaxCopies)
    return false;
  Names state(node.input().begin(), node.input().begin() + carried);
  std::vector<Names> scanned(numJoined);
  for (int64_t turn = 0; turn < *turns; ++turn) {
    std::string prefix = makePrefix(node, Twine(turn) + ".");
    Names inputs = state;
    for (int i = 0; i < numScanned; ++i) {
      std::string slice = prefix + kOwn + "slice." + std::to_string(i);
      int64_t index = getInt(node, "scan_input_directions", i) ? *turns - 1 - turn : turn;
      addNode("Gather", {node.input(carried + i), addConstant(slice + ".index", index, /*isVector=*/false)}, slice,
              getInt(node, "scan_input_axes", i));
      inputs.push_back(slice);
    }
    Names outputs = inlineBody(body, prefix, inputs);
    state.assign(outputs.begin(), outputs.begin() + carried);
    for (auto [i, parts] : llvm::enumerate(scanned))
      parts.push_back(outputs[carried + i]);
  }
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    if (i < carried) {
      addNode("Identity", state[i], node.output(i));
      continue;
    }
    Names &parts = scanned[i - carried];
    if (getInt(node, "scan_output_directions", i - carried))
      std::reverse(parts.begin(), parts.end());
    join(parts, node.output(i), getInt(node, "scan_output_axes", i - carried), makePrefix(node, Twine("joined.") + Twine(i) + "."));
  }
  return true;
}

bool Inliner::run() {
  bool changed = false;
  for (::onnx::NodeProto &node : *graph.mutable_node()) {
    StringRef name = node.domain().empty() ? StringRef(node.op_type()) : StringRef();
    bool inlined = name == "If" ? inlineIf(node) : name == "Loop" ? unrollLoop(node) : name == "Scan" && unrollScan(node);
    changed |= inlined;
    if (!inlined)
      *nodes.Add() = std::move(node);
  }
  graph.mutable_node()->Swap(&nodes);
  return changed;
}

bool inlineControlFlow(Model &model) { return Inliner(model).run(); }

} // namespace elutq
