//===- ExportHLQ.cpp - HLQ matrices in ONNX models --------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/ONNX/ExportHLQ.h"

#include "HLQFunctions.h"
#include "Model.h"
#include "TensorData.h"

#include "elutq/Support/OutputFile.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <map>

using namespace llvm;
using ::onnx::NodeProto;
using ::onnx::TensorProto;

namespace elutq {

/// External tensors start at multiples of this, so that they can be mapped one by one.
static constexpr uint64_t kAlignment = 4096;
/// Smaller tensors stay in the model.
static constexpr uint64_t kMinExternalBytes = 1024;

//===----------------------------------------------------------------------===//
// Which matrices there are
//===----------------------------------------------------------------------===//

namespace {
/// How a node uses an initializer.
struct Use {
  int node;
  bool isGather;
  /// Whether the initializer is `[N, K]`; otherwise it is `[K, N]`.
  bool isRowMajor;
};

class HLQExporter {
public:
  HLQExporter(Model &model, StringRef outputPath, QuantizeMatrixFn quantize, function_ref<Error()> finish)
      : model(model), graph(*model.proto.mutable_graph()), outputPath(outputPath), quantize(quantize), finish(finish), tensors(model) {}

  Error run();

private:
  void findUses();
  std::optional<Use> getUse(int index, int input);
  Error exportInitializer(TensorProto &tensor);
  Error quantizeInitializer(const TensorProto &tensor, ArrayRef<char> data, ArrayRef<Use> uses, bool &isQuantized);
  void replaceNode(NodeProto &node, const Use &use, StringRef name, const HLQMatrix &matrix, int64_t n, int64_t k);
  Error addTensor(const Twine &name, TensorProto::DataType type, ArrayRef<int64_t> dims, ArrayRef<char> bytes);
  Error writeBytes(TensorProto &tensor, ArrayRef<char> bytes);
  void removeDeadTransposes();
  void addBiases();
  Error save(OutputFile &file);

