//===- TokenizerSteps.cpp - The steps of a tokenizer.json -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerSteps.h"

#include "PatternTranslation.h"
#include "Utf8.h"

using namespace elutq;
using namespace elutq::tokenizer;
using nlohmann::json;

/// What GPT-2 splits words with.
static constexpr char kByteLevelPattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
static constexpr char kPunctuationPattern[] = R"([\p{P}\$\+<=>\^`\|~])";

static void appendNumber(std::string &bytes, uint32_t number) {
  for (int shift = 0; shift < 32; shift += 8)
    bytes.push_back(static_cast<char>(number >> shift & 0xff));
}

static std::string getType(const json &config) { return config.at("type").get<std::string>(); }

/// The elements of a Sequence. Real files nest once or twice.
static const json &getParts(const json &config, const char *key, int depth) {
  if (depth > 8)
    throw TokenizerError("sequences are nested too deeply");
  return config.at(key);
}

static uint32_t getPrepending(const json &config) {
  std::string scheme = config.value("prepend_scheme", config.value("add_prefix_space", true) ? "always" : "never");
  if (scheme == "always")
    return static_cast<uint32_t>(Prepending::Always);
  if (scheme == "first")
    return static_cast<uint32_t>(Prepending::First);
  if (scheme == "never")
    return static_cast<uint32_t>(Prepending::Never);
  throw TokenizerError("Metaspace has the unknown prepend_scheme '" + scheme + "'");
}

static Behavior getBehavior(const std::string &name) {
  if (name == "Removed")
    return Behavior::Removed;
  if (name == "Isolated")
    return Behavior::Isolated;
  if (name == "MergedWithPrevious")
    return Behavior::MergedWithPrevious;
  if (name == "MergedWithNext")
    return Behavior::MergedWithNext;
  if (name == "Contiguous")
    return Behavior::Contiguous;
  throw TokenizerError("a split has the unknown behavior '" + name + "'");
}

static std::string translate(const std::string &pattern) {
  std::string result, error;
  if (!translatePattern(pattern, result, error))
    throw TokenizerError(error);
  return result;
}

/// {"String": ...} or {"Regex": ...} as an expression.
static std::string getPattern(const json &pattern) {
  if (pattern.contains("String"))
    return quotePattern(pattern.at("String").get<std::string>());
  return translate(pattern.at("Regex").get<std::string>());
}

void StepWriter::add(Phase phase, Step kind, uint32_t argument0, uint32_t argument1, const std::string &text0,
                     const std::string &text1) {
  for (uint32_t field : {static_cast<uint32_t>(phase), static_cast<uint32_t>(kind), argument0, argument1,
                         static_cast<uint32_t>(text0.size()), static_cast<uint32_t>(text1.size())})
    appendNumber(bytes, field);
  bytes += text0;
  bytes += text1;
  bytes.resize((bytes.size() + 3) & ~size_t(3));
  ++count;
}

void StepWriter::addSplit(const std::string &pattern, Behavior behavior, bool invert) {
  add(Phase::Split, Step::SplitPattern, static_cast<uint32_t>(behavior), invert, pattern);
}

void StepWriter::addNormalizer(const json &config, int depth) {
  if (config.is_null())
    return;
  std::string type = getType(config);
  if (type == "Sequence") {
    for (const json &part : getParts(config, "normalizers", depth))
      addNormalizer(part, depth + 1);
    return;
  }
  static const std::pair<const char *, Form> forms[] = {
      {"NFC", Form::NFC}, {"NFD", Form::NFD}, {"NFKC", Form::NFKC}, {"NFKD", Form::NFKD}};
  for (const auto &[name, form] : forms)
    if (type == name)
      return add(Phase::Normalize, Step::UnicodeForm, static_cast<uint32_t>(form));
  if (type == "Replace") {
    const json &pattern = config.at("pattern");
    std::string content = config.at("content").get<std::string>();
    if (!pattern.contains("String"))
      return add(Phase::Normalize, Step::ReplacePattern, 0, 0, getPattern(pattern), content);
    std::string text = pattern.at("String").get<std::string>();
    if (!text.empty())
      add(Phase::Normalize, Step::ReplaceText, 0, 0, text, content);
    return;
  }
  if (type == "Prepend")
    return add(Phase::Normalize, Step::Prepend, 0, 0, config.at("prepend").get<std::string>());
  if (type == "Strip") {
    uint32_t sides = (config.value("strip_left", true) ? 1 : 0) + (config.value("strip_right", true) ? 2 : 0);
    if (sides)
      add(Phase::Normalize, Step::StripSpaces, sides);
    return;
  }
  throw TokenizerError("the normalizer " + type + " is not supported (supported: NFC, NFD, NFKC, NFKD, Replace, Prepend, "
                                                  "Strip, Sequence)");
}

