//===- Options.cpp - What a compilation is asked to do --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Compiler/Options.h"
#include "elutq/Quantize/Solver.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Regex.h"

using namespace llvm;
using namespace elutq;

Expected<EmitKind> elutq::parseEmitKind(StringRef name) {
  std::optional<EmitKind> kind = StringSwitch<std::optional<EmitKind>>(name)
                                     .Case("onnx", EmitKind::ONNX)
                                     .Case("hlq", EmitKind::HLQ)
                                     .Case("hlq-onnx", EmitKind::HLQONNX)
                                     .Case("loops", EmitKind::Loops)
                                     .Case("vector", EmitKind::Vector)
                                     .Case("llvm", EmitKind::LLVM)
                                     .Case("asm", EmitKind::Assembly)
                                     .Case("obj", EmitKind::Object)
                                     .Case("lib", EmitKind::Library)
                                     .Case("exe", EmitKind::Executable)
                                     .Case("graph", EmitKind::Graph)
                                     .Default(std::nullopt);
  if (!kind)
    return createStringError("--emit: unknown kind '%s', expected onnx, hlq, hlq-onnx, loops, vector, llvm, asm, obj, lib, exe or graph",
                             name.str().c_str());
  return *kind;
}

bool elutq::isGroupSize(int64_t size) { return is_contained({0, 16, 32, 64, 128, 256}, size); }

Expected<QuantizationOptions> elutq::parseQuantization(StringRef text) {
  QuantizationOptions options;
  if (text == "none") {
    options.enabled = false;
    return options;
  }
  options.onlyFloatModels = text == "auto";
  auto [kind, rest] = text.split(':');
  if (kind != "hlq" && text != "auto")
    return createStringError("--quantize: expected 'auto', 'none' or 'hlq:bits=...,group=...', but got '%s'", text.str().c_str());
  bool embedding = false, head = false;
  while (!rest.empty()) {
    StringRef pair;
    // A regular expression may hold commas: it takes the rest.
    std::tie(pair, rest) = rest.starts_with("exclude=") ? std::pair(rest, StringRef()) : rest.split(',');
    auto [key, value] = pair.split('=');
    if (key == "exclude") {
      std::string message;
      if (!Regex(value).isValid(message))
        return createStringError("--quantize: exclude='%s' is not a regular expression: %s", value.str().c_str(),
                                 message.c_str());
      options.exclude = value.str();
      continue;
    }
    if (key == "plan") {
      options.plan = value.str();
      continue;
    }
    if (key == "params") {
      if (value != "hlq" && value != "compact")
        return createStringError("--quantize: expected params to be hlq or compact, but got '%s'", value.str().c_str());
      options.params = value.str();
      continue;
    }
    int64_t *number = StringSwitch<int64_t *>(key)
                          .Case("bits", &options.bits)
                          .Case("group", &options.groupSize)
                          .Case("embedding", &options.embeddingBits)
                          .Case("head", &options.headBits)
                          .Default(nullptr);
    if (!number)
      return createStringError("--quantize: unknown key '%s', expected bits, group, embedding, head, params, plan or exclude",
                               key.str().c_str());
    if (value.getAsInteger(10, *number))
      return createStringError("--quantize: expected a number for %s, but got '%s'", key.str().c_str(),
                               value.str().c_str());
    bool isGroup = key == "group", mayBeNone = key == "embedding" || key == "head";
    if (isGroup && !isGroupSize(*number))
      return createStringError("--quantize: expected group to be 16, 32, 64, 128, 256 or 0 (the row), but got %lld",
                               static_cast<long long>(*number));
    if (!isGroup && !quantize::isBits(*number) && !(mayBeNone && *number == 0))
      return createStringError("--quantize: expected %s to be %d to 4 or 8, but got %lld", key.str().c_str(),
                               mayBeNone ? 0 : 1, static_cast<long long>(*number));
    embedding |= key == "embedding";
    head |= key == "head";
  }
  // A vocabulary is read by row, and its errors go to every token: never fewer bits than the default.
  if (!embedding)
    options.embeddingBits = std::max<int64_t>(4, options.bits);
  if (!head)
    options.headBits = std::max<int64_t>(4, options.bits);
  return options;
}

