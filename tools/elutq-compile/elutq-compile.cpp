//===- elutq-compile.cpp - From an ONNX model to a native program ---------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Compiler/Invocation.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Signals.h"

#include <csignal>

using namespace llvm;

static Error fail(const Twine &message) { return createStringError(message); }

/// What the command line asks for; nothing where LLVM has said already what is wrong with it.
static Expected<std::optional<elutq::CompileOptions>> parseCommandLine(int argc, char **argv) {
  // The options that the LLVM libraries register for their own tools are none of this one.
  cl::ResetCommandLineParser();
  cl::OptionCategory category("elutq-compile options");
  elutq::CompileOptions options;
  cl::opt<std::string, true> input(cl::Positional, cl::Required, cl::desc("<model.onnx>"), cl::location(options.input),
                                   cl::cat(category));
  cl::opt<std::string, true> output("o", cl::desc("Output file; - for text on the terminal"), cl::value_desc("file"),
                                    cl::location(options.output), cl::cat(category));
  cl::opt<std::string> emit(
      "emit",
      cl::desc("What to write:\n"
               "exe       one executable with runtime, tokenizer and weights (default)\n"
               "lib       libNAME.so, NAME.weights and NAME.h\n"
               "obj, asm  the model's code as an object file or assembly\n"
               "llvm      IR: the llvm dialect\n"
               "vector    IR: vectors and table look-ups\n"
               "loops     IR: bit-serial loops, the reference\n"
               "hlq       IR: both entry points with quantized products\n"
               "hlq-onnx  the quantized model as ONNX\n"
               "onnx      IR: the imported graph\n"
               "graph     any graph as a shared library (elutq/graph.h): an encoder, a vision model, ...; float weights stay as they "
               "are unless --quantize=hlq:... is given"),
      cl::value_desc("kind"), cl::init("exe"), cl::cat(category));
  cl::opt<std::string> quantize(
      "quantize", cl::desc("How to store float weights: auto (default: as they are in a model that has quantized ones, too, else "
                           "hlq:bits=4,group=128,embedding=4,head=4), none (as they are), or hlq with a comma-separated list of bits=1..4|8, "
                           "group=16|32|64|128|256|0 (row), embedding=0..4|8, head=0..4|8 (0: float), params=hlq|compact (one scale and "
                           "8-bit ratios per group of 1 to 4 bits), plan=FILE of JSON "
                           "{\"MATRIX\": {\"bits\": 3, \"group\": 64}, ...} (for --emit=hlq-onnx), exclude=REGEX of node names (last)"),
      cl::value_desc("hlq:key=value,..."), cl::init("auto"), cl::cat(category));
  cl::list<std::string> shapes(
      "shape", cl::desc("For --emit=graph: numbers of the symbolic dimensions that the graph is compiled for; may be given "
                        "several times, for a library that takes all of them"),
      cl::value_desc("name=n,..."), cl::cat(category));
  cl::opt<std::string> tables(
      "tables", cl::desc("Bits of an activation table's entries, or of an activation for 8-bit weights: 16 (default), 8 (faster "
                         "prefill, larger errors), or 16:REGEX, 16 for the nodes of these names and 8 for the others"),
      cl::value_desc("bits"), cl::init("16"), cl::cat(category));
  cl::opt<std::string, true> algorithm(
      "algorithm", cl::desc("How products with 1 to 4 bits are computed: auto (default, the faster one for each number of rows), lut "
                            "(table look-ups) or dot (integer products with codes made from the planes)"),
      cl::value_desc("name"), cl::location(options.algorithm), cl::init("auto"), cl::cat(category));
  cl::opt<bool, true> tune("tune",
                           cl::desc("Time kernels of each product on this machine, a minute or two, and take the fastest, not what the cost "
                                    "model chooses; --report shows both. Leave the machine idle meanwhile: a busy one chooses badly. Where this changes the algorithm of prefill, results "
                                    "differ in the last bits"),
                           cl::location(options.tune), cl::cat(category));
  cl::opt<std::string, true> triple(
      "target",
      cl::desc("Machine to compile for: x86_64-linux-gnu or aarch64-linux-gnu; default: this one. Executables and libraries "
               "for another one need its runtime, which scripts/setup --target aarch64 builds"),
      cl::value_desc("triple"), cl::location(options.triple), cl::cat(category));
  cl::opt<std::string, true> cpu(
      "mcpu",
      cl::desc("Processor: native, generic, x86-64-v3, znver4, cortex-a76, ...; default: native, or generic for another --target"),
      cl::value_desc("name"), cl::location(options.cpu), cl::cat(category));
  cl::opt<std::string, true> features("mattr", cl::desc("Processor features to add or remove"), cl::value_desc("+a,-b"),
                                      cl::location(options.features), cl::cat(category));
  cl::opt<int64_t, true> maxContext("max-context", cl::desc("Longest context in tokens; default: the model's, at most 4096"),
                                    cl::value_desc("tokens"), cl::location(options.maxContext), cl::cat(category));
  cl::opt<int64_t, true> chunk("chunk", cl::desc("Tokens of one prefill step; default 64"), cl::value_desc("tokens"),
                               cl::location(options.chunk), cl::init(64), cl::cat(category));
  cl::opt<std::string, true> cache("kv-cache", cl::desc("Numbers of the key-value cache: f16 (default), f32 or int8"),
                                   cl::value_desc("type"), cl::location(options.cacheType), cl::init("f16"), cl::cat(category));
  cl::opt<bool, true> consistent("consistent", cl::desc("The same algorithm, and so the same bits, in prefill and decode"),
                                 cl::location(options.consistent), cl::cat(category));
  cl::opt<unsigned, true> threads("threads", cl::desc("Threads of this compiler; default: one per processor"),
                                  cl::value_desc("n"), cl::location(options.threads), cl::cat(category));
  cl::opt<std::string, true> name("name", cl::desc("Name of the model in its meta data; default: the output's"),
                                  cl::value_desc("name"), cl::location(options.name), cl::cat(category));
  cl::opt<std::string, true> prompt("prompt-template", cl::desc("What a chat model wants around a prompt, with {prompt} in it"),
                                    cl::value_desc("text"), cl::location(options.promptTemplate), cl::cat(category));
  cl::opt<std::string> report("report", cl::desc("Print the kernel of each node, which other ops stay scalar, the operators of the model, and which attention, norms, "
                                      "rotary embeddings and activations it has written out, to standard error or to a file"),
                              cl::value_desc("file"), cl::ValueOptional, cl::init(""), cl::cat(category));
  cl::opt<std::string, true> runtime("runtime", cl::desc("Folder of the runtime's archives; default: ../lib of this program"),
                                     cl::value_desc("folder"), cl::location(options.runtimeDir), cl::cat(category));
  cl::opt<bool, true> timing("timing", cl::desc("Print the time of each stage"), cl::location(options.timing),
                             cl::cat(category));
  cl::opt<bool, true> quiet("q", cl::desc("No progress on standard error"), cl::location(options.quiet), cl::cat(category));
  cl::HideUnrelatedOptions(category);

  // None of these may stay registered, for lld registers some of the same names while it runs.
  scope_exit reset([] { cl::ResetCommandLineParser(); });

  std::string message;
  raw_string_ostream messages(message);
  if (!cl::ParseCommandLineOptions(argc, argv, "ELUTQ: compiles an ONNX language model to a program for this or another CPU\n",
                                   &messages)) {
    if (message.empty())
      return std::nullopt;
    StringRef line = StringRef(message).trim().split('\n').first;
    line = line.contains(": ") ? line.split(": ").second : line;
    return fail(line.split(".  Try:").first.trim() + "; --help lists the options");
  }
  auto kind = elutq::parseEmitKind(emit);
  if (!kind)
    return kind.takeError();
  options.emit = *kind;
  auto quantization = elutq::parseQuantization(quantize);
  if (!quantization)
    return quantization.takeError();
  options.quantization = *quantization;
  for (const std::string &text : shapes) {
    auto shape = elutq::parseShape(text);
    if (!shape)
      return shape.takeError();
    options.shapes.push_back(std::move(*shape));
  }
  auto wideTables = elutq::parseTables(tables);
  if (!wideTables)
    return wideTables.takeError();
  options.wideTables = *wideTables;
  if (report.getNumOccurrences())
    options.report = report.empty() ? std::string("-") : report.getValue();
  options.log = [](StringRef text) { errs() << text; };
  return options;
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  // A file that may not grow is an error of writing, not of this program.
  std::signal(SIGXFSZ, SIG_IGN);
  auto options = parseCommandLine(argc, argv);
  if (options && !*options)
    return 1;
  Error error = options ? elutq::compile(**options, argv[0]) : options.takeError();
  if (!error)
    return 0;
  // Names in a model may hold anything; this is one line, and no command to the terminal.
  std::string message = toString(std::move(error));
  for (char &c : message)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f)
      c = '?';
  errs() << "elutq-compile: error: " << message << "\n";
  return 1;
}
