//===- Invocation.cpp - Compile a model -----------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Compiler/Invocation.h"
#include "Diagnostics.h"
#include "GraphSummary.h"
#include "Network.h"
#include "Package.h"
#include "PlainGraph.h"
#include "QuantizedModel.h"
#include "WeightStages.h"
#include "elutq/Compiler/ModelFiles.h"
#include "elutq/Compiler/Report.h"
#include "elutq/Container.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/InitAll.h"
#include "elutq/Pipelines/Normalize.h"
#include "elutq/Pipelines/Pipelines.h"
#include "elutq/Pipelines/PlainGraph.h"
#include "elutq/Support/OutputFile.h"
#include "elutq/Target/CPU/EmitObject.h"
#include "elutq/Target/CPU/Linker.h"
#include "elutq/Target/ONNX/ImportONNX.h"
#include "elutq/TokenizerBuilder.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Support/xxhash.h"
#include "llvm/Target/TargetMachine.h"

#include <chrono>

using namespace llvm;
using namespace elutq;
using mlir::ModuleOp;
using mlir::OwningOpRef;

namespace {
/// Says what is going on, and how long it took.
class Progress {
public:
  explicit Progress(const CompileOptions &options) : options(options) {}
  ~Progress() { finish(); }

  void start(StringRef stage, StringRef detail = "") {
    finish();
    name = stage.str();
    begin = std::chrono::steady_clock::now();
    if (!options.quiet)
      options.log(("elutq-compile: " + stage + (detail.empty() ? "" : " ") + detail + "\n").str());
  }

private:
  void finish() {
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (options.timing && !name.empty())
      options.log(formatv("elutq-compile: {0,8:F3} s  {1}\n", seconds, name).str());
    name.clear();
  }
  const CompileOptions &options;
  std::string name;
  std::chrono::steady_clock::time_point begin;
};

class Compilation {
public:
  Compilation(const CompileOptions &options, StringRef compilerPath);
  Error run();

private:
  Error importAndNormalize();
  Error quantizeAndPack();
  Error tuneKernels();
  Error lowerToLLVM();
  Error emitMachineCode();
  Error compileGraph();
  Error compilePlainGraph();
  Error compileNetwork();
  Error addTokenizer(Package &package) const;
  /// Runs the passes that `build` adds and verifies what they leave. They are trusted in between: verification of a whole module behind
  /// each pass takes time that grows with the number of layers.
  LogicalResult runPasses(ModuleOp op, function_ref<void(mlir::OpPassManager &)> build);
  Error runStage(StringRef name, const Twine &detail, function_ref<void(mlir::OpPassManager &)> build);
  Error printIR(ModuleOp op);
  Error takeAllErrors(const ImportOptions &importOptions);
  Expected<OwningOpRef<ModuleOp>> importEntry(StringRef entry, int64_t rows, ArrayRef<std::string> dimNames);
  Expected<std::vector<std::string>> findDimNames();
  Error summarize(const ImportOptions &importOptions);
  Error writeReport(const ScalarOps *scalarOps, bool hasTasks = true);
  std::vector<std::pair<std::string, std::string>> metaData(uint64_t buildId) const;

  const CompileOptions &options;
  StringRef compilerPath;
  Progress progress;
  std::unique_ptr<llvm::StdThreadPool> pool;
  mlir::MLIRContext context;
  DiagnosticCollector diagnostics;
  cpu::TargetInfo target;
  ModelFiles files;
  /// What is done to float weights of this model.
  QuantizationOptions quantization;
  std::string runtimeDir;
  int64_t maxContext = 0;
  OwningOpRef<ModuleOp> module;
  tune::TunedProducts tuned;
  std::vector<ReportRow> report;
  GraphSummary summary;
  mlir::DictionaryAttr model, plan, tasks;
};
} // namespace

static mlir::DialectRegistry makeRegistry() {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  elutq::registerAllDialects(registry);
  cpu::registerLLVMIRTranslations(registry);
  return registry;
}

