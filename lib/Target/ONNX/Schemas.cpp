//===- Schemas.cpp - Schemas of all operators -------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Schemas.h"

#include "Model.h"
#include "OperatorTable.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx/defs/shape_inference.h"
#pragma GCC diagnostic pop

#include <map>
#include <mutex>

using ::onnx::InferenceContext;
using ::onnx::OpSchema;
using ::onnx::TensorShapeProto;

namespace elutq {

//===----------------------------------------------------------------------===//
// Shape inference
//===----------------------------------------------------------------------===//

static TensorShapeProto &getMutableShape(InferenceContext &context, size_t output) {
  return *context.getOutputType(output)->mutable_tensor_type()->mutable_shape();
}

static void setElementType(InferenceContext &context, size_t output, int32_t type) {
  if (output < context.getNumOutputs())
    context.getOutputType(output)->mutable_tensor_type()->set_elem_type(type);
}

static void copyType(InferenceContext &context, size_t input, size_t output) {
  if (output < context.getNumOutputs())
    ::onnx::propagateElemTypeFromInputToOutput(context, input, output);
}

/// Output `output` has the type and shape of input 0.
static void copyFirstInput(InferenceContext &context, size_t output) {
  if (output >= context.getNumOutputs())
    return;
  copyType(context, 0, output);
  if (::onnx::hasInputShape(context, 0))
    ::onnx::propagateShapeFromInputToOutput(context, 0, output);
}

static void inferElementwise(InferenceContext &context) { copyFirstInput(context, 0); }

/// Output `output` holds one f32 statistic for each vector along `axis` of input 0.
static void inferStatistic(InferenceContext &context, size_t output, int64_t axis) {
  if (output >= context.getNumOutputs())
    return;
  setElementType(context, output, ::onnx::TensorProto::FLOAT);
  if (!::onnx::hasInputShape(context, 0))
    return;
  TensorShapeProto shape = ::onnx::getInputShape(context, 0);
  if (axis < 0)
    axis += shape.dim_size();
  if (axis < 0 || axis > shape.dim_size())
    fail_shape_inference("axis is out of range");
  for (int64_t i = axis; i < shape.dim_size(); ++i)
    shape.mutable_dim(static_cast<int>(i))->set_dim_value(1);
  getMutableShape(context, output) = shape;
}

static void inferSimplifiedNorm(InferenceContext &context) {
  copyFirstInput(context, 0);
  inferStatistic(context, 1, ::onnx::getAttribute(context, "axis", int64_t(-1)));
}

static void inferSkipNorm(InferenceContext &context) {
  copyFirstInput(context, 0);
  inferStatistic(context, 1, -1);
  inferStatistic(context, 2, -1);
  copyFirstInput(context, 3);
}

/// `[..., K] -> [..., N]`, for both MatMulNBits and HLQMatMul.
static void inferQuantizedMatMul(InferenceContext &context) {
  copyType(context, 0, 0);
  if (!::onnx::hasInputShape(context, 0))
    return;
  TensorShapeProto shape = ::onnx::getInputShape(context, 0);
  int64_t n = ::onnx::getRequiredAttributeInt(context, "N"), k = ::onnx::getRequiredAttributeInt(context, "K");
  if (shape.dim_size() == 0)
    fail_shape_inference("input A is a scalar");
  auto *last = shape.mutable_dim(shape.dim_size() - 1);
  if (last->has_dim_value() && last->dim_value() != k)
    fail_shape_inference("expected the last dimension of input A to be K (", k, "), but got ", last->dim_value());
  last->set_dim_value(n);
  getMutableShape(context, 0) = shape;
}

static void inferHLQGather(InferenceContext &context) {
  setElementType(context, 0, ::onnx::TensorProto::FLOAT);
  if (!::onnx::hasInputShape(context, 0))
    return;
  TensorShapeProto shape = ::onnx::getInputShape(context, 0);
  shape.add_dim()->set_dim_value(::onnx::getRequiredAttributeInt(context, "K"));
  getMutableShape(context, 0) = shape;
}

static void inferGatherBlockQuantized(InferenceContext &context) {
  copyType(context, 2, 0);
  if (!::onnx::hasNInputShapes(context, 2))
    return;
  const TensorShapeProto &data = ::onnx::getInputShape(context, 0), &indices = ::onnx::getInputShape(context, 1);
  int64_t axis = ::onnx::getAttribute(context, "gather_axis", int64_t(0));
  int64_t bits = ::onnx::getAttribute(context, "bits", int64_t(4));
  if (axis < 0)
    axis += data.dim_size();
  if (axis < 0 || axis >= data.dim_size())
    fail_shape_inference("gather_axis is out of range");
  if (bits != 2 && bits != 4 && bits != 8)
    fail_shape_inference("expected bits to be 2, 4 or 8, but got ", bits);
  TensorShapeProto shape;
  for (int i = 0; i < data.dim_size(); ++i) {
    if (i == axis) {
      shape.MergeFrom(indices);
      continue;
    }
    // Several weights share a byte along the last dimension.
    bool packed = i == data.dim_size() - 1;
    *shape.add_dim() = packed ? ::onnx::operator*(data.dim(i), 8 / bits) : data.dim(i);
  }
  getMutableShape(context, 0) = shape;
}

/// Keys and values are `[batch, kv_num_heads, past + sequence, head_size]`.
static void inferGroupQueryAttention(InferenceContext &context) {
  copyType(context, 0, 0);
  for (size_t output : {1, 2}) {
    size_t past = output + 2;
    bool hasPast = context.getNumInputs() > past && context.getInputType(past);
    copyType(context, hasPast ? past : 0, output);
  }
  copyType(context, 0, 3);
  if (!::onnx::hasInputShape(context, 0))
    return;
  TensorShapeProto query = ::onnx::getInputShape(context, 0);
  int64_t heads = ::onnx::getRequiredAttributeInt(context, "num_heads");
  int64_t keyHeads = ::onnx::getRequiredAttributeInt(context, "kv_num_heads");
  if (query.dim_size() != 3)
    fail_shape_inference("expected input query to have rank 3, but got ", query.dim_size());
  if (heads <= 0 || keyHeads <= 0 || heads > 65536 || heads % keyHeads != 0)
    fail_shape_inference("expected num_heads (", heads, ") to be a multiple of kv_num_heads (", keyHeads, ")");
  bool isPacked = context.getNumInputs() < 2 || !context.getInputType(1);
  TensorShapeProto::Dimension headSize;
  if (query.dim(2).has_dim_value()) {
    int64_t parts = isPacked ? heads + 2 * keyHeads : heads;
    if (query.dim(2).dim_value() % parts != 0)
      fail_shape_inference("expected dim 2 of input query to be a multiple of ", parts, ", but got ",
                           query.dim(2).dim_value());
    headSize.set_dim_value(query.dim(2).dim_value() / parts);
  }
  for (size_t output : {1, 2}) {
    if (output >= context.getNumOutputs())
      continue;
    TensorShapeProto &present = getMutableShape(context, output);
    present.Clear();
    *present.add_dim() = query.dim(0);
    present.add_dim()->set_dim_value(keyHeads);
    present.add_dim();
    *present.add_dim() = headSize;
  }
  auto *hidden = query.mutable_dim(2);
  *hidden = ::onnx::operator*(headSize, heads);
  getMutableShape(context, 0) = query;
}

/// Queries `[batch, rows, heads * size]` in, as many rows of the values' width out.
static void inferMultiHeadAttention(InferenceContext &context) {
  for (size_t output : {0, 1, 2, 3})
    copyType(context, 0, output);
  if (!::onnx::hasInputShape(context, 0) || ::onnx::getInputShape(context, 0).dim_size() != 3)
    return;
  TensorShapeProto query = ::onnx::getInputShape(context, 0);
  if (context.getNumInputs() > 2 && ::onnx::hasInputShape(context, 2) && ::onnx::getInputShape(context, 2).dim_size() == 3)
    *query.mutable_dim(2) = ::onnx::getInputShape(context, 2).dim(2);
  getMutableShape(context, 0) = query;
}

static ::onnx::InferenceFunction getInference(llvm::StringRef domain, llvm::StringRef name) {
  if (domain == kElutqDomain)
    return name == "HLQMatMul" ? inferQuantizedMatMul : inferHLQGather;
  if (name == "MatMulNBits")
    return inferQuantizedMatMul;
  if (name == "GatherBlockQuantized")
    return inferGatherBlockQuantized;
  if (name == "GroupQueryAttention")
    return inferGroupQueryAttention;
  if (name == "MultiHeadAttention")
    return inferMultiHeadAttention;
  if (name == "SimplifiedLayerNormalization")
    return inferSimplifiedNorm;
  if (name.starts_with("Skip"))
    return inferSkipNorm;
  return inferElementwise;
}

//===----------------------------------------------------------------------===//
// Schemas
//===----------------------------------------------------------------------===//

static OpSchema::FormalParameterOption getOption(OperatorInfo::Option option) {
  switch (option) {
  case OperatorInfo::Option::Single:
    return OpSchema::Single;
  case OperatorInfo::Option::Optional:
    return OpSchema::Optional;
  case OperatorInfo::Option::Variadic:
    return OpSchema::Variadic;
  }
  return OpSchema::Single;
}

/// A schema out of the operator table. Element types are left to the verifiers of the onnx dialect: each operand has a
/// type variable of its own.
static OpSchema makeSchema(const OperatorInfo &info) {
  OpSchema schema(info.name.str(), __FILE__, __LINE__);
  schema.SetDomain(info.domain.str()).SinceVersion(info.version);
  int index = 0;
  for (const OperatorInfo::Value &input : info.inputs) {
    std::string type = "T" + std::to_string(index);
    schema.TypeConstraint(type, OpSchema::all_tensor_types_ir13(), "any tensor");
    schema.Input(index++, input.name.str(), "", type, getOption(input.option));
  }
  int outputs = 0;
  for (const OperatorInfo::Value &output : info.outputs) {
    std::string type = "T" + std::to_string(index++);
    schema.TypeConstraint(type, OpSchema::all_tensor_types_ir13(), "any tensor");
    schema.Output(outputs++, output.name.str(), "", type, getOption(output.option));
  }
  for (const OperatorInfo::Attribute &attribute : info.attributes)
    schema.Attr(attribute.name.str(), "", getProtoType(attribute.kind), attribute.required);
  schema.TypeAndShapeInferenceFunction(getInference(info.domain, info.name));
  schema.Finalize();
  return schema;
}

/// Propagation of values is meant for shapes. The ONNX library makes a list as long as each vector it meets, though, also
/// for weights, and for a length that a hostile file makes up. Of arithmetic on matrices (`isArithmetic`) it takes the operands
/// for lists, too, and fails where these have other lengths.
static void propagateShortVectors(::onnx::DataPropagationContext &context,
                                  const ::onnx::DataPropagationFunction &propagate, bool isArithmetic) {
  constexpr int64_t maxLength = 1024;
  for (size_t i = 0; i < context.getNumInputs(); ++i) {
    const ::onnx::TypeProto *type = context.getInputType(i);
    if (!type || !type->has_tensor_type())
      continue;
    if (isArithmetic && type->tensor_type().shape().dim_size() > 1)
      return;
    if (type->tensor_type().shape().dim_size() != 1)
      continue;
    if (type->tensor_type().shape().dim(0).dim_value() > maxLength)
      return;
  }
  propagate(context);
}

namespace {
class Schemas final : public ::onnx::ISchemaRegistry {
public:
  Schemas() {
    for (const OperatorInfo &info : getOperators())
      if (!info.domain.empty())
        schemas.emplace(std::make_pair(info.domain.str(), info.name.str()), makeSchema(info));
  }

