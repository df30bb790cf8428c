//===- TokenizerBPE.cpp - Merging symbols into tokens ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Tokenizer.h"

#include "Utf8.h"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace elutq;
using namespace elutq::runtime;
using namespace elutq::tokenizer;

namespace {
/// A token of a piece, in a doubly linked list by position.
struct Symbol {
  uint32_t id;
  int32_t previous, next; // -1: none
  bool alive;
};

/// A pair of neighbours that can be merged. Entries go stale when one of the two is merged with somebody else.
struct Candidate {
  uint32_t rank;
  int32_t left;
  uint32_t result;

  /// std::push_heap keeps the largest in front: the lowest rank, then the leftmost pair, must come first.
  bool operator<(const Candidate &other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};
} // namespace

/// Memory used again for each piece.
struct Tokenizer::Scratch {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

uint32_t Tokenizer::lookUp(std::string_view text) const {
  uint32_t mask = header.lookupSlots - 1;
  for (uint32_t slot = static_cast<uint32_t>(XXH3_64bits(text.data(), text.size())) & mask; lookup[slot] != 0;
       slot = (slot + 1) & mask)
    if (getText(lookup[slot] - 1) == text)
      return lookup[slot] - 1;
  return kNoToken;
}

const Merge *Tokenizer::findMerge(uint32_t left, uint32_t right) const {
  const Merge *begin = merges + mergeIndex[left], *end = merges + mergeIndex[left + 1];
  const Merge *found =
      std::lower_bound(begin, end, right, [](const Merge &merge, uint32_t value) { return merge.right < value; });
  return found != end && found->right == right ? found : nullptr;
}

/// The piece's characters as tokens, before any merge.
void Tokenizer::addSymbols(std::string_view piece, Scratch &scratch) const {
  std::vector<Symbol> &symbols = scratch.symbols;
  symbols.clear();
  auto add = [&](uint32_t id) { symbols.push_back({id, -1, -1, true}); };
  bool unknown = false; // an unknown token waits for more unknown characters
  while (!piece.empty()) {
    std::string_view character = piece.substr(0, getCharacterLength(piece));
    piece.remove_prefix(character.size());
    uint32_t id = lookUp(character);
    if (id != kNoToken) {
      if (unknown)
        add(header.unknownToken);
      unknown = false;
      add(id);
      continue;
    }
    auto hasToken = [&](char c) { return byteTokens[static_cast<unsigned char>(c)] != kNoToken; };
    if ((header.flags & kByteFallback) && std::all_of(character.begin(), character.end(), hasToken)) {
      for (char c : character)
        add(byteTokens[static_cast<unsigned char>(c)]);
      continue;
    }
    if (header.unknownToken == kNoToken)
      continue;
    if (unknown && !(header.flags & kFuseUnknown))
      add(header.unknownToken);
    unknown = true;
  }
  if (unknown)
    add(header.unknownToken);
}

/// Merges the pair of the lowest rank, the leftmost of equals, until there is none: O(n log n).
void Tokenizer::mergeSymbols(Scratch &scratch) const {
  std::vector<Symbol> &symbols = scratch.symbols;
  std::vector<Candidate> &heap = scratch.heap;
  heap.clear();
  auto getCandidate = [&](int32_t left, Candidate &candidate) {
    int32_t right = symbols[left].next;
    if (right < 0)
      return false;
    const Merge *merge = findMerge(symbols[left].id, symbols[right].id);
    if (merge)
      candidate = {merge->rank, left, merge->result};
    return merge != nullptr;
  };

  int32_t count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : -1;
  }
  Candidate candidate;
  for (int32_t i = 0; i < count; ++i)
    if (getCandidate(i, candidate))
      heap.push_back(candidate);
  std::make_heap(heap.begin(), heap.end());

  while (!heap.empty()) {
    Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    Symbol &left = symbols[top.left];
    if (!left.alive || left.next < 0)
      continue;
    const Merge *merge = findMerge(left.id, symbols[left.next].id);
    if (!merge || merge->result != top.result)
      continue;

    Symbol &right = symbols[left.next];
    right.alive = false;
    left.id = top.result;
    left.next = right.next;
    if (left.next >= 0)
      symbols[left.next].previous = top.left;
    for (int32_t first : {left.previous, top.left}) {
      if (first < 0 || !getCandidate(first, candidate))
        continue;
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end());
    }
  }
}

Status Tokenizer::encodePieces(const Pieces &pieces, std::vector<int64_t> &ids) const {
  Scratch scratch;
  for (const Pieces::Range &range : pieces.ranges) {
    std::string_view piece = pieces.get(range);
    if (piece.size() > size_t(INT32_MAX))
      return Status(ELUTQ_ERROR_ARGUMENT, "the text is too long");
    if (header.flags & kIgnoreMerges) {
      uint32_t id = lookUp(piece);
      if (id != kNoToken) {
        ids.push_back(id);
        continue;
      }
    }
    addSymbols(piece, scratch);
    mergeSymbols(scratch);
    for (const Symbol &symbol : scratch.symbols)
      if (symbol.alive)
        ids.push_back(symbol.id);
  }
  return Status();
}
