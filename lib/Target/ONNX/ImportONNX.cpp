//===- ImportONNX.cpp - From ONNX files to the onnx dialect -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/ONNX/ImportONNX.h"

#include "GenAIConfig.h"
#include "Model.h"
#include "OperatorTable.h"
#include "TensorData.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace mlir;

namespace elutq {

/// Tensors of up to this many elements are attributes of their own, larger ones resources.
static constexpr int64_t kMaxInlineElements = 64;

//===----------------------------------------------------------------------===//
// From a checked model to operations
//===----------------------------------------------------------------------===//

namespace {
class GraphImporter {
public:
  /// `refusals`: nodes to import as `unsupported.NAME`; gets what else cannot be imported. Null: the first such node is an error.
  GraphImporter(const Model &model, MLIRContext *context, Refusals *refusals)
      : model(model), graph(model.proto.graph()), refusals(refusals), builder(context), tensors(model),
        dialect(*context->getOrLoadDialect<onnx::ONNXDialect>()) {}

  Expected<OwningOpRef<ModuleOp>> import();

  /// The values of nodes that `fold` finds to be constant integers; what cannot be imported is left out.
  Expected<std::vector<::onnx::TensorProto>> findConstants(llvm::function_ref<ElementsAttr(Operation *)> fold);

private:
  Expected<Type> importType(const ::onnx::TypeProto &type, const Twine &what);
  Error importTypes();
  Error importSignature(ModuleOp module);
  Error importInitializer(const ::onnx::TensorProto &initializer);
  Error importNode(const ::onnx::NodeProto &node);
  Error importNodeOrReason(const ::onnx::NodeProto &node);
  Error importConstant(const ::onnx::NodeProto &node);
  void importUnsupported(const ::onnx::NodeProto &node, StringRef reason);
  Expected<ElementsAttr> importTensor(const ::onnx::TensorProto &tensor, StringRef name, const Twine &what);
  Expected<NamedAttribute> importAttribute(const ::onnx::AttributeProto &attribute, const OperatorInfo::Attribute &info,
                                           const Twine &what);
  Error importReturn();

  DictionaryAttr describeValue(const ::onnx::ValueInfoProto &value);
  Location getLocation(const ::onnx::NodeProto &node);
  Value getNone();

  MLIRContext *getContext() { return builder.getContext(); }

