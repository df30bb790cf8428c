//===- Product.cpp - One compiled matrix product --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Tune/Product.h"
#include "CpuFeatures.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Dialect/HLQ/Transforms/BufferizableOpInterfaceImpl.h"
#include "elutq/Dialect/HLQ/Transforms/KernelSelection.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Dialect/LM/Transforms/BufferizableOpInterfaceImpl.h"
#include "elutq/Pipelines/Pipelines.h"
#include "elutq/Support/ConstantData.h"
#include "elutq/Target/CPU/Artefact.h"
#include "elutq/Target/CPU/EmitObject.h"
#include "elutq/Target/CPU/Linker.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <chrono>
#include <dlfcn.h>

using namespace llvm;
using namespace elutq;
using namespace elutq::tune;

Error tune::checkRunsHere(const cpu::TargetInfo &target) {
  std::string refused = "this machine cannot run code for '" + target.cpu + "': ";
  Triple host(sys::getProcessTriple());
  if (target.triple.getArch() != host.getArch())
    return createStringError(refused + "it is of another architecture, " + target.triple.getArchName());
  std::vector<std::string> needed;
  for (const std::string &feature : target.features)
    needed.push_back("+" + feature);
  runtime::Status status = runtime::checkCpuFeatures(join(needed, ","), nullptr);
  return status.ok() ? Error::success() : createStringError(refused + status.getText());
}

namespace {
/// What a compilation needs, and what its weights live in afterwards.
class Compilation {
public:
  Compilation(const ProductOptions &options, const cpu::TargetInfo &target);

  Error build(const Weights &weights);
  Error lower(Product &product);
  Expected<std::string> emitObject();
  Expected<cpu::WeightsSection> getWeights() { return cpu::WeightsSection::fromModule(*module); }

private:
  template <typename T>
  Expected<mlir::Value> addConstant(mlir::OpBuilder &builder, ArrayRef<int64_t> shape, mlir::Type element, StringRef key,
                                    ArrayRef<T> data);
  Error addAttribute(mlir::Operation *op, StringRef name, StringRef text);
  Error run(StringRef stage, function_ref<void(mlir::OpPassManager &)> build);
  Error takeError(StringRef stage);

  const ProductOptions options;
  const cpu::TargetInfo target;
  mlir::MLIRContext context;
  std::string diagnostic;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};
} // namespace

static mlir::DialectRegistry makeRegistry() {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<hlq::HLQDialect, lm::LMDialect>();
  hlq::registerBufferizableOpInterfaceExternalModels(registry);
  lm::registerBufferizableOpInterfaceExternalModels(registry);
  cpu::registerLLVMIRTranslations(registry);
  return registry;
}

Compilation::Compilation(const ProductOptions &options, const cpu::TargetInfo &target)
    : options(options), target(target), context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED) {
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(false);
  context.getDiagEngine().registerHandler([this](mlir::Diagnostic &message) {
    if (message.getSeverity() == mlir::DiagnosticSeverity::Error && diagnostic.empty())
      diagnostic = message.str();
    return mlir::success();
  });
}

Error Compilation::takeError(StringRef stage) {
  std::replace(diagnostic.begin(), diagnostic.end(), '\n', ' ');
  return createStringError(stage + ": " + (diagnostic.empty() ? "failed" : diagnostic));
}

Error Compilation::run(StringRef stage, function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager manager(&context);
  build(manager);
  return failed(manager.run(*module)) ? takeError(stage) : Error::success();
}

template <typename T>
Expected<mlir::Value> Compilation::addConstant(mlir::OpBuilder &builder, ArrayRef<int64_t> shape, mlir::Type element,
                                               StringRef key, ArrayRef<T> data) {
  auto type = mlir::RankedTensorType::get(shape, element);
  auto buffer = SpillBuffer::create(data.size() * sizeof(T));
  if (!buffer)
    return buffer.takeError();
  llvm::copy(data, buffer->template getDataAs<T>());
  mlir::TypedAttr value = createResourceAttr(type, key, std::move(*buffer));
  return mlir::Value(mlir::arith::ConstantOp::create(builder, builder.getUnknownLoc(), value));
}

Error Compilation::addAttribute(mlir::Operation *op, StringRef name, StringRef text) {
  if (text.empty())
    return Error::success();
  mlir::Attribute attribute = mlir::parseAttribute(text, &context);
  if (!attribute)
    return takeError(name);
  op->setAttr(name, attribute);
  return Error::success();
}

