//===- GenAIConfig.cpp - genai_config.json ----------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GenAIConfig.h"

#include "elutq/Support/MappedFile.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace mlir;

namespace elutq {

/// LLVM's parser recurses for nested values.
static bool nestsTooDeeply(StringRef text) {
  constexpr int maxDepth = 64;
  int depth = 0;
  for (char c : text) {
    if ((c == '[' || c == '{') && ++depth > maxDepth)
      return true;
    depth -= c == ']' || c == '}';
  }
  return false;
}

static Expected<json::Value> parse(StringRef path) {
  auto file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  StringRef text((*file)->getBytes().data(), (*file)->getBytes().size());
  constexpr size_t maxBytes = 1 << 20;
  if (text.size() > maxBytes)
    return createStringError("it is larger than 1 MiB");
  if (nestsTooDeeply(text))
    return createStringError("it nests too deeply");
  return json::parse(text);
}

/// The integers of `value`, which is one or an array of them (token ids come in both forms).
static DenseI64ArrayAttr getIntegers(Builder &builder, const json::Value &value) {
  SmallVector<int64_t> integers;
  if (std::optional<int64_t> integer = value.getAsInteger())
    integers.push_back(*integer);
  if (const json::Array *array = value.getAsArray())
    for (const json::Value &element : *array)
      if (std::optional<int64_t> integer = element.getAsInteger())
        integers.push_back(*integer);
  return builder.getDenseI64ArrayAttr(integers);
}

static DictionaryAttr getStrings(Builder &builder, const json::Object &object) {
  NamedAttrList strings;
  for (const auto &[key, value] : object)
    if (std::optional<StringRef> text = value.getAsString(); text && !StringRef(key).empty())
      strings.set(StringRef(key), builder.getStringAttr(*text));
  return strings.getDictionary(builder.getContext());
}

static void copyIntegers(Builder &builder, const json::Object &object, ArrayRef<StringRef> keys, NamedAttrList &facts) {
  for (StringRef key : keys)
    if (std::optional<int64_t> value = object.getInteger(key))
      facts.set(key, builder.getI64IntegerAttr(*value));
}

Expected<DictionaryAttr> readGenAIConfig(StringRef modelPath, MLIRContext *context) {
  SmallString<256> path(sys::path::parent_path(modelPath));
  sys::path::append(path, "genai_config.json");
  if (!sys::fs::exists(path))
    return DictionaryAttr();
  Expected<json::Value> config = parse(path);
  if (!config)
    return createStringError("'" + path + "' cannot be read: " + toString(config.takeError()));
  const json::Object *root = config->getAsObject();
  const json::Object *model = root ? root->getObject("model") : nullptr;
  if (!model)
    return createStringError("'" + path + "' has no object 'model'");

  Builder builder(context);
  NamedAttrList facts;
  if (std::optional<StringRef> type = model->getString("type"))
    facts.set("type", builder.getStringAttr(*type));
  copyIntegers(builder, *model, {"vocab_size", "context_length", "pad_token_id"}, facts);
  for (StringRef key : {"bos_token_id", "eos_token_id"})
    if (const json::Value *value = model->get(key))
      facts.set(key, getIntegers(builder, *value));
  if (const json::Object *decoder = model->getObject("decoder")) {
    copyIntegers(builder, *decoder,
                 {"head_size", "hidden_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers"}, facts);
    for (StringRef key : {"inputs", "outputs"})
      if (const json::Object *names = decoder->getObject(key))
        facts.set(key, getStrings(builder, *names));
    if (const json::Object *window = decoder->getObject("sliding_window"))
      copyIntegers(builder, *window, {"window_size"}, facts);
  }
  return facts.getDictionary(context);
}

} // namespace elutq