  const Model &model;
  const ::onnx::GraphProto &graph;
  Refusals *refusals;
  OpBuilder builder;
  TensorReader tensors;
  onnx::ONNXDialect &dialect;
  func::FuncOp function;
  /// By the names of ONNX values.
  StringMap<Type> types;
  StringMap<Value> values;
  Value none;
};
} // namespace

Expected<Type> GraphImporter::importType(const ::onnx::TypeProto &type, const Twine &what) {
  if (!type.has_tensor_type())
    return createStringError(what + " is no dense tensor, but only those are supported");
  auto elementType = getElementType(getContext(), type.tensor_type().elem_type(), what);
  if (!elementType)
    return elementType.takeError();
  if (!type.tensor_type().has_shape())
    return Type(UnrankedTensorType::get(*elementType));
  SmallVector<int64_t> shape;
  int64_t elements = 1;
  for (const auto &dim : type.tensor_type().shape().dim()) {
    shape.push_back(dim.has_dim_value() ? dim.dim_value() : ShapedType::kDynamic);
    if (!dim.has_dim_value())
      continue;
    if (dim.dim_value() < 0)
      return createStringError(what + " has the negative dimension " + Twine(dim.dim_value()));
    // In bytes of the widest element type.
    if (MulOverflow(elements, dim.dim_value(), elements) || elements > INT64_MAX / 8)
      return createStringError(what + " has more elements than can be counted");
  }
  return Type(RankedTensorType::get(shape, *elementType));
}

Error GraphImporter::importTypes() {
  StringMap<std::string> problems;
  for (const auto *list : {&graph.input(), &graph.output(), &graph.value_info()}) {
    for (const ::onnx::ValueInfoProto &value : *list) {
      auto type = importType(value.type(), "value '" + Twine(value.name()) + "'");
      if (!type && (!refusals || list == &graph.input()))
        return type.takeError();
      if (!type)
        problems[value.name()] = toString(type.takeError());
      types[value.name()] = type ? *type : Type(UnrankedTensorType::get(builder.getF32Type()));
    }
  }
  for (const ::onnx::NodeProto &node : graph.node())
    for (const std::string &output : node.output())
      if (auto problem = problems.find(output); problem != problems.end())
        refusals->try_emplace(getFirstResult(node), problem->second);
  return Error::success();
}

DictionaryAttr GraphImporter::describeValue(const ::onnx::ValueInfoProto &value) {
  SmallVector<NamedAttribute> attributes{builder.getNamedAttr("onnx.name", builder.getStringAttr(value.name()))};
  SmallVector<StringRef> names;
  for (const auto &dim : value.type().tensor_type().shape().dim())
    names.push_back(dim.has_dim_param() ? StringRef(dim.dim_param()) : StringRef());
  if (llvm::any_of(names, [](StringRef name) { return !name.empty(); }))
    attributes.push_back(builder.getNamedAttr("onnx.dim_params", builder.getStrArrayAttr(names)));
  return builder.getDictionaryAttr(attributes);
}

Location GraphImporter::getLocation(const ::onnx::NodeProto &node) {
  StringRef name = node.name();
  for (const std::string &output : node.output())
    if (name.empty())
      name = output;
  return NameLoc::get(builder.getStringAttr(name));
}

Value GraphImporter::getNone() {
  if (!none) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&function.getBody().front());
    none = onnx::NoneOp::create(builder, function.getLoc(), builder.getNoneType());
  }
  return none;
}

Expected<ElementsAttr> GraphImporter::importTensor(const ::onnx::TensorProto &tensor, StringRef name,
                                                   const Twine &what) {
  auto type = getTensorType(getContext(), tensor, what);
  if (!type)
    return type.takeError();
  auto data = tensors.read(tensor, *type, what);
  if (!data)
    return data.takeError();
  if (type->getNumElements() <= kMaxInlineElements && !isNarrow(type->getElementType())) {
    if (!type->getElementType().isInteger(1))
      return cast<ElementsAttr>(DenseElementsAttr::getFromRawBuffer(*type, data->bytes));
    SmallVector<bool> bits(llvm::map_range(data->bytes, [](char byte) { return byte != 0; }));
    return cast<ElementsAttr>(DenseElementsAttr::get(*type, bits));
  }
  auto handle = dialect.getOrCreateBlob(name, data->source, [&] {
    auto keepAlive = [owner = data->owner](void *, size_t, size_t) mutable { owner.reset(); };
    return AsmResourceBlob(data->bytes, divideCeil(type->getElementTypeBitWidth(), 8), std::move(keepAlive),
                           /*dataIsMutable=*/false);
  });
  return cast<ElementsAttr>(DenseResourceElementsAttr::get(*type, handle));
}

Error GraphImporter::importInitializer(const ::onnx::TensorProto &initializer) {
  auto value = importTensor(initializer, initializer.name(), "initializer '" + Twine(initializer.name()) + "'");
  if (!value)
    return value.takeError();
  Location location = NameLoc::get(builder.getStringAttr(initializer.name()));
  values[initializer.name()] = arith::ConstantOp::create(builder, location, cast<TypedAttr>(*value));
  return Error::success();
}