Compilation::Compilation(const CompileOptions &options, StringRef compilerPath)
    : options(options), compilerPath(compilerPath), progress(options),
      context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED), diagnostics(context, options.log) {
  pool = std::make_unique<llvm::StdThreadPool>(hardware_concurrency(options.threads));
  if (options.threads != 1)
    context.setThreadPool(*pool);
  context.loadAllAvailableDialects();
  // Operators that are unknown stay in the module until one error names them all.
  context.allowUnregisteredDialects();
}

LogicalResult Compilation::runPasses(ModuleOp op, function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager manager(&context);
  manager.enableVerifier(false);
  build(manager);
  return failed(manager.run(op)) ? failure() : mlir::verify(op);
}

Error Compilation::runStage(StringRef name, const Twine &detail,
                            function_ref<void(mlir::OpPassManager &)> build) {
  progress.start(name, detail.str());
  return failed(runPasses(*module, build)) ? diagnostics.takeError(name) : Error::success();
}

/// Prints without the contents of resources: a limit of 0 is the only one for which MLIR does not format them first.
Error Compilation::printIR(ModuleOp op) {
  std::string text;
  raw_string_ostream os(text);
  op->print(os, mlir::OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(0).enableDebugInfo(false));
  return writeText(options.output, text);
}

/// The names of the two dimensions of `input_ids`.
Expected<std::vector<std::string>> Compilation::findDimNames() {
  auto function = module->lookupSymbol<mlir::FunctionOpInterface>("main_graph");
  if (!function)
    return createStringError("'%s' has no graph", options.input.c_str());
  for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i) {
    auto name = function.getArgAttrOfType<mlir::StringAttr>(i, "onnx.name");
    if (!name || name.getValue() != "input_ids")
      continue;
    auto type = dyn_cast<mlir::RankedTensorType>(function.getArgumentTypes()[i]);
    if (!type || type.getRank() != 2)
      return createStringError("'%s': expected the input input_ids to be [batch, sequence]", options.input.c_str());
    std::vector<std::string> names(2);
    if (auto params = function.getArgAttrOfType<mlir::ArrayAttr>(i, "onnx.dim_params"))
      for (auto [axis, param] : enumerate(params.getAsRange<mlir::StringAttr>()))
        if (axis < 2)
          names[axis] = param.str();
    if (!type.isDynamicDim(1) || names[1].empty())
      return createStringError("'%s': expected dimension 1 of input_ids to be symbolic, so that it can be 1 in decode and %lld "
                               "in prefill",
                               options.input.c_str(), static_cast<long long>(options.chunk));
    return names;
  }
  return createStringError("'%s' is not a language model: it has no input input_ids", options.input.c_str());
}

/// Whether the importer left nodes that cannot be compiled.
static bool hasUnsupported(ModuleOp module) {
  return module.walk([](mlir::Operation *op) {
    return op->getName().getStringRef().starts_with("unsupported.") ? mlir::WalkResult::interrupt() : mlir::WalkResult::advance();
  }).wasInterrupted();
}

/// The error of a model that could not be normalized. It names all nodes that are in the way, also those that passes behind the one that
/// failed would have refused: they run here, each whatever the others say, on the model without its entry point.
Error Compilation::takeAllErrors(const ImportOptions &importOptions) {
  auto imported = importONNX(options.input, &context, importOptions);
  if (!imported)
    return imported.takeError();
  for (auto create : {createRecognizeONNXPass, createConvertONNXToHLQPass, createConvertONNXToLinalgPass})
    (void)runPasses(**imported, [&](mlir::OpPassManager &manager) { manager.addPass(create()); });
  return diagnostics.takeErrors("normalize", /*onlyNodes=*/hasUnsupported(**imported));
}

Expected<OwningOpRef<ModuleOp>> Compilation::importEntry(StringRef entry, int64_t rows, ArrayRef<std::string> dimNames) {
  ImportOptions importOptions;
  importOptions.keepUnsupported = true;
  if (!dimNames[0].empty())
    importOptions.dimBindings[dimNames[0]] = 1;
  importOptions.dimBindings[dimNames[1]] = rows;
  auto result = importONNX(options.input, &context, importOptions);
  if (!result)
    return result.takeError();
  NormalizeOptions normalize;
  normalize.entry = entry.str();
  normalize.chunk = options.chunk;
  normalize.maxContext = maxContext;
  normalize.kvCache = options.cacheType;
  if (failed(runPasses(**result, [&](mlir::OpPassManager &manager) { buildNormalizePipeline(manager, normalize); })))
    return takeAllErrors(importOptions);
  return result;
}