/// An entry of a model that only multiplies: its activations are the cache.
Error Compilation::build(const Weights &weights) {
  mlir::OpBuilder builder(&context);
  // A name for the expression that chooses the width of tables.
  mlir::Location loc = mlir::NameLoc::get(builder.getStringAttr("product"));
  module = mlir::ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  mlir::Type f32 = builder.getF32Type(), param = options.paramType == "f32" ? f32 : builder.getF16Type();
  auto input = mlir::RankedTensorType::get({options.m, options.k}, f32);
  auto output = mlir::RankedTensorType::get({options.m, options.n}, f32);
  auto tokens = mlir::RankedTensorType::get({options.m}, builder.getI64Type());
  mlir::Type index = builder.getIndexType();
  auto function = mlir::func::FuncOp::create(builder, loc, "product",
                                             builder.getFunctionType({tokens, index, index, input}, {output, input}));
  builder.setInsertionPointToStart(function.addEntryBlock());

  int64_t groups = options.getGroups(), scales = options.params == "hlq" ? options.bits : 1;
  bool isWide = options.paramType == "f32";
  SmallVector<int64_t> planesShape = {options.bits, options.n, groups * options.group / 8};
  if (options.bits == 8)
    planesShape = {options.n, groups * options.group};
  auto planes = addConstant<uint8_t>(builder, planesShape, builder.getI8Type(), "w.planes", weights.planes);
  auto addParams = [&](ArrayRef<int64_t> shape, StringRef key, ArrayRef<uint16_t> halves, ArrayRef<float> floats) {
    return isWide ? addConstant<float>(builder, shape, param, key, floats)
                  : addConstant<uint16_t>(builder, shape, param, key, halves);
  };
  if (!planes)
    return planes.takeError();
  auto scaleValues = addParams({options.n, groups, scales}, "w.scales", weights.scales16, weights.scales32);
  if (!scaleValues)
    return scaleValues.takeError();
  mlir::Value zeros;
  mlir::IntegerAttr zeroPoint;
  if (weights.zeroPoint) {
    zeroPoint = builder.getI64IntegerAttr(weights.zeroPoint);
  } else if (!weights.ratios.empty()) {
    auto ratios = addConstant<uint8_t>(builder, {options.n, groups, options.bits + 1}, builder.getI8Type(), "w.zeros", weights.ratios);
    if (!ratios)
      return ratios.takeError();
    zeros = *ratios;
  } else {
    auto zeroValues = addParams({options.n, groups}, "w.zeros", weights.zeros16, weights.zeros32);
    if (!zeroValues)
      return zeroValues.takeError();
    zeros = *zeroValues;
  }
  mlir::Value init = mlir::tensor::EmptyOp::create(builder, loc, output.getShape(), f32);
  mlir::Value x = function.getArgument(3);
  auto linear = hlq::LinearOp::create(builder, loc, mlir::TypeRange{output}, x, *planes, *scaleValues, zeros, init,
                                      builder.getI64IntegerAttr(options.group), zeroPoint);
  mlir::func::ReturnOp::create(builder, loc, mlir::ValueRange{linear->getResult(0), x});
  if (options.choice)
    linear->setAttr(hlq::kernelAttrName, hlq::getKernelAttr(&context, *parseKernelISA(target.getISA()), *options.choice));
  if (Error error = addAttribute(linear, hlq::kernelAttrName, options.kernel))
    return error;
  return addAttribute(linear, hlq::layoutAttrName, options.layout);
}

static std::string toText(mlir::Attribute attribute) {
  std::string text;
  raw_string_ostream(text) << attribute;
  return text;
}

static uint64_t getNumber(mlir::DictionaryAttr plan, StringRef key) {
  auto number = plan ? plan.getAs<mlir::IntegerAttr>(key) : mlir::IntegerAttr();
  return number ? static_cast<uint64_t>(number.getInt()) : 0;
}

Error Compilation::lower(Product &product) {
  product.isa = target.getISA().str();
  Error error = run("select kernels", [&](mlir::OpPassManager &manager) {
    hlq::SelectKernelPassOptions select;
    select.isa = product.isa;
    select.algorithm = options.algorithm;
    select.wideTables = options.tableBits == 16 ? ".*" : "";
    manager.addNestedPass<mlir::func::FuncOp>(hlq::createSelectKernelPass(select));
  });
  if (error)
    return error;
  module->walk([&](hlq::LinearOp linear) {
    auto layout = linear->getAttrOfType<hlq::LayoutAttr>(hlq::layoutAttrName);
    auto kernel = linear->getAttrOfType<hlq::KernelAttr>(hlq::kernelAttrName);
    product.kernel = toText(kernel);
    product.algorithm = kernel.getAlgorithm().str();
    product.layout = toText(layout);
    int64_t blocks = (options.n + layout.getRows() - 1) / layout.getRows();
    product.packedBytes = blocks * layout.getRowBlockBytes(linear.getNumGroups());
  });
  error = run("pack weights", [](mlir::OpPassManager &manager) { buildPackWeightsPipeline(manager, /*threads=*/0); });
  if (error)
    return error;
  LoweringStages stages(product.isa);
  for (const Stage &stage : {stages.tile, stages.vectorize, stages.lower})
    if (Error failure = run(stage.name, stage.build))
      return failure;
  auto plan = (*module)->getAttrOfType<mlir::DictionaryAttr>("elutq.plan");
  product.arenaBytes = getNumber(plan, "arena_bytes");
  product.weightsBytes = getNumber(plan, "weights_bytes");
  return Error::success();
}