/// `Constant` has its value in one of several attributes.
Error GraphImporter::importConstant(const ::onnx::NodeProto &node) {
  std::string what = describeNode(node) + " (Constant)";
  if (node.attribute_size() != 1)
    return createStringError(what + ": expected one attribute, but got " + Twine(node.attribute_size()));
  const ::onnx::AttributeProto &attribute = node.attribute(0);
  ::onnx::TensorProto tensor;
  switch (attribute.type()) {
  case ::onnx::AttributeProto::TENSOR:
    tensor = attribute.t();
    // The name could be that of an initializer, whose data may stay in the file.
    tensor.clear_name();
    break;
  case ::onnx::AttributeProto::INT:
    tensor.set_data_type(::onnx::TensorProto::INT64);
    tensor.add_int64_data(attribute.i());
    break;
  case ::onnx::AttributeProto::INTS:
    tensor.set_data_type(::onnx::TensorProto::INT64);
    *tensor.mutable_int64_data() = attribute.ints();
    tensor.add_dims(attribute.ints_size());
    break;
  case ::onnx::AttributeProto::FLOAT:
    tensor.set_data_type(::onnx::TensorProto::FLOAT);
    tensor.add_float_data(attribute.f());
    break;
  case ::onnx::AttributeProto::FLOATS:
    tensor.set_data_type(::onnx::TensorProto::FLOAT);
    *tensor.mutable_float_data() = attribute.floats();
    tensor.add_dims(attribute.floats_size());
    break;
  default:
    return createStringError(what + ": attribute '" + attribute.name() +
                             "' is not supported, but value, value_int, value_ints, value_float and value_floats are");
  }
  auto value = importTensor(tensor, node.output(0), what);
  if (!value)
    return value.takeError();
  values[node.output(0)] = arith::ConstantOp::create(builder, getLocation(node), cast<TypedAttr>(*value));
  return Error::success();
}

Expected<NamedAttribute> GraphImporter::importAttribute(const ::onnx::AttributeProto &attribute,
                                                        const OperatorInfo::Attribute &info, const Twine &what) {
  if (attribute.type() != getProtoType(info.kind))
    return createStringError(what + ": expected attribute '" + attribute.name() + "' of type " +
                             ::onnx::AttributeProto::AttributeType_Name(getProtoType(info.kind)) + ", but got " +
                             ::onnx::AttributeProto::AttributeType_Name(attribute.type()));
  using Kind = OperatorInfo::AttributeKind;
  Attribute value;
  switch (info.kind) {
  case Kind::Int:
    value = builder.getI64IntegerAttr(attribute.i());
    break;
  case Kind::Float:
    value = builder.getF32FloatAttr(attribute.f());
    break;
  case Kind::String:
    value = builder.getStringAttr(attribute.s());
    break;
  case Kind::Ints:
    value = builder.getDenseI64ArrayAttr(ArrayRef(attribute.ints().data(), attribute.ints().size()));
    break;
  case Kind::Floats:
    value = builder.getDenseF32ArrayAttr(ArrayRef(attribute.floats().data(), attribute.floats().size()));
    break;
  case Kind::Strings:
    value = builder.getStrArrayAttr(to_vector_of<StringRef>(attribute.strings()));
    break;
  case Kind::Tensor: {
    ::onnx::TensorProto tensor = attribute.t();
    // The name could be that of an initializer, whose data may stay in the file.
    tensor.clear_name();
    auto elements = importTensor(tensor, attribute.name(), what + ": attribute '" + attribute.name() + "'");
    if (!elements)
      return elements.takeError();
    value = *elements;
    break;
  }
  }
  return builder.getNamedAttr(info.identifier, value);
}

/// An operation `unsupported.NAME`, so that a later error can name all that cannot be compiled.
void GraphImporter::importUnsupported(const ::onnx::NodeProto &node, StringRef reason) {
  OperationState state(getLocation(node), "unsupported." + describeOperator(node));
  for (const std::string &input : node.input())
    if (Value operand = values.lookup(input))
      state.operands.push_back(operand);
  for (const std::string &output : node.output()) {
    Type type = types.lookup(output);
    state.types.push_back(type ? type : Type(UnrankedTensorType::get(builder.getF32Type())));
  }
  state.addAttribute("reason", builder.getStringAttr(reason));
  Operation *op = builder.create(state);
  for (int i = 0; i < node.output_size(); ++i)
    if (!node.output(i).empty())
      values[node.output(i)] = op->getResult(i);
}