/// What the report says of the model's graph, before and behind the pass that recognizes what is written out.
Error Compilation::summarize(const ImportOptions &importOptions) {
  auto imported = importONNX(options.input, &context, importOptions);
  if (!imported)
    return imported.takeError();
  summary.operators = countOperators(**imported);
  std::vector<WrittenOut> before = findWrittenOut(**imported);
  // What fails here fails again, with all other nodes that are in the way.
  if (failed(runPasses(**imported, [](mlir::OpPassManager &manager) { manager.addPass(createRecognizeONNXPass()); })))
    consumeError(diagnostics.takeError("normalize"));
  compare(before, findWrittenOut(**imported), summary);
  return Error::success();
}

Error Compilation::importAndNormalize() {
  progress.start("import", options.input);
  std::vector<std::string> dataFiles;
  ImportOptions importOptions;
  importOptions.externalFiles = &dataFiles;
  importOptions.keepUnsupported = options.emit != EmitKind::ONNX;
  auto imported = importONNX(options.input, &context, importOptions);
  if (!imported)
    return imported.takeError();
  for (const std::string &output : outputFiles(options))
    for (const std::string &file : dataFiles)
      if (sys::fs::equivalent(file, output))
        return createStringError("'%s' holds weights of the model that is read", output.c_str());
  module = std::move(*imported);
  if (options.emit == EmitKind::ONNX)
    return printIR(*module);
  auto dimNames = findDimNames();
  if (!dimNames && hasUnsupported(*module))
    return createStringError(toString(dimNames.takeError()) + "; besides, " + toString(takeAllErrors(importOptions)));
  if (!dimNames)
    return dimNames.takeError();

  if (options.report) {
    ImportOptions bound;
    bound.keepUnsupported = true;
    bound.dimBindings[(*dimNames)[1]] = 1;
    if (!(*dimNames)[0].empty())
      bound.dimBindings[(*dimNames)[0]] = 1;
    if (Error error = summarize(bound))
      return error;
  }
  progress.start("normalize", "(decode and prefill)");
  auto decode = importEntry("decode", 1, *dimNames);
  if (!decode)
    return decode.takeError();
  auto prefill = importEntry("prefill", options.chunk, *dimNames);
  if (!prefill)
    return prefill.takeError();
  // One module, in which equal constants are one: each is quantized and packed once.
  module = std::move(*decode);
  for (mlir::Operation &op : make_early_inc_range(*(*prefill)->getBody()))
    op.moveBefore(module->getBody(), module->getBody()->end());
  model = (*module)->getAttrOfType<mlir::DictionaryAttr>("elutq.model");
  return Error::success();
}

/// Whether some weights of the model were quantized before.
static bool hasQuantizedWeights(mlir::ModuleOp module) {
  return module.walk([](mlir::Operation *op) {
    return isa<hlq::LinearOp, hlq::GatherOp>(op) ? mlir::WalkResult::interrupt() : mlir::WalkResult::advance();
  }).wasInterrupted();
}

Error Compilation::quantizeAndPack() {
  quantization = options.quantization;
  if (std::exchange(quantization.onlyFloatModels, false))
    quantization.enabled = options.emit != EmitKind::Graph && !hasQuantizedWeights(*module);
  diagnostics.takeRemark = [&](std::string, std::string text) { options.log("elutq-compile: " + text + "\n"); };
  if (quantization.enabled)
    if (Error error = runStage("quantize", formatQuantization(quantization), [&](mlir::OpPassManager &manager) {
          buildQuantizeStage(manager, quantization, options.threads, !options.quiet);
        }))
      return error;
  diagnostics.takeRemark = nullptr;
  if (options.emit == EmitKind::HLQ)
    return printIR(*module);
  if (options.tune)
    if (Error error = tuneKernels())
      return error;
  if (Error error = runStage("select kernels", "for " + target.getISA(), [&](mlir::OpPassManager &manager) {
        buildSelectStage(manager, target.getISA(), options);
      }))
    return error;
  report = collectReport(*module, tuned);
  return runStage("pack weights", "",
                  [&](mlir::OpPassManager &manager) { buildPackWeightsPipeline(manager, options.threads); });
}