static Error writeFile(StringRef path, StringRef bytes) {
  std::error_code code;
  raw_fd_ostream os(path, code);
  if (!code) {
    os << bytes;
    os.close();
    code = os.error();
    os.clear_error();
  }
  return code ? createStringError(code, "cannot write '" + path + "': " + code.message()) : Error::success();
}

static Expected<std::string> emit(llvm::Module &code, const cpu::TargetInfo &target, CodeGenFileType type) {
  SmallVector<char, 0> bytes;
  raw_svector_ostream os(bytes);
  if (Error error = cpu::emitCode(code, target, type, os))
    return std::move(error);
  return std::string(bytes.begin(), bytes.end());
}

Expected<std::string> Compilation::emitObject() {
  LLVMContext llvmContext;
  auto code = cpu::translateToLLVMIR(*module, llvmContext, target);
  if (!code)
    return code.takeError();
  if (Error error = cpu::optimize(**code, target))
    return std::move(error);
  if (!options.assembly.empty()) {
    auto text = emit(*CloneModule(**code), target, CodeGenFileType::AssemblyFile);
    if (!text)
      return text.takeError();
    if (Error error = writeFile(options.assembly, *text))
      return std::move(error);
  }
  return emit(**code, target, CodeGenFileType::ObjectFile);
}

namespace {
/// A temporary file that does not outlive its scope.
class ScratchFile {
public:
  static Expected<ScratchFile> create(StringRef suffix) {
    ScratchFile file;
    if (std::error_code code = sys::fs::createTemporaryFile("elutq-tune", suffix, file.path))
      return createStringError(code, "cannot create a temporary file: " + code.message());
    return std::move(file);
  }
  ScratchFile(ScratchFile &&other) { std::swap(path, other.path); }
  ~ScratchFile() {
    if (!path.empty())
      sys::fs::remove(path);
  }
  std::string getPath() const { return path.str().str(); }

private:
  ScratchFile() = default;
  SmallString<128> path;
};
} // namespace

/// Links `object` to a shared library and loads it; returns its entry.
static Expected<Entry> load(const cpu::TargetInfo &target, StringRef object) {
  auto objectFile = ScratchFile::create("o"), library = ScratchFile::create("so");
  if (!objectFile || !library)
    return joinErrors(objectFile.takeError(), library.takeError());
  if (Error error = writeFile(objectFile->getPath(), object))
    return std::move(error);
  cpu::LinkOptions link;
  link.shared = true;
  link.soname = "product.so";
  link.inputs = {objectFile->getPath()};
  link.output = library->getPath();
  if (Error error = cpu::link(target, link))
    return std::move(error);
  void *handle = ::dlopen(library->getPath().c_str(), RTLD_NOW | RTLD_LOCAL);
  void *symbol = handle ? ::dlsym(handle, "elutq_entry_product") : nullptr;
  if (!symbol)
    return createStringError(Twine("cannot load the compiled product: ") + ::dlerror());
  return reinterpret_cast<Entry>(symbol);
}

Expected<Product> tune::compileProduct(const ProductOptions &options, const Weights &weights,
                                       const cpu::TargetInfo &target) {
  if (Error error = checkRunsHere(target))
    return std::move(error);
  auto begin = std::chrono::steady_clock::now();
  Product product;
  auto compilation = std::make_shared<Compilation>(options, target);
  if (Error error = compilation->build(weights))
    return std::move(error);
  if (Error error = compilation->lower(product))
    return std::move(error);
  auto section = compilation->getWeights();
  if (!section)
    return section.takeError();
  auto object = compilation->emitObject();
  if (!object)
    return object.takeError();
  auto entry = load(target, *object);
  if (!entry)
    return entry.takeError();
  product.entry = *entry;
  // The weights are resources of the module's context.
  product.writeWeights = [compilation, content = section->content()](const Product::Sink &sink) { return content.write(sink); };
  product.compileSeconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return std::move(product);
}
