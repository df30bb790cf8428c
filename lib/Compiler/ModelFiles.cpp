//===- ModelFiles.cpp - What lies beside a model --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Compiler/ModelFiles.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace elutq;

/// The parser recurses for nested values; what it reads may come from anywhere.
static bool nestsTooDeeply(StringRef text) {
  constexpr int kMaxDepth = 64;
  int depth = 0;
  for (char c : text) {
    if ((c == '[' || c == '{') && ++depth > kMaxDepth)
      return true;
    depth -= c == ']' || c == '}';
  }
  return false;
}

/// The object in `path`; none if there is no such file.
static Expected<std::optional<json::Object>> readObject(StringRef path) {
  if (!sys::fs::exists(path))
    return std::nullopt;
  auto buffer = MemoryBuffer::getFile(path);
  if (!buffer)
    return createStringError("cannot read '%s': %s", path.str().c_str(), buffer.getError().message().c_str());
  if (nestsTooDeeply((*buffer)->getBuffer()))
    return createStringError("'%s' nests too deeply", path.str().c_str());
  auto value = json::parse((*buffer)->getBuffer());
  if (!value)
    return createStringError("'%s' is not JSON: %s", path.str().c_str(), toString(value.takeError()).c_str());
  json::Object *object = value->getAsObject();
  if (!object)
    return createStringError("'%s' is not a JSON object", path.str().c_str());
  return std::optional<json::Object>(std::move(*object));
}

/// Token ids are given as a number or as a list; anything else (null) is none.
static std::vector<int64_t> readIds(const json::Object &object, StringRef key) {
  std::vector<int64_t> ids;
  const json::Value *value = object.get(key);
  if (!value)
    return ids;
  if (auto id = value->getAsInteger())
    ids.push_back(*id);
  else if (const json::Array *list = value->getAsArray())
    for (const json::Value &element : *list)
      if (auto number = element.getAsInteger())
        ids.push_back(*number);
  llvm::erase_if(ids, [](int64_t id) { return id < 0; });
  return ids;
}

/// Fills in what earlier files did not say.
static void merge(ModelFiles &files, const json::Object &object, StringRef contextKey, StringRef typeKey) {
  if (!files.contextLength)
    files.contextLength = object.getInteger(contextKey);
  if (files.bosIds.empty())
    files.bosIds = readIds(object, "bos_token_id");
  if (files.eosIds.empty())
    files.eosIds = readIds(object, "eos_token_id");
  if (files.modelType.empty())
    files.modelType = object.getString(typeKey).value_or("").str();
}

Expected<ModelFiles> elutq::readModelFiles(StringRef modelPath) {
  ModelFiles files;
  auto beside = [&](StringRef name) {
    SmallString<128> path(sys::path::parent_path(modelPath));
    sys::path::append(path, name);
    return path.str().str();
  };
  // The first that knows wins: what generation stops at, what an exporter wrote for runtimes, the architecture.
  auto generation = readObject(beside("generation_config.json"));
  if (!generation)
    return generation.takeError();
  if (*generation)
    merge(files, **generation, "max_position_embeddings", "model_type");
  auto genai = readObject(beside("genai_config.json"));
  if (!genai)
    return genai.takeError();
  if (*genai)
    if (const json::Object *model = (*genai)->getObject("model"))
      merge(files, *model, "context_length", "type");
  auto config = readObject(beside("config.json"));
  if (!config)
    return config.takeError();
  if (*config) {
    if (const json::Object *text = (*config)->getObject("text_config"))
      merge(files, *text, "max_position_embeddings", "model_type");
    merge(files, **config, "max_position_embeddings", "model_type");
  }
  if (files.contextLength && *files.contextLength <= 0)
    files.contextLength.reset();
  if (sys::fs::exists(beside("tokenizer.json")))
    files.tokenizer = beside("tokenizer.json");
  return files;
}
