//===- TokenizerFormat.h - Layout of the tokenizer section ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// The section is used where it is mapped: nothing is built from it when a model starts, however large the vocabulary.
// All numbers are little endian; every table starts at a multiple of 8 bytes of the section.
//
//   strings        u32 begin[tokenCount + 1], then the bytes of all tokens; a token that does not exist is empty
//   lookup         u32 slot[lookupSlots]: id + 1, or 0; a token's first slot is XXH3-64(bytes) & (lookupSlots - 1),
//                  the following slots are tried in turn; only tokens of the vocabulary proper, not the added ones
//   merges         u32 begin[tokenCount + 1] by left id, then Merge[mergeCount] sorted by right id within a left id
//   added          Added[addedCount], any order
//   steps          stepCount records: u32 phase, kind, argument0, argument1, bytes0, bytes1; then the two texts,
//                  padded to a multiple of 4
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_TOKENIZERFORMAT_H
#define ELUTQ_RUNTIME_LIB_TOKENIZERFORMAT_H

#include <cstdint>

namespace elutq::tokenizer {

inline constexpr char kMagic[8] = {'E', 'L', 'U', 'T', 'Q', 'T', 'O', 'K'};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kNoToken = ~uint32_t(0);

enum Flag : uint32_t {
  kByteFallback = 1, ///< A character without token becomes the tokens <0xNN> of its bytes
  kFuseUnknown = 2,  ///< Neighbouring unknown characters become one unknown token
  kIgnoreMerges = 4  ///< A piece that is a token as a whole is not cut
};

struct Table {
  uint64_t offset; ///< From the section's start
  uint64_t bytes;
};

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t flags;
  uint32_t tokenCount;
  uint32_t unknownToken; ///< kNoToken: unknown characters vanish
  uint32_t mergeCount;
  uint32_t lookupSlots; ///< A power of two, more than the tokens in it
  uint32_t addedCount;
  uint32_t stepCount;
  Table stringIndex, stringBytes, lookup, mergeIndex, merges, added, steps;
};
static_assert(sizeof(Header) == 40 + 7 * sizeof(Table), "the header has no padding");

struct Merge {
  uint32_t right;
  uint32_t rank; ///< Lower ranks are merged first
  uint32_t result;
};

enum AddedFlag : uint32_t {
  kSpecial = 1,
  kLeftStrip = 2,  ///< Takes the spaces before it
  kRightStrip = 4, ///< Takes the spaces after it
  kSingleWord = 8, ///< Only where no word character is next to it
  kNormalized = 16 ///< Searched in the normalized text
};

struct Added {
  uint32_t id;
  uint32_t flags; ///< AddedFlag
};

enum class Phase : uint32_t { Normalize = 1, Split = 2, Decode = 3, Template = 4 };

/// What a step does; the texts and arguments it uses are in brackets.
enum class Step : uint32_t {
  // Normalize: the whole text between added tokens.
  UnicodeForm = 1, ///< [argument0: Form]
  ReplaceText,     ///< [text0 -> text1]; also Decode
  ReplacePattern,  ///< [regular expression text0 -> text1]
  Prepend,         ///< [text0]
  StripSpaces,     ///< [argument0: 1 left, 2 right, 3 both]
  // Split: each piece.
  SplitPattern = 32, ///< [regular expression text0, argument0: Behavior, argument1: 1 to swap matches and gaps]
  Metaspace,         ///< [replacement text0, argument0: Prepending]; also Decode
  PrefixSpace,       ///< A space before a piece that does not start with one
  MapBytes,          ///< Every byte becomes the character that stands for it
  // Decode.
  JoinBytes = 64, ///< <0xNN> tokens become bytes
  Fuse,           ///< All texts become one
  StripStart,     ///< [character text0, argument0: at most so many of it at the start of each text]
  UnmapBytes,     ///< Every character becomes the byte that it stands for
  JoinWithSpaces, ///< A space between tokens
  // Template.
  Before = 96, ///< [token argument0]
  After
};

enum class Form : uint32_t { NFC = 1, NFD, NFKC, NFKD };

/// What happens to a match of SplitPattern.
enum class Behavior : uint32_t { Removed = 1, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

enum class Prepending : uint32_t { Never = 1, Always, First };

} // namespace elutq::tokenizer

#endif // ELUTQ_RUNTIME_LIB_TOKENIZERFORMAT_H
