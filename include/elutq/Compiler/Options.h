//===- Options.h - What a compilation is asked to do -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_COMPILER_OPTIONS_H
#define ELUTQ_COMPILER_OPTIONS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace elutq {

/// Where a compilation stops, and what it writes.
enum class EmitKind {
  ONNX,    ///< The imported graph.
  HLQ,     ///< Both entry points with quantized products.
  HLQONNX, ///< The quantized model as ONNX.
  Loops,   ///< Bit-serial loops over memory.
  Vector,  ///< Vectors and table look-ups.
  LLVM,    ///< The llvm dialect.
  Assembly,
  Object,
  Library,   ///< libNAME.so, NAME.weights and NAME.h.
  Executable, ///< One file that answers prompts.
  Graph       ///< A shared library that computes any graph (elutq/graph.h).
};

/// The kind named `onnx`, `hlq`, `hlq-onnx`, `loops`, `vector`, `llvm`, `asm`, `obj`, `lib`, `exe` or `graph`.
llvm::Expected<EmitKind> parseEmitKind(llvm::StringRef name);

/// How float weights become HLQ weights.
struct QuantizationOptions {
  bool enabled = true;
  /// Whether the float weights of a model that has quantized ones, too, stay as they are.
  bool onlyFloatModels = false;
  int64_t bits = 4;
  /// Columns per group: 16, 32, 64, 128, 256, or 0 for one group per row.
  int64_t groupSize = 128;
  /// Bits of the embedding table and of the output projection; 0 leaves them in float.
  int64_t embeddingBits = 4;
  int64_t headBits = 4;
  /// What groups of bit planes store: `hlq`, or `compact`, one scale and 8-bit ratios.
  std::string params = "hlq";
  /// Weights whose node name this regular expression matches stay in float.
  std::string exclude;
  /// A file that names bits and group of some matrices (`QuantizationPlan`), for `EmitKind::HLQONNX`.
  std::string plan;
};

/// Whether `size` is one of the above.
bool isGroupSize(int64_t size);

/// Parses `none`, `auto` (`hlq` for models without quantized weights) or `hlq[:key=value,...]` with the keys bits, group, embedding,
/// head, params, plan and, at the end, exclude. Embedding and
/// head have the larger of 4 and `bits` unless they are given.
llvm::Expected<QuantizationOptions> parseQuantization(llvm::StringRef text);

/// The inverse of `parseQuantization`, with all keys but params hlq and an empty plan or exclude.
std::string formatQuantization(const QuantizationOptions &options);

/// The regular expression that every name matches.
inline constexpr const char *kEveryName = ".*";

/// Parses `16`, `8` or `16:REGEX` to the regular expression of the nodes whose tables have 16 bits; empty means none.
llvm::Expected<std::string> parseTables(llvm::StringRef text);

/// Numbers for symbolic dimensions, in the order of the command line.
using GraphShape = std::vector<std::pair<std::string, int64_t>>;

/// Parses `NAME=NUMBER,...`.
llvm::Expected<GraphShape> parseShape(llvm::StringRef text);

struct CompileOptions {
  std::string input;
  /// "-" is standard output, for the kinds that are text.
  std::string output;
  EmitKind emit = EmitKind::Executable;
  /// Empty: the host.
  std::string triple;
  /// Empty: `native`, or `generic` for another architecture than the host's.
  std::string cpu;
  std::string features;
  QuantizationOptions quantization;
  /// Products with a node name that this regular expression matches get activation tables of 16 bits, the others of 8.
  std::string wideTables = kEveryName;
  /// Algorithm of products with 1 to 4 bits: auto (the faster one for each number of rows), lut (look-ups) or dot (products with
  /// codes made from the planes).
  std::string algorithm = "auto";
  /// Longest context in tokens; 0: the model's own, but at most 4096.
  int64_t maxContext = 0;
  /// Tokens that one prefill step takes.
  int64_t chunk = 64;
  /// Element type of the key-value cache: f16 or f32.
  std::string cacheType = "f16";
  /// One algorithm for prefill and decode, so that both give the same bits.
  bool consistent = false;
  /// The choices of symbolic dimensions that `EmitKind::Graph` compiles a graph for; none where it has none.
  std::vector<GraphShape> shapes;
  /// Time the kernels of each product on this machine, and take the fastest.
  bool tune = false;
  /// Threads of the compiler; 0: one per processor.
  unsigned threads = 0;
  /// Name in the meta data; empty: derived from the output.
  std::string name;
  /// How a chat model wants a prompt, with {prompt} in its place; empty: as it is.
  std::string promptTemplate;
  /// Where the table of kernels goes; "-" is `log`, no value means none.
  std::optional<std::string> report;
  /// Folder of the runtime's archives; empty: beside the compiler.
  std::string runtimeDir;
  /// No progress; times, warnings and the report are told nevertheless.
  bool quiet = false;
  bool timing = false;
  /// Takes whole lines for people. The compiler itself writes to no terminal but what goes to the output `-`.
  std::function<void(llvm::StringRef)> log = [](llvm::StringRef) {};
};

/// The longest context if the caller names none and the model allows more.
inline constexpr int64_t kDefaultMaxContext = 4096;

/// An error if a number or name is out of its range.
llvm::Error verify(const CompileOptions &options);

} // namespace elutq

#endif // ELUTQ_COMPILER_OPTIONS_H