  Model &model;
  ::onnx::GraphProto &graph;
  std::string outputPath;
  QuantizeMatrixFn quantize;
  function_ref<Error()> finish;
  TensorReader tensors;
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  /// By initializer; only those whose uses are all understood.
  StringMap<SmallVector<Use>> uses;
  std::vector<TensorProto> newTensors;
  /// Additions that follow a node, by its index.
  std::map<int, NodeProto> biases;
  /// Set while tensors are written.
  OutputFile *data = nullptr;
};
} // namespace

static int64_t getInt(const NodeProto &node, StringRef name, int64_t otherwise) {
  for (const auto &attribute : node.attribute())
    if (attribute.name() == name)
      return attribute.i();
  return otherwise;
}

static float getFloat(const NodeProto &node, StringRef name, float otherwise) {
  for (const auto &attribute : node.attribute())
    if (attribute.name() == name)
      return attribute.f();
  return otherwise;
}

static bool isStandard(const NodeProto &node, StringRef name) {
  return (node.domain().empty() || node.domain() == "ai.onnx") && node.op_type() == name;
}

/// Whether `node` swaps the dimensions of a matrix.
static bool isMatrixTranspose(const NodeProto &node) {
  if (!isStandard(node, "Transpose"))
    return false;
  for (const auto &attribute : node.attribute())
    if (attribute.name() == "perm")
      return attribute.ints_size() == 2 && attribute.ints(0) == 1 && attribute.ints(1) == 0;
  return true;
}

/// The use of the matrix that is input `input` of node `index`, if it is one of an HLQ operator.
std::optional<Use> HLQExporter::getUse(int index, int input) {
  const NodeProto &node = graph.node(index);
  if (isStandard(node, "MatMul") && input == 1)
    return Use{index, false, false};
  if (isStandard(node, "Gemm") && input == 1 && getInt(node, "transA", 0) == 0 && getFloat(node, "alpha", 1) == 1 &&
      getFloat(node, "beta", 1) == 1)
    return Use{index, false, getInt(node, "transB", 0) != 0};
  if (isStandard(node, "Gather") && input == 0 && getInt(node, "axis", 0) == 0)
    return Use{index, true, true};
  return std::nullopt;
}

/// Finds the matrices that linear layers and embeddings use, directly or transposed.
void HLQExporter::findUses() {
  StringSet<> matrices;
  for (const TensorProto &tensor : graph.initializer())
    if (tensor.dims_size() == 2 &&
        is_contained({TensorProto::FLOAT, TensorProto::FLOAT16, TensorProto::BFLOAT16}, tensor.data_type()))
      matrices.insert(tensor.name());
  // An initializer that is an input, too, is a default value, which callers may override.
  for (const auto &input : graph.input())
    matrices.erase(input.name());
  StringMap<std::string> transposed; // the result of a Transpose -> its initializer
  for (auto [index, node] : enumerate(graph.node())) {
    if (isMatrixTranspose(node) && matrices.contains(node.input(0))) {
      transposed[node.output(0)] = node.input(0);
      continue;
    }
    for (auto [input, name] : enumerate(node.input())) {
      auto through = transposed.find(name);
      StringRef matrix = through == transposed.end() ? StringRef(name) : StringRef(through->second);
      if (!matrices.contains(matrix))
        continue;
      std::optional<Use> use = getUse(index, input);
      if (use && through != transposed.end())
        use->isRowMajor = !use->isRowMajor;
      if (use)
        uses[matrix].push_back(*use);
      else
        matrices.erase(matrix);
    }
  }
  for (const auto &output : graph.output()) {
    matrices.erase(output.name());
    if (auto through = transposed.find(output.name()); through != transposed.end())
      matrices.erase(through->second);
  }
  SmallVector<std::string> dropped;
  for (auto &entry : uses) {
    // One matrix of HLQ rows cannot serve both orders.
    bool isMixed = any_of(entry.second, [&](const Use &use) { return use.isRowMajor != entry.second[0].isRowMajor; });
    if (isMixed || !matrices.contains(entry.getKey()))
      dropped.push_back(entry.getKey().str());
  }
  for (const std::string &name : dropped)
    uses.erase(name);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// Stores `bytes` behind what is in the data file, or in the tensor if they are few.
Error HLQExporter::writeBytes(TensorProto &tensor, ArrayRef<char> bytes) {
  tensor.clear_int32_data();
  tensor.clear_float_data();
  tensor.clear_int64_data();
  tensor.clear_double_data();
  tensor.clear_uint64_data();
  tensor.clear_external_data();
  tensor.clear_raw_data();
  if (bytes.size() < kMinExternalBytes) {
    tensor.set_data_location(TensorProto::DEFAULT);
    tensor.set_raw_data(bytes.data(), bytes.size());
    return Error::success();
  }
  if (Error error = data->padTo(kAlignment))
    return error;
  uint64_t offset = data->size();
  if (Error error = data->write(bytes))
    return error;
  tensor.set_data_location(TensorProto::EXTERNAL);
  for (auto [key, value] : {std::pair<const char *, std::string>("location", (sys::path::filename(outputPath) + ".data").str()),
                            {"offset", std::to_string(offset)},
                            {"length", std::to_string(bytes.size())}}) {
    auto &entry = *tensor.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }
  return Error::success();
}

Error HLQExporter::addTensor(const Twine &name, TensorProto::DataType type, ArrayRef<int64_t> dims, ArrayRef<char> bytes) {
  TensorProto &tensor = newTensors.emplace_back();
  tensor.set_name(name.str());
  tensor.set_data_type(type);
  for (int64_t dim : dims)
    tensor.add_dims(dim);
  return writeBytes(tensor, bytes);
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

void HLQExporter::replaceNode(NodeProto &node, const Use &use, StringRef name, const HLQMatrix &matrix, int64_t n,
                              int64_t k) {
  std::string activations = node.input(use.isGather ? 1 : 0);
  std::string bias = isStandard(node, "Gemm") && node.input_size() == 3 ? node.input(2) : "";
  node.set_op_type(use.isGather ? "HLQGather" : "HLQMatMul");
  node.set_domain(kElutqDomain.str());
  node.clear_input();
  node.add_input(activations);
  for (StringRef part : {".planes", ".scales", ".zeros"})
    node.add_input((name + part).str());
  node.clear_attribute();
  for (auto [key, value] : {std::pair<const char *, int64_t>("K", k), {"N", n}, {"bits", matrix.bits},
                            {"group_size", matrix.groupSize}}) {
    auto &attribute = *node.add_attribute();
    attribute.set_name(key);
    attribute.set_type(::onnx::AttributeProto::INT);
    attribute.set_i(value);
  }
  if (bias.empty())
    return;
  // The function body has no optional input: a function cannot ask whether there is one.
  NodeProto &add = biases[use.node];
  add.set_op_type("Add");
  add.set_name(node.name() + "/bias");
  add.add_output(node.output(0));
  node.set_output(0, node.output(0) + "/product");
  add.add_input(node.output(0));
  add.add_input(bias);
}

Error HLQExporter::quantizeInitializer(const TensorProto &tensor, ArrayRef<char> bytes, ArrayRef<Use> matrixUses,
                                       bool &isQuantized) {
  FloatMatrix matrix;
  matrix.name = tensor.name();
  for (const Use &use : matrixUses) {
    matrix.nodes.push_back(graph.node(use.node).name());
    (use.isGather ? matrix.isGathered : matrix.isMultiplied) = true;
  }
  matrix.type = tensor.data_type() == TensorProto::FLOAT     ? FloatMatrix::Type::F32
                : tensor.data_type() == TensorProto::FLOAT16 ? FloatMatrix::Type::F16
                                                             : FloatMatrix::Type::BF16;
  bool isRowMajor = matrixUses[0].isRowMajor;
  matrix.n = tensor.dims(isRowMajor ? 0 : 1);
  matrix.k = tensor.dims(isRowMajor ? 1 : 0);
  matrix.rowStride = isRowMajor ? matrix.k : 1;
  matrix.colStride = isRowMajor ? 1 : matrix.n;
  matrix.data = bytes;
  // HLQGather yields f32.
  if (bytes.empty() || (matrix.isGathered && matrix.type != FloatMatrix::Type::F32))
    return Error::success();
  auto quantized = quantize(matrix);
  if (!quantized)
    return quantized.takeError();
  if (!*quantized)
    return Error::success();
  const HLQMatrix &result = **quantized;
  int64_t groups = divideCeil(matrix.k, result.groupSize), parameterBytes = result.hasHalfParameters ? 2 : 4;
  // Codes of 8 bits, which have one scale, are one plane.
  int64_t numPlanes = quantize::numPlanes(result.bits), numScales = result.isCompact ? 1 : numPlanes;
  int64_t planeBytes = quantize::numPlaneBytes(result.bits, matrix.n, groups, result.groupSize);
  int64_t planeRowBytes = planeBytes / numPlanes / matrix.n;
  assert(static_cast<int64_t>(result.planes.size()) == planeBytes &&
         static_cast<int64_t>(result.scales.size()) == matrix.n * groups * numScales * parameterBytes &&
         static_cast<int64_t>(result.zeros.size()) == matrix.n * groups * (result.isCompact ? result.bits + 1 : parameterBytes) && "wrong size of HLQ data");
  auto parameterType = parameterBytes == 2 ? TensorProto::FLOAT16 : TensorProto::FLOAT;
  if (Error error = addTensor(tensor.name() + ".planes", TensorProto::UINT8,
                              {numPlanes, matrix.n, planeRowBytes}, result.planes))
    return error;
  if (Error error = addTensor(tensor.name() + ".scales", parameterType, {matrix.n, groups, numScales}, result.scales))
    return error;
  SmallVector<int64_t> zerosShape{matrix.n, groups};
  if (result.isCompact)
    zerosShape.push_back(result.bits + 1);
  if (Error error = addTensor(tensor.name() + ".zeros", result.isCompact ? TensorProto::UINT8 : parameterType, zerosShape, result.zeros))
    return error;
  for (const Use &use : matrixUses)
    replaceNode(*graph.mutable_node(use.node), use, tensor.name(), result, matrix.n, matrix.k);
  isQuantized = true;
  return Error::success();
}

Error HLQExporter::exportInitializer(TensorProto &tensor) {
  std::string what = "initializer '" + tensor.name() + "'";
  auto type = getTensorType(&context, tensor, what);
  if (!type)
    return type.takeError();
  auto bytes = tensors.read(tensor, *type, what);
  if (!bytes)
    return bytes.takeError();
  bool isQuantized = false;
  if (auto found = uses.find(tensor.name()); found != uses.end())
    if (Error error = quantizeInitializer(tensor, bytes->bytes, found->second, isQuantized))
      return error;
  if (!isQuantized) {
    TensorProto &copy = newTensors.emplace_back(tensor);
    if (Error error = writeBytes(copy, bytes->bytes))
      return error;
  }
  releasePages(bytes->bytes);
  return Error::success();
}

/// Removes the transposes of tables that are gone.
void HLQExporter::removeDeadTransposes() {
  StringSet<> initializers;
  for (const TensorProto &tensor : newTensors)
    initializers.insert(tensor.name());
  auto isDead = [&](const NodeProto &node) {
    return isMatrixTranspose(node) && uses.contains(node.input(0)) && !initializers.contains(node.input(0));
  };
  auto &nodes = *graph.mutable_node();
  nodes.erase(remove_if(nodes, isDead), nodes.end());
}

/// Puts the additions of biases behind their products.
void HLQExporter::addBiases() {
  if (biases.empty())
    return;
  google::protobuf::RepeatedPtrField<NodeProto> nodes;
  for (int i = 0; i < graph.node_size(); ++i) {
    *nodes.Add() = std::move(*graph.mutable_node(i));
    if (auto bias = biases.find(i); bias != biases.end())
      *nodes.Add() = std::move(bias->second);
  }
  graph.mutable_node()->Swap(&nodes);
}

Error HLQExporter::save(OutputFile &file) {
  graph.clear_initializer();
  for (TensorProto &tensor : newTensors)
    *graph.add_initializer() = std::move(tensor);
  std::string bytes;
  if (!model.proto.SerializeToString(&bytes))
    return createStringError("the model is too large for protobuf");
  return file.write(ArrayRef(bytes.data(), bytes.size()));
}

Error HLQExporter::run() {
  if (Error error = addHLQFunctions(model.proto, model.getOpset()))
    return error;
  findUses();
  std::string dataPath = outputPath + ".data";
  for (const std::string &file : getExternalFiles(model))
    if (sys::fs::equivalent(file, dataPath) || sys::fs::equivalent(file, outputPath))
      return createStringError("'" + file + "' holds weights of the model that is read");
  auto file = OutputFile::create(outputPath);
  if (!file)
    return file.takeError();
  auto dataFile = OutputFile::create(dataPath);
  if (!dataFile)
    return dataFile.takeError();
  data = &*dataFile;
  for (TensorProto &tensor : *graph.mutable_initializer())
    if (Error error = exportInitializer(tensor))
      return error;
  if (Error error = finish())
    return error;
  addBiases();
  removeDeadTransposes();
  if (Error error = save(*file))
    return error;
  // A model without its data would be the worse half.
  return OutputFile::commitAll({&*dataFile, &*file});
}

/// Checks the model as an import does, on a copy: what is written keeps its functions and domains.
static Error check(const Model &model) {
  Model copy{model.path, model.file, model.proto, {}};
  canonicalizeDomains(copy.proto);
  if (Error error = inlineFunctions(copy.proto))
    return error;
  return checkGraph(copy);
}

Error exportHLQONNX(StringRef inputPath, StringRef outputPath, QuantizeMatrixFn quantize, function_ref<Error()> finish) {
  if (sys::fs::equivalent(inputPath, outputPath))
    return createStringError("'" + outputPath + "' is the model that is read");
  auto model = readModel(inputPath);
  if (!model)
    return model.takeError();
  if (Error error = check(**model))
    return error;
  return HLQExporter(**model, outputPath, quantize, finish).run();
}

} // namespace elutq
