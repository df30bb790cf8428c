//===- ModelPreparation.cpp - Inline, bind and infer ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "Schemas.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx/checker.h"
#include "onnx/inliner/inliner.h"
#include "onnx/shape_inference/implementation.h"
#pragma GCC diagnostic pop

#include <set>

using namespace llvm;

namespace elutq {

std::string makeOneLine(StringRef text) {
  SmallVector<StringRef> lines;
  text.split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (StringRef &line : lines)
    line = line.trim();
  return join(lines, "; ");
}

//===----------------------------------------------------------------------===//
// Domains
//===----------------------------------------------------------------------===//

void canonicalizeDomains(::onnx::ModelProto &model) {
  auto canonicalize = [](auto &nodes) {
    for (::onnx::NodeProto &node : nodes) {
      if (node.domain() == "ai.onnx")
        node.clear_domain();
      // ONNX Runtime's exporters write this operator without its domain.
      if (node.domain().empty() && node.op_type() == "SimplifiedLayerNormalization")
        node.set_domain(kContribDomain.str());
    }
  };
  canonicalize(*model.mutable_graph()->mutable_node());
  for (::onnx::FunctionProto &function : *model.mutable_functions())
    canonicalize(*function.mutable_node());
  for (StringRef domain : {StringRef(kContribDomain), StringRef(kElutqDomain)}) {
    if (llvm::any_of(model.opset_import(), [&](const auto &opset) { return opset.domain() == domain; }))
      continue;
    ::onnx::OperatorSetIdProto &opset = *model.add_opset_import();
    opset.set_domain(domain.str());
    opset.set_version(1);
  }
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

static std::string getFunctionKey(StringRef domain, StringRef name) { return (domain + "::" + name).str(); }

/// The number of nodes after inlining: functions that call each other twice grow without bound.
static uint64_t countInlinedNodes(const google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes,
                                  const StringMap<const ::onnx::FunctionProto *> &functions, StringMap<uint64_t> &counts) {
  uint64_t total = 0;
  for (const ::onnx::NodeProto &node : nodes) {
    std::string key = getFunctionKey(node.domain(), node.op_type());
    uint64_t count = 1;
    if (const ::onnx::FunctionProto *function = functions.lookup(key)) {
      auto known = counts.find(key);
      count = known != counts.end() ? known->second
                                    : (counts[key] = countInlinedNodes(function->node(), functions, counts));
    }
    total = std::min<uint64_t>(total + count, UINT32_MAX);
  }
  return total;
}

Error inlineFunctions(::onnx::ModelProto &model) {
  // Operators of ai.elutq have a meaning of their own; the body is for other runtimes.
  auto *functions = model.mutable_functions();
  functions->erase(llvm::remove_if(*functions, [](const auto &function) { return function.domain() == kElutqDomain; }),
                   functions->end());
  if (functions->empty())
    return Error::success();
  constexpr uint64_t maxNodes = 1 << 20;
  try {
    ::onnx::checker::check_function_call_cycles(model);
    StringMap<const ::onnx::FunctionProto *> byKey;
    for (const auto &function : *functions)
      byKey[getFunctionKey(function.domain(), function.name())] = &function;
    StringMap<uint64_t> counts;
    if (countInlinedNodes(model.graph().node(), byKey, counts) > maxNodes)
      return createStringError("the model has more than " + Twine(maxNodes) + " nodes once its functions are inlined");
    ::onnx::inliner::InlineLocalFunctions(model, /*convert_version=*/true);
  } catch (const std::exception &exception) {
    return createStringError("cannot inline the model's functions: " + makeOneLine(exception.what()));
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Dimensions and shapes
//===----------------------------------------------------------------------===//

template <typename Visitor>
static void visitDims(google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto> &values, Visitor visitor) {
  for (::onnx::ValueInfoProto &value : values)
    if (value.type().has_tensor_type() && value.type().tensor_type().has_shape())
      for (auto &dim : *value.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim())
        visitor(dim);
}

/// The value of a dimension that exporters name by what it is the sum of: "past_sequence_length + sequence_length".
static std::optional<int64_t> evaluateSum(StringRef name, const StringMap<int64_t> &bindings) {
  SmallVector<StringRef> terms;
  name.split(terms, '+');
  int64_t sum = 0;
  for (StringRef term : terms) {
    int64_t number;
    auto binding = bindings.find(term.trim());
    if (binding != bindings.end())
      number = binding->second;
    else if (term.trim().getAsInteger(10, number))
      return std::nullopt;
    sum += number;
  }
  return sum > 0 ? std::optional(sum) : std::nullopt;
}

Error bindDimensions(::onnx::ModelProto &model, const StringMap<int64_t> &bindings) {
  ::onnx::GraphProto &graph = *model.mutable_graph();
  std::set<std::string> names;
  visitDims(*graph.mutable_input(), [&](auto &dim) {
    if (dim.has_dim_param())
      names.insert(dim.dim_param());
  });
  for (const auto &binding : bindings) {
    if (!names.count(binding.getKey().str()))
      return createStringError("no input has a dimension named '" + binding.getKey() + "'; the inputs' dimensions are " +
                               (names.empty() ? std::string("all known") : "'" + join(names, "', '") + "'"));
    if (binding.getValue() <= 0)
      return createStringError("expected a positive value for dimension '" + binding.getKey() + "', but got " +
                               Twine(binding.getValue()));
  }
  auto bind = [&](auto &dim) {
    if (!dim.has_dim_param())
      return;
    auto binding = bindings.find(dim.dim_param());
    if (binding != bindings.end())
      dim.set_dim_value(binding->second);
    else if (std::optional<int64_t> sum = evaluateSum(dim.dim_param(), bindings))
      dim.set_dim_value(*sum);
  };
  visitDims(*graph.mutable_input(), bind);
  visitDims(*graph.mutable_output(), bind);
  return Error::success();
}

Error inferShapes(::onnx::ModelProto &model) {
  try {
    ::onnx::ShapeInferenceOptions options(/*check_type_val=*/true, /*strict_mode_val=*/1, /*data_prop_val=*/true);
    ::onnx::shape_inference::InferShapes(model, &getSchemas(), options);
  } catch (const std::exception &exception) {
    return createStringError("the shapes cannot be inferred: " + makeOneLine(exception.what()));
  }
  return Error::success();
}

} // namespace elutq