/// Leaves its choices to `hlq-select-kernel`, which keeps them.
Error Compilation::tuneKernels() {
  progress.start("tune kernels", "for " + target.cpu);
  auto selector = hlq::KernelSelector::create(target.getISA(), getAlgorithm(options), options.wideTables,
                                              [&] { return (*module)->emitError(); });
  if (failed(selector))
    return diagnostics.takeError("tune kernels");
  auto show = [&](const tune::ProductOptions &product, ArrayRef<tune::TimedKernel> kernels) {
    double best = kernels.front().time;
    for (const tune::TimedKernel &kernel : kernels)
      best = std::min(best, kernel.time);
    if (!options.quiet)
      options.log(formatv("elutq-compile: timed {0} kernels of {1} x {2} x {3}, {4} bits: best {5:F1} us, the cost model's {6:F1} us\n",
                          kernels.size(), product.m, product.k, product.n, product.bits, best, kernels.front().time)
                      .str());
  };
  auto result = tune::tuneKernels(*module, *selector, target, show);
  if (!result)
    return result.takeError();
  tuned = std::move(*result);
  return Error::success();
}

/// A plain graph has no tasks, and no kernels.
Error Compilation::writeReport(const ScalarOps *scalarOps, bool hasTasks) {
  if (!options.report)
    return Error::success();
  std::string text;
  raw_string_ostream os(text);
  if (hasTasks)
    printReport(report, scalarOps, os);
  printSummary(summary, os);
  if (*options.report != "-")
    return writeText(*options.report, text);
  options.log(text);
  return Error::success();
}

Error Compilation::lowerToLLVM() {
  std::string isa = target.getISA().str();
  LoweringStages stages(isa, /*remarks=*/options.report.has_value());
  if (Error error = runStage(stages.tile.name, "", stages.tile.build))
    return error;
  if (options.emit == EmitKind::Loops) {
    if (Error error = runStage("lower to loops", "", buildToLoopsPipeline))
      return error;
    if (Error error = writeReport(nullptr))
      return error;
    return printIR(*module);
  }
  ScalarOps scalarOps;
  diagnostics.takeRemark = [&](std::string node, std::string text) {
    ++scalarOps[{text.substr(0, text.find(' ')), node.empty() ? "(unnamed)" : node}];
  };
  Error vectorized = runStage(stages.vectorize.name, "for " + isa, stages.vectorize.build);
  diagnostics.takeRemark = nullptr;
  if (vectorized)
    return vectorized;
  if (Error error = writeReport(&scalarOps))
    return error;
  if (options.emit == EmitKind::Vector)
    return printIR(*module);
  if (Error error = runStage(stages.lower.name, "for " + isa, stages.lower.build))
    return error;
  plan = (*module)->getAttrOfType<mlir::DictionaryAttr>("elutq.plan");
  tasks = (*module)->getAttrOfType<mlir::DictionaryAttr>("elutq.tasks");
  if (options.emit == EmitKind::LLVM)
    return printIR(*module);
  return Error::success();
}

static std::string numberOf(mlir::DictionaryAttr dictionary, StringRef key) {
  auto number = dictionary ? dictionary.getAs<mlir::IntegerAttr>(key) : mlir::IntegerAttr();
  return number ? std::to_string(number.getInt()) : "";
}

static std::string joinIds(ArrayRef<int64_t> ids) {
  return join(map_range(ids, [](int64_t id) { return std::to_string(id); }), ",");
}

