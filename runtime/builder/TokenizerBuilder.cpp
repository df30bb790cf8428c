//===- TokenizerBuilder.cpp - tokenizer.json to the tokenizer section -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/TokenizerBuilder.h"

#include "TokenizerFormat.h"
#include "TokenizerSteps.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace elutq;
using namespace elutq::tokenizer;
using nlohmann::json;

namespace {
struct MergeRow {
  uint32_t left;
  Merge merge;
};

/// The tables before they are written.
struct Content {
  Header header = {};
  std::unordered_map<std::string, uint32_t> vocab;
  std::vector<std::string> texts; // by id
  std::vector<MergeRow> merges;
  std::vector<Added> added;
};
} // namespace

static constexpr uint32_t kMaxTokens = 1u << 26;

static void setText(Content &content, uint32_t id, const std::string &text) {
  if (id >= kMaxTokens)
    throw TokenizerError("the token '" + text + "' has the id " + std::to_string(id) + ", which is too large");
  if (id >= content.texts.size())
    content.texts.resize(id + 1);
  content.texts[id] = text;
}

static bool isSet(const json &model, const char *key) {
  auto found = model.find(key);
  return found != model.end() && !found->is_null() && !(found->is_string() && found->get<std::string>().empty()) &&
         !(found->is_number() && found->get<double>() == 0);
}

