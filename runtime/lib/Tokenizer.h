//===- Tokenizer.h - Text to tokens and back --------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_TOKENIZER_H
#define ELUTQ_RUNTIME_LIB_TOKENIZER_H

#include "Status.h"
#include "TextSteps.h"
#include "TokenizerFormat.h"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace elutq::runtime {

/// Byte-pair encoding as Hugging Face's tokenizers defines it, over a mapped tokenizer section.
class Tokenizer {
public:
  /// Checks the section, whose bytes must stay valid.
  static Status load(std::string_view section, std::unique_ptr<const Tokenizer> &tokenizer);

  /// Appends the tokens of `text`; ill-formed UTF-8 is read as U+FFFD. flags: ELUTQ_ADD_BOS and others.
  Status encode(std::string_view text, uint32_t flags, std::vector<int64_t> &ids) const;

  /// Tokens, the added ones included; ids from here on have no text.
  uint32_t getTokenCount() const { return header.tokenCount; }
  std::string_view getText(uint32_t id) const;
  bool isSpecial(uint32_t id) const;
  const std::vector<TextStep> &getSteps() const { return steps; }

private:
  struct AddedToken {
    std::string text;
    uint32_t id;
    uint32_t flags;
  };
  /// Added tokens sorted by their text, and which first bytes occur.
  struct AddedSet {
    std::vector<AddedToken> tokens;
    std::array<bool, 256> first = {};
  };
  /// A part of the text: an added token, or text without one.
  struct Segment {
    size_t begin, end;
    uint32_t id; // kNoToken for text
  };

  Status check(std::string_view section);
  Status readSteps(std::string_view table);
  Status readAdded(std::string_view table);
  const AddedToken *findAdded(const AddedSet &set, std::string_view text) const;
  void splitAdded(const AddedSet &set, std::string_view text, bool plainSpecial, std::vector<Segment> &segments) const;
  Status encodeText(std::string_view text, bool atStart, std::vector<int64_t> &ids) const;

  // TokenizerBPE.cpp
  struct Scratch;
  uint32_t lookUp(std::string_view text) const;
  const tokenizer::Merge *findMerge(uint32_t left, uint32_t right) const;
  void addSymbols(std::string_view piece, Scratch &scratch) const;
  void mergeSymbols(Scratch &scratch) const;
  Status encodePieces(const Pieces &pieces, std::vector<int64_t> &ids) const;

  tokenizer::Header header = {};
  const uint32_t *stringIndex = nullptr;
  std::string_view stringBytes;
  const uint32_t *lookup = nullptr;
  const uint32_t *mergeIndex = nullptr;
  const tokenizer::Merge *merges = nullptr;
  std::vector<TextStep> steps;
  std::vector<int64_t> before, after;
  AddedSet raw, normalized;
  std::vector<uint32_t> special; // sorted ids
  std::array<uint32_t, 256> byteTokens; // <0xNN>
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_TOKENIZER_H