/// The node, or an operation that says why there is none for it.
Error GraphImporter::importNodeOrReason(const ::onnx::NodeProto &node) {
  if (!refusals)
    return importNode(node);
  StringRef result = getFirstResult(node);
  auto isUnknown = [&](const std::string &input) { return values.contains(input) && isa<UnrankedTensorType>(values.lookup(input).getType()); };
  bool lacksType = llvm::any_of(node.output(), [&](const std::string &output) { return !output.empty() && !types.contains(output); });
  // No news: the node in front of it is the cause.
  if (lacksType && llvm::any_of(node.input(), isUnknown))
    refusals->try_emplace(result, "");
  if (!refusals->contains(result))
    if (Error error = importNode(node))
      refusals->try_emplace(result, getReason(std::move(error), node));
  if (auto refusal = refusals->find(result); refusal != refusals->end())
    importUnsupported(node, refusal->second);
  return Error::success();
}

Error GraphImporter::importNode(const ::onnx::NodeProto &node) {
  if (node.domain().empty() && node.op_type() == "Constant")
    return importConstant(node);
  const OperatorInfo *info = findOperator(node.domain(), node.op_type());
  std::string what = describeNode(node) + " (" + describeOperator(node) + ")";
  if (!info)
    return createStringError(what + ": the operator is not supported in opset " + Twine(model.getOpset()));

  OperationState state(getLocation(node), info->operation);
  bool isVariadic = !info->inputs.empty() && info->inputs.back().option == OperatorInfo::Option::Variadic;
  for (int i = 0; i < node.input_size(); ++i) {
    bool isSpare = static_cast<size_t>(i) >= info->inputs.size() && !isVariadic;
    if (isSpare && node.input(i).empty())
      continue;
    if (isSpare)
      return createStringError(what + ": expected at most " + Twine(info->inputs.size()) + " inputs, but got " +
                               Twine(node.input_size()));
    state.operands.push_back(node.input(i).empty() ? getNone() : values.lookup(node.input(i)));
  }
  // What is missing at the end are optional inputs; a variadic one may be empty.
  while (state.operands.size() < info->inputs.size() - isVariadic)
    state.operands.push_back(getNone());

  for (const ::onnx::AttributeProto &attribute : node.attribute()) {
    const OperatorInfo::Attribute *attributeInfo = info->findAttribute(attribute.name());
    if (!attributeInfo)
      return createStringError(what + ": attribute '" + attribute.name() + "' is not supported");
    auto imported = importAttribute(attribute, *attributeInfo, what);
    if (!imported)
      return imported.takeError();
    state.attributes.push_back(*imported);
  }

  bool hasVariadicResult = !info->outputs.empty() && info->outputs.back().option == OperatorInfo::Option::Variadic;
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty()) {
      if (static_cast<size_t>(i) < info->outputs.size())
        state.types.push_back(builder.getNoneType());
      continue;
    }
    Type type = types.lookup(node.output(i));
    if (!type)
      return createStringError(what + ": the type of its result '" + node.output(i) + "' cannot be inferred");
    state.types.push_back(type);
  }
  while (state.types.size() < info->outputs.size() - hasVariadicResult)
    state.types.push_back(builder.getNoneType());

  Operation *op = builder.create(state);
  for (int i = 0; i < node.output_size(); ++i)
    if (!node.output(i).empty())
      values[node.output(i)] = op->getResult(i);
  return Error::success();
}