static void readModel(const json &model, Content &content) {
  std::string type = model.value("type", model.contains("merges") ? "BPE" : "unknown");
  if (type != "BPE")
    throw TokenizerError("the tokenizer's model is " + type + ", but only BPE is supported");
  for (const char *key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
    if (isSet(model, key))
      throw TokenizerError(std::string("the tokenizer's model has ") + key + ", which is not supported");
  for (const auto &[text, id] : model.at("vocab").items()) {
    setText(content, id.get<uint32_t>(), text);
    content.vocab.emplace(text, id.get<uint32_t>());
  }
  Header &header = content.header;
  header.flags = (model.value("byte_fallback", false) ? kByteFallback : 0) |
                 (model.value("fuse_unk", false) ? kFuseUnknown : 0) |
                 (model.value("ignore_merges", false) ? kIgnoreMerges : 0);
  auto getId = [&](const std::string &text) {
    auto found = content.vocab.find(text);
    if (found == content.vocab.end())
      throw TokenizerError("'" + text + "' is used, but not in the vocabulary");
    return found->second;
  };
  header.unknownToken = isSet(model, "unk_token") ? getId(model.at("unk_token").get<std::string>()) : kNoToken;

  uint32_t rank = 0;
  for (const json &item : model.at("merges")) {
    std::string left, right;
    if (item.is_string()) {
      std::string both = item.get<std::string>();
      size_t space = both.find(' ');
      if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos)
        throw TokenizerError("the merge '" + both + "' is not two texts");
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else {
      left = item.at(0).get<std::string>();
      right = item.at(1).get<std::string>();
    }
    content.merges.push_back({getId(left), {getId(right), rank++, getId(left + right)}});
  }
  // Of two equal merges, the later counts.
  auto &merges = content.merges;
  std::sort(merges.begin(), merges.end(), [](const MergeRow &a, const MergeRow &b) {
    return std::tie(a.left, a.merge.right, b.merge.rank) < std::tie(b.left, b.merge.right, a.merge.rank);
  });
  merges.erase(std::unique(merges.begin(), merges.end(),
                           [](const MergeRow &a, const MergeRow &b) {
                             return a.left == b.left && a.merge.right == b.merge.right;
                           }),
               merges.end());
}

static void readAdded(const json &root, Content &content) {
  auto found = root.find("added_tokens");
  if (found == root.end() || found->is_null())
    return;
  for (const json &token : *found) {
    uint32_t id = token.at("id").get<uint32_t>();
    setText(content, id, token.at("content").get<std::string>());
    bool special = token.value("special", false);
    uint32_t flags = (special ? kSpecial : 0) | (token.value("lstrip", false) ? kLeftStrip : 0) |
                     (token.value("rstrip", false) ? kRightStrip : 0) |
                     (token.value("single_word", false) ? kSingleWord : 0) |
                     (token.value("normalized", !special) ? kNormalized : 0);
    content.added.push_back({id, flags});
  }
}

/// Appends a table at the next multiple of 8.
template <typename Row>
static Table append(std::string &section, const Row *rows, size_t count) {
  section.resize((section.size() + 7) & ~size_t(7));
  Table table = {section.size(), count * sizeof(Row)};
  if (count)
    section.append(reinterpret_cast<const char *>(rows), count * sizeof(Row));
  return table;
}

static std::vector<uint32_t> makeLookup(const Content &content) {
  size_t slots = 16;
  while (slots < content.vocab.size() + content.vocab.size() / 2)
    slots *= 2;
  std::vector<uint32_t> lookup(slots, 0);
  // In the order of ids, so that the bytes do not depend on the hash map.
  for (uint32_t id = 0; id < content.texts.size(); ++id) {
    auto found = content.vocab.find(content.texts[id]);
    if (found == content.vocab.end() || found->second != id)
      continue;
    size_t slot = XXH3_64bits(found->first.data(), found->first.size()) & (slots - 1);
    while (lookup[slot] != 0)
      slot = (slot + 1) & (slots - 1);
    lookup[slot] = id + 1;
  }
  return lookup;
}

static std::string writeSection(Content &content, const StepWriter &steps) {
  Header &header = content.header;
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.tokenCount = static_cast<uint32_t>(content.texts.size());
  header.mergeCount = static_cast<uint32_t>(content.merges.size());
  header.addedCount = static_cast<uint32_t>(content.added.size());
  header.stepCount = steps.getCount();

  std::string section(sizeof(header), 0);
  std::vector<uint32_t> index = {0};
  std::string texts;
  for (const std::string &text : content.texts) {
    texts += text;
    if (texts.size() > UINT32_MAX)
      throw TokenizerError("the texts of the tokens are larger than 4 GiB");
    index.push_back(static_cast<uint32_t>(texts.size()));
  }
  header.stringIndex = append(section, index.data(), index.size());
  header.stringBytes = append(section, texts.data(), texts.size());
  std::vector<uint32_t> lookup = makeLookup(content);
  header.lookupSlots = static_cast<uint32_t>(lookup.size());
  header.lookup = append(section, lookup.data(), lookup.size());

  std::vector<Merge> merges;
  index.assign(1, 0);
  for (size_t i = 0, left = 0; left < content.texts.size(); ++left) {
    for (; i < content.merges.size() && content.merges[i].left == left; ++i)
      merges.push_back(content.merges[i].merge);
    index.push_back(static_cast<uint32_t>(merges.size()));
  }
  header.mergeIndex = append(section, index.data(), index.size());
  header.merges = append(section, merges.data(), merges.size());
  header.added = append(section, content.added.data(), content.added.size());
  header.steps = append(section, steps.getBytes().data(), steps.getBytes().size());
  std::memcpy(&section[0], &header, sizeof(header));
  return section;
}

static json getOptional(const json &root, const char *key) {
  auto found = root.find(key);
  return found == root.end() ? json() : *found;
}

bool elutq::buildTokenizerSection(std::string_view text, std::string &section, std::string &error) {
  try {
    json root = json::parse(text.begin(), text.end());
    Content content;
    readModel(root.at("model"), content);
    readAdded(root, content);
    StepWriter steps;
    steps.addNormalizer(getOptional(root, "normalizer"));
    steps.addPreTokenizer(getOptional(root, "pre_tokenizer"));
    steps.addDecoder(getOptional(root, "decoder"));
    steps.addPostProcessor(getOptional(root, "post_processor"));
    section = writeSection(content, steps);
    return true;
  } catch (const TokenizerError &exception) {
    error = std::string("tokenizer.json: ") + exception.what();
  } catch (const std::exception &exception) {
    // The JSON library's own texts: bad syntax, missing keys, wrong types.
    error = std::string("tokenizer.json is not a valid tokenizer: ") + exception.what();
  }
  return false;
}