std::vector<std::pair<std::string, std::string>> Compilation::metaData(uint64_t buildId) const {
  StoredWeights stored = countStoredWeights(report);
  auto countOf = [](int64_t count) { return count ? std::to_string(count) : ""; };
  bool isGraph = options.emit == EmitKind::Graph;
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"name", modelName(options)},
      {"format_version", "1"},
      {"build_id", utohexstr(buildId, /*LowerCase=*/true, /*Width=*/16)},
      {"model_type", files.modelType},
      {"vocab_size", numberOf(model, "vocab")},
      {"layers", numberOf(model, "layers")},
      {"max_context", countOf(maxContext)},
      {"chunk", isGraph ? "" : std::to_string(options.chunk)},
      {"arena_bytes", numberOf(plan, "arena_bytes")},
      {"weights_bytes", numberOf(plan, "weights_bytes")},
      {"cache_bytes", numberOf(plan, "cache_bytes")},
      {"consistent", isConsistent(report) ? "1" : "0"},
      {"decode_weight_bytes", std::to_string(weightBytes(report, "decode"))},
      {"quantized_weights", countOf(stored.weights)},
      {"quantized_bytes", countOf(stored.bytes)},
      {"kv_cache", isGraph ? "" : options.cacheType},
      {"tuned", options.tune ? "1" : ""},
      {"bits", std::to_string(options.quantization.bits)},
      {"quantization", formatQuantization(quantization)},
      {"target", target.triple.str()},
      {"cpu", target.cpu},
      {"isa", target.getISA().str()},
      {"cpu_features", formatFeatures(target)},
      {"bos_ids", joinIds(files.bosIds)},
      {"eos_ids", joinIds(files.eosIds)},
      {"prompt_template", options.promptTemplate},
  };
  erase_if(pairs, [](const auto &pair) { return pair.second.empty(); });
  return pairs;
}

/// The names of the calls of both entries, as traces need them.
static std::string formatTasks(mlir::DictionaryAttr tasks) {
  std::string text;
  for (mlir::NamedAttribute entry : tasks) {
    StringRef name = entry.getName();
    name.consume_front("elutq_entry_");
    for (auto task : cast<mlir::ArrayAttr>(entry.getValue()).getAsRange<mlir::StringAttr>())
      text += (name + "\t" + task.getValue() + "\n").str();
  }
  return text;
}

Error Compilation::addTokenizer(Package &package) const {
  auto text = MemoryBuffer::getFile(files.tokenizer);
  if (!text)
    return createStringError("cannot read '%s': %s", files.tokenizer.c_str(), text.getError().message().c_str());
  std::string section, message;
  if (!buildTokenizerSection(std::string_view((*text)->getBufferStart(), (*text)->getBufferSize()), section, message))
    return createStringError("'%s': %s", files.tokenizer.c_str(), message.c_str());
  package.sections.push_back(cpu::SectionContent::fromString("tokenizer", std::move(section)));
  return Error::success();
}

static Expected<SmallVector<char, 0>> optimizeAndEmit(Module &code, const cpu::TargetInfo &target, CodeGenFileType type) {
  if (Error error = cpu::optimize(code, target))
    return std::move(error);
  SmallVector<char, 0> bytes;
  raw_svector_ostream stream(bytes);
  if (Error error = cpu::emitCode(code, target, type, stream))
    return std::move(error);
  return bytes;
}