Error GraphImporter::importSignature(ModuleOp module) {
  llvm::StringSet<> initializers;
  for (const ::onnx::TensorProto &initializer : graph.initializer())
    initializers.insert(initializer.name());
  SmallVector<Type> argumentTypes, resultTypes;
  SmallVector<const ::onnx::ValueInfoProto *> arguments;
  for (const ::onnx::ValueInfoProto &input : graph.input()) {
    // An input with an initializer has a default, which we take.
    if (initializers.contains(input.name()))
      continue;
    arguments.push_back(&input);
    argumentTypes.push_back(types.lookup(input.name()));
  }
  for (const ::onnx::ValueInfoProto &output : graph.output())
    resultTypes.push_back(types.lookup(output.name()));

  builder.setInsertionPointToEnd(module.getBody());
  Location location = NameLoc::get(builder.getStringAttr(graph.name()));
  function = func::FuncOp::create(builder, location, "main_graph", builder.getFunctionType(argumentTypes, resultTypes));
  Block *entry = function.addEntryBlock();
  for (auto [index, input] : llvm::enumerate(arguments)) {
    function.setArgAttrs(index, describeValue(*input));
    values[input->name()] = entry->getArgument(index);
  }
  for (auto [index, output] : llvm::enumerate(graph.output()))
    function.setResultAttrs(index, describeValue(output));
  builder.setInsertionPointToStart(entry);
  return Error::success();
}

Error GraphImporter::importReturn() {
  SmallVector<Value> results;
  for (auto [index, output] : llvm::enumerate(graph.output())) {
    Value result = values.lookup(output.name());
    if (result.getType() != function.getResultTypes()[index])
      return createStringError("output '" + Twine(output.name()) + "' is declared with another type than it has");
    results.push_back(result);
  }
  func::ReturnOp::create(builder, function.getLoc(), results);
  return Error::success();
}

Expected<OwningOpRef<ModuleOp>> GraphImporter::import() {
  if (Error error = importTypes())
    return error;
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  (*module)->setAttr("onnx.opset", builder.getI64IntegerAttr(model.getOpset()));
  auto config = readGenAIConfig(model.path, getContext());
  if (!config)
    return config.takeError();
  if (*config)
    (*module)->setAttr("onnx.genai_config", *config);
  if (Error error = importSignature(*module))
    return error;
  for (const ::onnx::TensorProto &initializer : graph.initializer())
    if (Error error = importInitializer(initializer))
      return error;
  for (const ::onnx::NodeProto &node : graph.node())
    if (Error error = importNodeOrReason(node))
      return error;
  if (Error error = importReturn())
    return error;
  return module;
}

/// A tensor of integers or booleans as ONNX has it; nothing for other element types.
static std::optional<::onnx::TensorProto> exportIntegers(ElementsAttr value, StringRef name) {
  auto type = dyn_cast<IntegerType>(value.getElementType());
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!type || !dense)
    return std::nullopt;
  ::onnx::TensorProto tensor;
  switch (type.getWidth()) {
  case 1:
    tensor.set_data_type(::onnx::TensorProto::BOOL);
    break;
  case 32:
    tensor.set_data_type(type.isUnsigned() ? ::onnx::TensorProto::UINT32 : ::onnx::TensorProto::INT32);
    break;
  case 64:
    tensor.set_data_type(type.isUnsigned() ? ::onnx::TensorProto::UINT64 : ::onnx::TensorProto::INT64);
    break;
  default:
    return std::nullopt;
  }
  tensor.set_name(name.str());
  for (int64_t dim : cast<ShapedType>(value.getType()).getShape())
    tensor.add_dims(dim);
  std::string bytes;
  for (const APInt &number : dense.getValues<APInt>()) {
    uint64_t bits = number.getZExtValue();
    bytes.append(reinterpret_cast<const char *>(&bits), divideCeil(type.getWidth(), 8));
  }
  tensor.set_raw_data(bytes);
  return tensor;
}

