//===- TokenDecoder.cpp - Tokens to text, as they come --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenDecoder.h"

#include "Utf8.h"

using namespace elutq;
using namespace elutq::runtime;
using tokenizer::Phase;
using tokenizer::Prepending;
using tokenizer::Step;

TokenDecoder::TokenDecoder(const Tokenizer &tokenizer, bool keepSpecial, bool eager)
    : tokenizer(tokenizer), keepSpecial(keepSpecial), eager(eager) {
  bool fused = false;
  for (const TextStep &step : tokenizer.getSteps()) {
    if (step.phase != Phase::Decode)
      continue;
    Stage stage;
    stage.step = &step;
    stage.fused = fused;
    stages.push_back(std::move(stage));
    fused |= step.kind == Step::Fuse || step.kind == Step::UnmapBytes;
  }
}

void TokenDecoder::push(int64_t token, std::string &output) {
  uint32_t id = static_cast<uint32_t>(token);
  std::string_view text = tokenizer.getText(id);
  if (text.empty() || (!keepSpecial && tokenizer.isSpecial(id)))
    return;
  feed(0, text, output);
}

void TokenDecoder::finish(std::string &output) {
  for (size_t i = 0; i < stages.size(); ++i) {
    feedBytes(i, /*end=*/true, output);
    stages[i].stripped = 0;
  }
  // Only now: what came out of an earlier stage has passed the later ones.
  for (Stage &stage : stages)
    stage.started = false;
}

/// The byte of a token "<0xNN>", or -1.
static int getByte(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>')
    return -1;
  int byte = 0;
  for (char c : text.substr(3, 2)) {
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0)
      return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

/// Hands on the characters that are complete; at the end of a run also what is not.
void TokenDecoder::feedBytes(size_t index, bool end, std::string &output) {
  Stage &stage = stages[index];
  if (stage.bytes.empty())
    return;
  bool isJoin = stage.step->kind == Step::JoinBytes;
  bool judgeRun = isJoin && !eager;
  if (judgeRun && !end)
    return;
  std::string text;
  size_t done = 0, badBytes;
  bool incomplete, isBad = false;
  while (done < stage.bytes.size()) {
    std::string_view rest = std::string_view(stage.bytes).substr(done);
    size_t length = getCharacterLength(rest, badBytes, incomplete);
    if (length == 0) {
      if (incomplete && !end)
        break;
      isBad = true;
      // One mark per byte for byte tokens, one per ill-formed part for byte-level text: each as in the reference.
      for (size_t i = 0; i < (isJoin ? badBytes : 1); ++i)
        text += kReplacementCharacter;
      done += badBytes;
      continue;
    }
    text.append(rest, 0, length);
    done += length;
  }
  if (judgeRun && isBad) {
    text.clear();
    for (size_t i = 0; i < stage.bytes.size(); ++i)
      text += kReplacementCharacter;
  }
  stage.bytes.erase(0, done);
  if (!text.empty())
    feed(index + 1, text, output);
}

void TokenDecoder::stripStart(size_t index, std::string_view text, std::string &output) {
  Stage &stage = stages[index];
  const std::string &character = stage.step->text0;
  if (!stage.fused)
    stage.stripped = 0;
  if (!stage.fused || !stage.started) {
    while (stage.stripped < stage.step->argument0 && text.substr(0, character.size()) == character) {
      text.remove_prefix(character.size());
      ++stage.stripped;
    }
    stage.started = !text.empty() || stage.stripped == stage.step->argument0;
  }
  if (!text.empty())
    feed(index + 1, text, output);
}

void TokenDecoder::feed(size_t index, std::string_view text, std::string &output) {
  if (index == stages.size()) {
    output += text;
    return;
  }
  Stage &stage = stages[index];
  const TextStep &step = *stage.step;
  switch (step.kind) {
  case Step::ReplaceText:
    feed(index + 1, replaceAll(text, step.text0, step.text1), output);
    return;
  case Step::JoinBytes: {
    int byte = getByte(text);
    if (byte >= 0) {
      stage.bytes.push_back(static_cast<char>(byte));
      feedBytes(index, /*end=*/false, output);
      return;
    }
    feedBytes(index, /*end=*/true, output);
    feed(index + 1, text, output);
    return;
  }
  case Step::StripStart:
    stripStart(index, text, output);
    return;
  case Step::UnmapBytes: {
    // A token with any other character, e.g. an added one, stands for its own bytes.
    std::string bytes;
    for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(getCharacterLength(rest))) {
      int byte = unmapByte(getCodePoint(rest));
      if (byte < 0) {
        bytes = std::string(text);
        break;
      }
      bytes.push_back(static_cast<char>(byte));
    }
    stage.bytes += bytes;
    feedBytes(index, /*end=*/false, output);
    return;
  }
  case Step::Metaspace: {
    bool drop = !stage.started && static_cast<Prepending>(step.argument0) != Prepending::Never;
    stage.started = true;
    std::string replaced = replaceAll(text, step.text0, drop ? "" : " ");
    feed(index + 1, replaced, output);
    return;
  }
  case Step::JoinWithSpaces:
    if (stage.started)
      feed(index + 1, " ", output);
    stage.started = true;
    feed(index + 1, text, output);
    return;
  default: // Fuse: the stages after it know
    feed(index + 1, text, output);
    return;
  }
}