Error Compilation::emitMachineCode() {
  progress.start("generate code", "for " + target.cpu);
  auto weights = cpu::WeightsSection::fromModule(*module);
  if (!weights)
    return weights.takeError();
  LLVMContext llvmContext;
  auto code = cpu::translateToLLVMIR(*module, llvmContext, target);
  if (!code)
    return diagnostics.takeError("generate code", code.takeError());

  // The id stands for code and weights: only files of the same compilation have the same one.
  SmallVector<char, 0> bitcode;
  raw_svector_ostream bitcodeStream(bitcode);
  WriteBitcodeToFile(**code, bitcodeStream);
  uint64_t parts[] = {xxh3_64bits(ArrayRef(reinterpret_cast<const uint8_t *>(bitcode.data()), bitcode.size())),
                      weights->hash()};
  uint64_t buildId = xxh3_64bits(ArrayRef(reinterpret_cast<const uint8_t *>(parts), sizeof parts));
  cpu::addBuildId(**code, buildId);

  bool assembly = options.emit == EmitKind::Assembly;
  auto object = optimizeAndEmit(**code, target, assembly ? CodeGenFileType::AssemblyFile : CodeGenFileType::ObjectFile);
  if (!object)
    return object.takeError();
  StringRef bytes(object->data(), object->size());
  if (assembly || options.emit == EmitKind::Object)
    return writeText(options.output, bytes);

  Package package{target, modelName(options), bytes, {}, buildId, runtimeDir};
  package.sections.push_back(cpu::SectionContent::fromString("meta", cpu::formatMeta(metaData(buildId))));
  if (!files.tokenizer.empty()) {
    progress.start("tokenizer", files.tokenizer);
    if (Error error = addTokenizer(package))
      return error;
  }
  package.sections.push_back(cpu::SectionContent::fromString(container::kTasksSection, formatTasks(tasks)));
  package.sections.push_back(weights->content());
  progress.start("link", options.output);
  if (options.emit == EmitKind::Graph)
    return writeNetwork(package, options.output);
  return options.emit == EmitKind::Library ? writeLibrary(package, options.output)
                                           : writeExecutable(package, options.output);
}

Error Compilation::compileGraph() {
  bool isQuantized = options.quantization.enabled && !options.quantization.onlyFloatModels;
  if (isQuantized || !options.shapes.empty())
    return compileNetwork();
  progress.start("import", options.input);
  auto imported = importONNX(options.input, &context, plainGraphImport());
  if (!imported)
    return imported.takeError();
  module = std::move(*imported);
  if (!hasLayers(*module))
    return compilePlainGraph();
  Error error = compileNetwork();
  if (!error)
    return error;
  // What is wrong with the model itself is found again.
  std::string reason = toString(std::move(error));
  auto again = importONNX(options.input, &context, plainGraphImport());
  if (!again)
    return again.takeError();
  module = std::move(*again);
  if (Error plain = compilePlainGraph())
    return plain;
  options.log("elutq-compile: warning: compiled for one thread and without vectors, for the faster way is closed: " + reason + "\n");
  return Error::success();
}

Error Compilation::compileNetwork() {
  auto names = readSymbolicShapes(options.input);
  if (!names)
    return names.takeError();
  std::vector<GraphShape> shapes = options.shapes;
  if (shapes.empty())
    shapes.emplace_back();
  std::vector<NetworkValues> choices;
  OwningOpRef<ModuleOp> all;
  for (auto [i, shape] : enumerate(shapes)) {
    progress.start("import", options.input);
    auto imported = importONNX(options.input, &context, networkImport(shape));
    if (!imported)
      return imported.takeError();
    if (options.report && !all) {
      summary.operators = countOperators(**imported);
      summary.writtenOut = findWrittenOut(**imported);
    }
    auto values = getNetworkValues(**imported);
    if (!values)
      return values.takeError();
    choices.push_back(std::move(*values));
    progress.start("normalize", "(" + networkEntry(i) + ")");
    if (failed(runPasses(**imported, [&, i = i](mlir::OpPassManager &manager) { buildGraphToEntryPipeline(manager, networkEntry(i)); })))
      return diagnostics.takeErrors("normalize", /*onlyNodes=*/true);
    if (!all) {
      all = std::move(*imported);
      continue;
    }
    // One module, in which equal constants are one.
    for (mlir::Operation &op : make_early_inc_range(*(*imported)->getBody()))
      op.moveBefore(all->getBody(), all->getBody()->end());
  }
  module = std::move(all);
  if (Error error = quantizeAndPack())
    return error;
  if (Error error = lowerToLLVM())
    return error;
  if (Error error = addNetworkInterface(*module, choices, describeNetwork(choices, shapes, *names, target)))
    return error;
  return emitMachineCode();
}