std::string elutq::formatQuantization(const QuantizationOptions &options) {
  if (!options.enabled)
    return "none";
  if (options.onlyFloatModels)
    return "auto";
  std::string text = "hlq:bits=" + std::to_string(options.bits) + ",group=" + std::to_string(options.groupSize) +
                     ",embedding=" + std::to_string(options.embeddingBits) + ",head=" + std::to_string(options.headBits);
  if (options.params != "hlq")
    text += ",params=" + options.params;
  if (!options.plan.empty())
    text += ",plan=" + options.plan;
  if (!options.exclude.empty())
    text += ",exclude=" + options.exclude;
  return text;
}

Expected<GraphShape> elutq::parseShape(StringRef text) {
  GraphShape shape;
  SmallVector<StringRef> pairs;
  text.split(pairs, ',');
  for (StringRef pair : pairs) {
    StringRef name, number;
    std::tie(name, number) = pair.split('=');
    int64_t size;
    if (name.empty() || number.getAsInteger(10, size) || size < 1 || size > (int64_t(1) << 30))
      return createStringError("--shape: expected NAME=NUMBER,... with positive numbers, but got '%s'", text.str().c_str());
    if (any_of(shape, [&](const auto &known) { return name == known.first; }))
      return createStringError("--shape: '%s' has two numbers in '%s'", name.str().c_str(), text.str().c_str());
    shape.emplace_back(name.str(), size);
  }
  return shape;
}

Expected<std::string> elutq::parseTables(StringRef text) {
  if (text == "16")
    return kEveryName;
  if (text == "8")
    return std::string();
  if (!text.consume_front("16:") || text.empty())
    return createStringError("--tables: expected 16, 8 or 16:REGEX, but got '%s'", text.str().c_str());
  std::string reason;
  if (!Regex(text).isValid(reason))
    return createStringError("--tables: expected a regular expression, but got '%s': %s", text.str().c_str(),
                             reason.c_str());
  return text.str();
}

Error elutq::verify(const CompileOptions &options) {
  auto outOfRange = [](const char *flag, const char *range, long long value) {
    return createStringError("%s: expected %s, but got %lld", flag, range, value);
  };
  if (options.chunk < 1 || options.chunk > 4096)
    return outOfRange("--chunk", "1 to 4096 tokens", options.chunk);
  if (options.maxContext < 0 || options.maxContext > (int64_t(1) << 24))
    return outOfRange("--max-context", "1 to 16777216 tokens", options.maxContext);
  if (!is_contained({"f16", "f32", "int8"}, options.cacheType))
    return createStringError("--kv-cache: expected f16, f32 or int8, but got '%s'", options.cacheType.c_str());
  if (options.algorithm != "auto" && options.algorithm != "lut" && options.algorithm != "dot")
    return createStringError("--algorithm: expected auto, lut or dot, but got '%s'", options.algorithm.c_str());
  if (options.threads > 4096)
    return outOfRange("--threads", "at most 4096", options.threads);
  if (!options.promptTemplate.empty() && !StringRef(options.promptTemplate).contains("{prompt}"))
    return createStringError("--prompt-template: expected a text with {prompt}, but got '%s'",
                             options.promptTemplate.c_str());
  if (options.emit == EmitKind::HLQONNX && !options.quantization.enabled)
    return createStringError("--emit=hlq-onnx: nothing to do with --quantize=none");
  if (!options.quantization.plan.empty() && options.emit != EmitKind::HLQONNX)
    return createStringError("--quantize: a plan needs --emit=hlq-onnx; what that writes compiles without one");
  if (!options.shapes.empty() && options.emit != EmitKind::Graph)
    return createStringError("--shape: only --emit=graph takes it");
  if (options.tune && options.emit == EmitKind::Graph)
    return createStringError("--tune: --emit=graph has no kernels to choose from");
  if (options.tune && options.emit <= EmitKind::HLQONNX)
    return createStringError("--tune: nothing to do for this --emit, which comes before kernels are chosen");
  bool isText = options.emit < EmitKind::Object && options.emit != EmitKind::HLQONNX;
  if (options.output.empty() && !isText)
    return createStringError("no output file, name one with -o");
  if (options.output == "-" && !isText)
    return createStringError("this kind of output cannot go to the terminal, name a file with -o");
  return Error::success();
}
