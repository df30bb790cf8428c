//===- Tokenizer.cpp - Text to tokens and back ----------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Tokenizer.h"

#include "Utf8.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#define UTF8PROC_STATIC
#include <utf8proc.h>

using namespace elutq;
using namespace elutq::runtime;
using namespace elutq::tokenizer;

static Status damaged(const std::string &what) {
  return Status(ELUTQ_ERROR_FORMAT, "the tokenizer is damaged: " + what + "; compile the model again");
}

/// The rows of a table of `bytes` bytes, which must be whole; null when they are not as many as expected.
template <typename Row>
static const Row *getRows(std::string_view section, const Table &table, uint64_t count) {
  if (table.offset % 8 != 0 || table.offset > section.size() || table.bytes > section.size() - table.offset ||
      table.bytes != count * sizeof(Row))
    return nullptr;
  return reinterpret_cast<const Row *>(section.data() + table.offset);
}

/// Whether `index` grows from 0 to `end` over count + 1 entries.
static bool isIndex(const uint32_t *index, uint64_t count, uint64_t end) {
  if (index[0] != 0 || index[count] != end)
    return false;
  for (uint64_t i = 0; i < count; ++i)
    if (index[i] > index[i + 1])
      return false;
  return true;
}

Status Tokenizer::load(std::string_view section, std::unique_ptr<const Tokenizer> &result) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  if (Status status = tokenizer->check(section); !status.ok())
    return status;
  result = std::move(tokenizer);
  return Status();
}