Expected<std::vector<::onnx::TensorProto>> GraphImporter::findConstants(llvm::function_ref<ElementsAttr(Operation *)> fold) {
  if (Error error = importTypes())
    return std::move(error);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  if (Error error = importSignature(*module))
    return std::move(error);
  for (const ::onnx::TensorProto &initializer : graph.initializer())
    if (Error error = importInitializer(initializer))
      return std::move(error);
  std::vector<::onnx::TensorProto> constants;
  for (const ::onnx::NodeProto &node : graph.node()) {
    bool isKnown = llvm::all_of(node.input(), [&](const std::string &input) { return input.empty() || values.contains(input); });
    if (!isKnown || refusals->contains(getFirstResult(node)))
      continue;
    if (Error error = importNode(node)) {
      consumeError(std::move(error));
      continue;
    }
    if (node.output_size() != 1)
      continue;
    // A Constant is one already, but shall be an initializer for the next round.
    Operation *op = values.lookup(node.output(0)).getDefiningOp();
    auto constant = dyn_cast<arith::ConstantOp>(op);
    ElementsAttr value = constant ? cast<ElementsAttr>(constant.getValue()) : fold(op);
    std::optional<::onnx::TensorProto> tensor = value ? exportIntegers(value, node.output(0)) : std::nullopt;
    if (!tensor)
      continue;
    constants.push_back(std::move(*tensor));
    values[node.output(0)] = arith::ConstantOp::create(builder, op->getLoc(), cast<TypedAttr>(value));
  }
  return constants;
}

//===----------------------------------------------------------------------===//
// From a file to operations
//===----------------------------------------------------------------------===//

/// The ONNX library would not name the tensor.
static Error checkInitializers(const Model &model, MLIRContext *context) {
  for (const ::onnx::TensorProto &tensor : model.proto.graph().initializer()) {
    auto type = getTensorType(context, tensor, "initializer '" + Twine(tensor.name()) + "'");
    if (!type)
      return type.takeError();
  }
  return Error::success();
}

/// Leaves a graph without functions, with bound dimensions and without inferred types. `check` is what the graph has to pass.
static Error bindModel(Model &model, MLIRContext *context, const ImportOptions &options, Error (*check)(const Model &)) {
  canonicalizeDomains(model.proto);
  if (Error error = inlineFunctions(model.proto))
    return error;
  if (Error error = check(model))
    return error;
  if (Error error = checkInitializers(model, context))
    return error;
  // Types found by the exporter may contradict the dimensions that are bound now.
  model.proto.mutable_graph()->clear_value_info();
  if (Error error = bindDimensions(model.proto, options.dimBindings))
    return error;
  return TensorReader::loadShapeTensors(model);
}

/// `refusals`: as for GraphImporter.
static Error prepareModel(Model &model, MLIRContext *context, const ImportOptions &options, Refusals *refusals) {
  if (Error error = bindModel(model, context, options, refusals ? checkStructure : checkGraph))
    return error;
  if (Error error = inferShapes(model.proto))
    return error;
  if (refusals)
    findUnsupported(model, *refusals);
  return modernizeOperators(model, refusals);
}

/// `GraphImporter::findConstants` of the model in today's operators, which later rounds must not meet. Initializers, which are
/// most of the model, are lent to the copy.
static Expected<std::vector<::onnx::TensorProto>> findConstants(Model &model, MLIRContext *context,
                                                                llvm::function_ref<ElementsAttr(Operation *)> fold) {
  google::protobuf::RepeatedPtrField<::onnx::TensorProto> initializers;
  model.proto.mutable_graph()->mutable_initializer()->Swap(&initializers);
  Model current = model;
  auto &lent = *current.proto.mutable_graph()->mutable_initializer();
  lent.Swap(&initializers);
  int count = lent.size();
  Refusals refusals;
  cantFail(modernizeOperators(current, &refusals));
  auto constants = GraphImporter(current, context, &refusals).findConstants(fold);
  lent.DeleteSubrange(count, lent.size() - count);
  model.proto.mutable_graph()->mutable_initializer()->Swap(&lent);
  return constants;
}