  const OpSchema *GetSchema(const std::string &name, int version, const std::string &domain) const override {
    auto found = schemas.find({domain, name});
    if (found != schemas.end())
      return &found->second;
    const OpSchema *schema = ::onnx::OpSchemaRegistry::Instance()->GetSchema(name, version, domain);
    return schema && schema->has_data_propagation_function() ? &guardPropagation(*schema) : schema;
  }

private:
  /// A copy of `schema` that propagates short vectors only.
  const OpSchema &guardPropagation(const OpSchema &schema) const {
    std::lock_guard<std::mutex> lock(mutex);
    auto known = guarded.find(&schema);
    if (known != guarded.end())
      return known->second;
    const std::string &name = schema.Name();
    bool isArithmetic = name == "Add" || name == "Sub" || name == "Mul" || name == "Div";
    OpSchema copy = schema;
    copy.PartialDataPropagationFunction([propagate = schema.GetDataPropagationFunction(), isArithmetic](auto &context) {
      propagateShortVectors(context, propagate, isArithmetic);
    });
    return guarded.emplace(&schema, std::move(copy)).first->second;
  }

  mutable std::mutex mutex;
  mutable std::map<const OpSchema *, OpSchema> guarded;
  std::map<std::pair<std::string, std::string>, OpSchema> schemas;
};
} // namespace

const ::onnx::ISchemaRegistry &getSchemas() {
  static const Schemas schemas;
  return schemas;
}

} // namespace elutq