/// The rest of the way for `module`.
Error Compilation::compilePlainGraph() {
  auto signature = describeGraph(*module, target);
  if (!signature && !hasUnsupported(*module))
    return signature.takeError();
  if (options.report) {
    summary.operators = countOperators(*module);
    summary.writtenOut = findWrittenOut(*module);
  }
  auto inputs = module->lookupSymbol<mlir::FunctionOpInterface>("main_graph").getNumArguments();
  progress.start("normalize");
  bool normalized = succeeded(runPasses(*module, buildPlainGraphToLinalgPipeline));
  if (!normalized && !signature)
    consumeError(signature.takeError());
  if (!normalized)
    return diagnostics.takeErrors("normalize", /*onlyNodes=*/true);
  if (!signature)
    return signature.takeError();
  flattenEmptyTensors(*module);
  if (Error error = runStage("lower to llvm", "", buildPlainGraphToLLVMPipeline))
    return error;
  if (Error error = writeReport(nullptr, /*hasTasks=*/false))
    return error;
  addGraphInterface(*module, inputs, *signature, target);
  progress.start("generate code", "for " + target.cpu);
  LLVMContext llvmContext;
  auto code = cpu::translateToLLVMIR(*module, llvmContext, target);
  if (!code)
    return diagnostics.takeError("generate code", code.takeError());
  auto object = optimizeAndEmit(**code, target, CodeGenFileType::ObjectFile);
  if (!object)
    return object.takeError();
  progress.start("link", options.output);
  Package package{target, modelName(options), StringRef(object->data(), object->size()), {}, /*buildId=*/0, runtimeDir};
  return writePlainGraph(package, options.output);
}

/// Whether the output is written by writeText, from memory.
static bool isText(EmitKind emit) { return emit <= EmitKind::Object && emit != EmitKind::HLQONNX; }

Error Compilation::run() {
  auto resolved = cpu::resolveTarget(options.triple, options.cpu, options.features);
  if (!resolved)
    return resolved.takeError();
  target = std::move(*resolved);
  // What can be refused is refused before the long work.
  if (options.tune)
    if (Error error = tune::checkRunsHere(target))
      return createStringError("--tune: " + toString(std::move(error)) + "; tune on a machine of that kind");
  if (options.emit == EmitKind::Executable || options.emit == EmitKind::Library || options.emit == EmitKind::Graph) {
    auto dir = findRuntime(options, target, compilerPath);
    if (!dir)
      return dir.takeError();
    runtimeDir = *dir;
    if (auto toolchain = cpu::findToolchain(target, linkOptions(options.emit, runtimeDir)); !toolchain)
      return toolchain.takeError();
  }
  std::vector<std::string> outputs = outputFiles(options);
  outputs.push_back(options.report.value_or(""));
  for (const std::string &output : outputs)
    if (!output.empty() && sys::fs::equivalent(options.input, output))
      return createStringError("'%s' is the model that is read", output.c_str());
  if (options.output != "-" && !options.output.empty() && !(isText(options.emit) && isStream(options.output))) {
    auto probe = OutputFile::create(options.output);
    if (!probe)
      return probe.takeError();
  }
  if (options.emit == EmitKind::HLQONNX)
    return writeQuantizedModel(options);
  if (options.emit == EmitKind::Graph)
    return compileGraph();
  auto read = readModelFiles(options.input);
  if (!read)
    return read.takeError();
  files = std::move(*read);
  maxContext = options.maxContext;
  if (maxContext == 0)
    maxContext = std::min(files.contextLength.value_or(kDefaultMaxContext), kDefaultMaxContext);
  else if (files.contextLength && maxContext > *files.contextLength)
    return createStringError("--max-context: the model knows %lld positions, but got %lld",
                             static_cast<long long>(*files.contextLength), static_cast<long long>(maxContext));

  if (Error error = importAndNormalize())
    return error;
  if (options.emit == EmitKind::ONNX)
    return Error::success();
  if (Error error = quantizeAndPack())
    return error;
  if (options.emit == EmitKind::HLQ)
    return Error::success();
  if (Error error = lowerToLLVM())
    return error;
  if (options.emit <= EmitKind::LLVM)
    return Error::success();
  return emitMachineCode();
}

Error elutq::compile(const CompileOptions &options, StringRef compilerPath) {
  if (Error error = verify(options))
    return error;
  return Compilation(options, compilerPath).run();
}