/// What prepareModel() does, for any graph: operators become those that the compiler knows, and shapes that are computed become
/// constants, in turns until nothing changes.
static Error preparePlainGraph(Model &model, MLIRContext *context, const ImportOptions &options, Refusals &refusals) {
  if (Error error = bindModel(model, context, options, checkStructure))
    return error;
  moveConstants(model);
  constexpr int maxRounds = 64;
  std::vector<::onnx::ValueInfoProto> learned;
  for (int round = 0; round < maxRounds; ++round) {
    model.proto.mutable_graph()->clear_value_info();
    for (const ::onnx::ValueInfoProto &value : learned)
      *model.proto.mutable_graph()->add_value_info() = value;
    if (Error error = inferShapes(model.proto))
      return error;
    auto expanded = expandOperators(model, options.isLowered);
    if (!expanded)
      return expanded.takeError();
    if (*expanded || inlineControlFlow(model))
      continue;
    auto constants = findConstants(model, context, options.fold);
    if (!constants)
      return constants.takeError();
    if (!inferOperandShapes(model, learned) && constants->empty())
      break;
    replaceByInitializers(model, *constants);
  }
  findUnsupported(model, refusals);
  return modernizeOperators(model, &refusals);
}

/// Puts operations `unsupported.NAME` in the place of those that their verifiers refuse.
static void replaceInvalid(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa_and_present<onnx::ONNXDialect>(op->getDialect()))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    std::string reason;
    ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
      if (reason.empty())
        reason = diagnostic.str();
      return success();
    });
    if (succeeded(verify(op, /*verifyRecursively=*/false)))
      continue;
    StringRef name = op->getName().getStringRef(), text = reason;
    text.consume_front(("'" + name + "' op ").str());
    if (llvm::any_of(op->getOperandTypes(), llvm::IsaPred<UnrankedTensorType>))
      text = "";
    OpBuilder builder(op);
    OperationState state(op->getLoc(), "unsupported." + op->getName().stripDialect().str());
    for (Value operand : op->getOperands())
      if (!isa<NoneType>(operand.getType()))
        state.operands.push_back(operand);
    state.addTypes(op->getResultTypes());
    state.addAttribute("reason", builder.getStringAttr(text));
    op->replaceAllUsesWith(builder.create(state));
    op->erase();
  }
}

/// Runs the verifier, and returns the first thing it finds as an error.
static Error verifyModule(ModuleOp module) {
  std::string message;
  ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
    if (!message.empty() || diagnostic.getSeverity() != DiagnosticSeverity::Error)
      return success();
    raw_string_ostream stream(message);
    if (auto name = dyn_cast<NameLoc>(diagnostic.getLocation()))
      stream << "node '" << name.getName().getValue() << "': ";
    stream << diagnostic;
    return success();
  });
  if (failed(verify(module)))
    return createStringError(message.empty() ? "the model is malformed" : message);
  return Error::success();
}

Expected<OwningOpRef<ModuleOp>> importONNX(StringRef path, MLIRContext *context, const ImportOptions &options) {
  context->loadDialect<arith::ArithDialect, func::FuncDialect, onnx::ONNXDialect>();
  auto model = readModel(path);
  if (!model)
    return model.takeError();
  if (options.externalFiles)
    *options.externalFiles = getExternalFiles(**model);
  Refusals found, *refusals = options.keepUnsupported || options.plainGraph ? &found : nullptr;
  if (Error error = options.plainGraph ? preparePlainGraph(**model, context, options, found)
                                       : prepareModel(**model, context, options, refusals))
    return error;
  auto module = GraphImporter(**model, context, refusals).import();
  if (!module)
    return module.takeError();
  if (refusals)
    replaceInvalid(**module);
  if (Error error = verifyModule(**module))
    return error;
  return module;
}

} // namespace elutq