Status Tokenizer::check(std::string_view section) {
  if (section.size() < sizeof(header) || reinterpret_cast<uintptr_t>(section.data()) % 8 != 0)
    return damaged("it is too short");
  std::memcpy(&header, section.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    return damaged("its magic number is wrong");
  if (header.version != kVersion)
    return Status(ELUTQ_ERROR_FORMAT, "the tokenizer has version " + std::to_string(header.version) +
                                          ", but this runtime reads version " + std::to_string(kVersion) +
                                          "; compile the model again");
  uint64_t tokens = header.tokenCount;
  if (header.unknownToken != kNoToken && header.unknownToken >= tokens)
    return damaged("the unknown token does not exist");
  stringIndex = getRows<uint32_t>(section, header.stringIndex, tokens + 1);
  const char *bytes = getRows<char>(section, header.stringBytes, header.stringBytes.bytes);
  if (!stringIndex || !bytes || !isIndex(stringIndex, tokens, header.stringBytes.bytes))
    return damaged("the table of texts is wrong");
  stringBytes = std::string_view(bytes, header.stringBytes.bytes);

  uint64_t slots = header.lookupSlots;
  lookup = getRows<uint32_t>(section, header.lookup, slots);
  if (!lookup || slots == 0 || (slots & (slots - 1)) != 0)
    return damaged("the look-up table is wrong");
  // Without a free slot, the search for a text that is not there would not end.
  bool free = false;
  for (uint64_t i = 0; i < slots; ++i) {
    free |= lookup[i] == 0;
    if (lookup[i] > tokens)
      return damaged("the look-up table names a token that does not exist");
  }
  if (!free)
    return damaged("the look-up table is full");

  mergeIndex = getRows<uint32_t>(section, header.mergeIndex, tokens + 1);
  merges = getRows<Merge>(section, header.merges, header.mergeCount);
  if (!mergeIndex || !merges || !isIndex(mergeIndex, tokens, header.mergeCount))
    return damaged("the table of merges is wrong");
  for (uint64_t i = 0; i < header.mergeCount; ++i)
    if (merges[i].right >= tokens || merges[i].result >= tokens)
      return damaged("a merge names a token that does not exist");

  for (unsigned byte = 0; byte < 256; ++byte) {
    static const char digits[] = "0123456789ABCDEF";
    char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
    byteTokens[byte] = lookUp(std::string_view(text, sizeof(text)));
  }

  if (!getRows<char>(section, header.steps, header.steps.bytes) ||
      !getRows<Added>(section, header.added, header.addedCount))
    return damaged("a table lies outside it");
  if (Status status = readSteps(section.substr(header.steps.offset, header.steps.bytes)); !status.ok())
    return status;
  return readAdded(section.substr(header.added.offset, header.added.bytes));
}

Status Tokenizer::readSteps(std::string_view table) {
  // Steps call each other; no real tokenizer has more.
  if (header.stepCount > 256)
    return damaged("it has too many steps");
  for (uint32_t i = 0; i < header.stepCount; ++i) {
    uint32_t fields[6];
    if (table.size() < sizeof(fields))
      return damaged("the list of steps is too short");
    std::memcpy(fields, table.data(), sizeof(fields));
    table.remove_prefix(sizeof(fields));
    uint64_t bytes = (uint64_t(fields[4]) + fields[5] + 3) & ~uint64_t(3);
    if (bytes > table.size())
      return damaged("the list of steps is too short");
    TextStep step{static_cast<Phase>(fields[0]), static_cast<Step>(fields[1]),    fields[2], fields[3],
                  std::string(table.substr(0, fields[4])), std::string(table.substr(fields[4], fields[5])), Pattern()};
    table.remove_prefix(bytes);
    if (!isWellFormed(step.text0) || !isWellFormed(step.text1))
      return damaged("a step's text is not UTF-8");
    if (Status status = step.prepare(); !status.ok())
      return status;
    if (step.phase == Phase::Template) {
      if (step.argument0 >= header.tokenCount)
        return damaged("the template names a token that does not exist");
      (step.kind == Step::Before ? before : after).push_back(step.argument0);
    }
    steps.push_back(std::move(step));
  }
  return Status();
}

Status Tokenizer::readAdded(std::string_view table) {
  for (uint32_t i = 0; i < header.addedCount; ++i) {
    Added added;
    std::memcpy(&added, table.data() + i * sizeof(added), sizeof(added));
    if (added.id >= header.tokenCount)
      return damaged("an added token does not exist");
    std::string text(getText(added.id));
    // Otherwise it could match a part of a character and leave ill-formed text behind.
    if (!isWellFormed(text))
      return damaged("an added token is not UTF-8");
    if (added.flags & kSpecial)
      special.push_back(added.id);
    bool isNormalized = (added.flags & kNormalized) != 0;
    if (isNormalized)
      if (Status status = normalize(steps, text); !status.ok())
        return status;
    if (text.empty())
      continue;
    AddedSet &set = isNormalized ? normalized : raw;
    set.first[static_cast<unsigned char>(text[0])] = true;
    set.tokens.push_back({std::move(text), added.id, added.flags});
  }
  std::sort(special.begin(), special.end());
  for (AddedSet *set : {&raw, &normalized})
    std::sort(set->tokens.begin(), set->tokens.end(),
              [](const AddedToken &a, const AddedToken &b) { return std::tie(a.text, a.id) < std::tie(b.text, b.id); });
  return Status();
}

std::string_view Tokenizer::getText(uint32_t id) const {
  if (id >= header.tokenCount)
    return std::string_view();
  return stringBytes.substr(stringIndex[id], stringIndex[id + 1] - stringIndex[id]);
}

bool Tokenizer::isSpecial(uint32_t id) const { return std::binary_search(special.begin(), special.end(), id); }

/// The longest added token that `text` starts with.
const Tokenizer::AddedToken *Tokenizer::findAdded(const AddedSet &set, std::string_view text) const {
  // Each round keeps the tokens that agree with the text in one more byte; the first of them is the shortest.
  const AddedToken *longest = nullptr;
  auto low = set.tokens.begin(), high = set.tokens.end();
  for (size_t length = 1; length <= text.size() && low != high; ++length) {
    unsigned char byte = static_cast<unsigned char>(text[length - 1]);
    auto getByte = [&](const AddedToken &token) { return static_cast<unsigned char>(token.text[length - 1]); };
    low = std::partition_point(low, high, [&](const AddedToken &token) { return getByte(token) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken &token) { return getByte(token) <= byte; });
    // Tokens that end here sort before the longer ones.
    for (; low != high && low->text.size() == length; ++low)
      if (!longest || longest->text.size() < length)
        longest = &*low;
  }
  return longest;
}

static bool isWordCharacter(uint32_t codePoint) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(codePoint))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    return false;
  }
}