void StepWriter::addPreTokenizer(const json &config, int depth) {
  if (config.is_null())
    return;
  std::string type = getType(config);
  if (type == "Sequence") {
    for (const json &part : getParts(config, "pretokenizers", depth))
      addPreTokenizer(part, depth + 1);
  } else if (type == "Split") {
    addSplit(getPattern(config.at("pattern")), getBehavior(config.at("behavior").get<std::string>()),
             config.value("invert", false));
  } else if (type == "ByteLevel") {
    if (config.value("add_prefix_space", true))
      add(Phase::Split, Step::PrefixSpace);
    if (config.value("use_regex", true))
      addSplit(translate(kByteLevelPattern), Behavior::Isolated);
    add(Phase::Split, Step::MapBytes);
  } else if (type == "Metaspace") {
    std::string replacement = config.at("replacement").get<std::string>();
    add(Phase::Split, Step::Metaspace, getPrepending(config), 0, replacement);
    if (config.value("split", true))
      addSplit(quotePattern(replacement), Behavior::MergedWithNext);
  } else if (type == "Digits") {
    addSplit(R"(\p{N})", config.value("individual_digits", false) ? Behavior::Isolated : Behavior::Contiguous);
  } else if (type == "Punctuation") {
    addSplit(kPunctuationPattern, getBehavior(config.value("behavior", "Isolated")));
  } else if (type == "Whitespace") {
    addSplit(translate(R"(\w+|[^\w\s]+)"), Behavior::Removed, /*invert=*/true);
  } else if (type == "WhitespaceSplit") {
    addSplit(translate(R"(\s)"), Behavior::Removed);
  } else {
    throw TokenizerError("the pre-tokenizer " + type +
                         " is not supported (supported: Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, "
                         "WhitespaceSplit, Sequence)");
  }
}

void StepWriter::addDecoder(const json &config) {
  if (config.is_null())
    return add(Phase::Decode, Step::JoinWithSpaces);
  bool fused = false;
  addDecoderStep(config, fused, 0);
}

void StepWriter::addDecoderStep(const json &config, bool &fused, int depth) {
  std::string type = getType(config);
  if (type == "Sequence") {
    for (const json &part : getParts(config, "decoders", depth))
      addDecoderStep(part, fused, depth + 1);
  } else if (type == "Replace") {
    const json &pattern = config.at("pattern");
    std::string text = pattern.contains("String") ? pattern.at("String").get<std::string>() : std::string();
    // Text comes in pieces once tokens are fused, and a longer text could lie across two of them.
    if (text.empty() || (fused && runtime::getCharacterLength(text) != text.size()))
      throw TokenizerError("a decoder replaces an expression, or several characters after Fuse, which is not supported");
    add(Phase::Decode, Step::ReplaceText, 0, 0, text, config.at("content").get<std::string>());
  } else if (type == "ByteFallback") {
    add(Phase::Decode, Step::JoinBytes);
  } else if (type == "Fuse") {
    add(Phase::Decode, Step::Fuse);
    fused = true;
  } else if (type == "Strip") {
    if (config.value("stop", 0) != 0)
      throw TokenizerError("the decoder strips the end of the text, which is not supported");
    add(Phase::Decode, Step::StripStart, config.at("start").get<uint32_t>(), 0, config.at("content").get<std::string>());
  } else if (type == "ByteLevel") {
    add(Phase::Decode, Step::UnmapBytes);
    fused = true;
  } else if (type == "Metaspace") {
    add(Phase::Decode, Step::Metaspace, getPrepending(config), 0, config.at("replacement").get<std::string>());
  } else {
    throw TokenizerError("the decoder " + type + " is not supported (supported: Replace, ByteFallback, Fuse, Strip, "
                                                 "ByteLevel, Metaspace, Sequence)");
  }
}

void StepWriter::addPostProcessor(const json &config) {
  bool found = false;
  if (!config.is_null())
    addTemplate(config, found, 0);
}

void StepWriter::addTemplate(const json &config, bool &found, int depth) {
  std::string type = getType(config);
  if (type == "Sequence") {
    for (const json &part : getParts(config, "processors", depth))
      addTemplate(part, found, depth + 1);
    return;
  }
  if (type == "ByteLevel") // only changes offsets
    return;
  if (found)
    throw TokenizerError("there are two post-processors that add tokens, which is not supported");
  found = true;
  auto addToken = [&](bool isBefore, uint32_t id) {
    add(Phase::Template, isBefore ? Step::Before : Step::After, id);
  };
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    addToken(true, config.at("cls").at(1).get<uint32_t>());
    addToken(false, config.at("sep").at(1).get<uint32_t>());
  } else if (type == "TemplateProcessing") {
    bool isBefore = true;
    for (const json &item : config.at("single")) {
      if (item.contains("Sequence")) {
        isBefore = false;
        continue;
      }
      const json &name = item.at("SpecialToken").at("id");
      for (const json &id : config.at("special_tokens").at(name.get<std::string>()).at("ids"))
        addToken(isBefore, id.get<uint32_t>());
    }
  } else {
    throw TokenizerError("the post-processor " + type + " is not supported (supported: TemplateProcessing, "
                                                        "BertProcessing, RobertaProcessing, ByteLevel, Sequence)");
  }
}