/// Where the last character before `end` begins.
static size_t getPrevious(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80)
    --begin;
  return begin;
}

static bool isSpaceAt(std::string_view text, size_t position) {
  uint32_t c = getCodePoint(text.substr(position));
  return (c >= 9 && c <= 13) || c == 0x85 || utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ZS ||
         c == 0x2028 || c == 0x2029;
}

void Tokenizer::splitAdded(const AddedSet &set, std::string_view text, bool plainSpecial,
                           std::vector<Segment> &segments) const {
  size_t textBegin = 0, position = 0;
  while (position < text.size()) {
    const AddedToken *token = nullptr;
    if (set.first[static_cast<unsigned char>(text[position])])
      token = findAdded(set, text.substr(position));
    if (!token) {
      ++position;
      continue;
    }
    size_t begin = position, end = position + token->text.size();
    position = end;
    if (plainSpecial && (token->flags & kSpecial))
      continue;
    if (token->flags & kSingleWord)
      if ((begin > 0 && isWordCharacter(getCodePoint(text.substr(getPrevious(text, begin))))) ||
          (end < text.size() && isWordCharacter(getCodePoint(text.substr(end)))))
        continue;
    if (token->flags & kLeftStrip)
      while (begin > textBegin && isSpaceAt(text, getPrevious(text, begin)))
        begin = getPrevious(text, begin);
    if (token->flags & kRightStrip)
      while (end < text.size() && isSpaceAt(text, end))
        end += getCharacterLength(text.substr(end));
    if (begin > textBegin)
      segments.push_back({textBegin, begin, kNoToken});
    segments.push_back({begin, end, token->id});
    textBegin = end;
  }
  if (textBegin < text.size())
    segments.push_back({textBegin, text.size(), kNoToken});
}

Status Tokenizer::encodeText(std::string_view text, bool atStart, std::vector<int64_t> &ids) const {
  Pieces pieces;
  pieces.text = std::string(text);
  if (!text.empty())
    pieces.ranges.push_back({0, text.size()});
  if (Status status = split(steps, atStart, pieces); !status.ok())
    return status;
  return encodePieces(pieces, ids);
}

Status Tokenizer::encode(std::string_view text, uint32_t flags, std::vector<int64_t> &ids) const {
  // Positions inside a text are 32-bit numbers, and steps can make a text several times as long.
  if (text.size() > size_t(1) << 28)
    return Status(ELUTQ_ERROR_ARGUMENT, "the text is longer than 256 MiB");
  if (flags & ELUTQ_ADD_BOS)
    ids.insert(ids.end(), before.begin(), before.end());
  std::string lossy;
  appendLossy(text, lossy);
  bool plainSpecial = (flags & ELUTQ_PLAIN_SPECIAL) != 0;
  std::vector<Segment> outer, inner;
  splitAdded(raw, lossy, plainSpecial, outer);
  for (const Segment &segment : outer) {
    if (segment.id != kNoToken) {
      ids.push_back(segment.id);
      continue;
    }
    std::string part = lossy.substr(segment.begin, segment.end - segment.begin);
    if (Status status = normalize(steps, part); !status.ok())
      return status;
    inner.clear();
    splitAdded(normalized, part, plainSpecial, inner);
    for (const Segment &piece : inner) {
      if (piece.id != kNoToken) {
        ids.push_back(piece.id);
        continue;
      }
      std::string_view view = std::string_view(part).substr(piece.begin, piece.end - piece.begin);
      if (Status status = encodeText(view, segment.begin == 0 && piece.begin == 0, ids); !status.ok())
        return status;
    }
  }
  if (flags & ELUTQ_ADD_EOS)
    ids.insert(ids.end(), after.begin(), after.end());
  return Status();
}
