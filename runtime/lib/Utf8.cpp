//===- Utf8.cpp - UTF-8 helpers -------------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Utf8.h"

#include <array>

using namespace elutq::runtime;

size_t elutq::runtime::getCharacterLength(std::string_view text, size_t &badBytes, bool &incomplete) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  incomplete = false;
  badBytes = 1;
  unsigned char first = byte(0);
  if (first < 0x80)
    return 1;
  // The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF.
  size_t length = 0;
  unsigned char low = 0x80, high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    low = first == 0xe0 ? 0xa0 : 0x80;
    high = first == 0xed ? 0x9f : 0xbf;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    low = first == 0xf0 ? 0x90 : 0x80;
    high = first == 0xf4 ? 0x8f : 0xbf;
  } else {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) {
      badBytes = i;
      incomplete = true;
      return 0;
    }
    if (byte(i) < low || byte(i) > high) {
      badBytes = i;
      return 0;
    }
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

void elutq::runtime::appendLossy(std::string_view text, std::string &output) {
  size_t begin = 0, i = 0, badBytes;
  bool incomplete;
  while (i < text.size()) {
    if (size_t length = getCharacterLength(text.substr(i), badBytes, incomplete)) {
      i += length;
      continue;
    }
    output.append(text, begin, i - begin);
    output += kReplacementCharacter;
    i += badBytes;
    begin = i;
  }
  output.append(text, begin, i - begin);
}

bool elutq::runtime::isWellFormed(std::string_view text) {
  size_t badBytes;
  bool incomplete;
  while (!text.empty()) {
    size_t length = getCharacterLength(text, badBytes, incomplete);
    if (length == 0)
      return false;
    text.remove_prefix(length);
  }
  return true;
}

void elutq::runtime::appendCharacter(uint32_t codePoint, std::string &output) {
  auto add = [&](uint32_t byte) { output.push_back(static_cast<char>(byte)); };
  if (codePoint < 0x80) {
    add(codePoint);
  } else if (codePoint < 0x800) {
    add(0xc0 | codePoint >> 6);
    add(0x80 | (codePoint & 0x3f));
  } else if (codePoint < 0x10000) {
    add(0xe0 | codePoint >> 12);
    add(0x80 | (codePoint >> 6 & 0x3f));
    add(0x80 | (codePoint & 0x3f));
  } else {
    add(0xf0 | codePoint >> 18);
    add(0x80 | (codePoint >> 12 & 0x3f));
    add(0x80 | (codePoint >> 6 & 0x3f));
    add(0x80 | (codePoint & 0x3f));
  }
}

uint32_t elutq::runtime::getCodePoint(std::string_view text) {
  size_t length = getCharacterLength(text);
  uint32_t first = static_cast<unsigned char>(text[0]);
  if (length == 1)
    return first;
  uint32_t codePoint = first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i)
    codePoint = codePoint << 6 | (static_cast<unsigned char>(text[i]) & 0x3f);
  return codePoint;
}

/// Printable bytes stand for themselves; the others, in order, get the characters from U+0100 on.
static bool isPrintable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

static std::array<uint16_t, 256> makeByteMap() {
  std::array<uint16_t, 256> map = {};
  uint16_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte)
    map[byte] = isPrintable(byte) ? static_cast<uint16_t>(byte) : next++;
  return map;
}

uint32_t elutq::runtime::mapByte(uint8_t byte) {
  static const std::array<uint16_t, 256> map = makeByteMap();
  return map[byte];
}

int elutq::runtime::unmapByte(uint32_t codePoint) {
  static const std::array<int16_t, 0x144> map = [] {
    std::array<int16_t, 0x144> result;
    result.fill(-1);
    for (unsigned byte = 0; byte < 256; ++byte)
      result[mapByte(static_cast<uint8_t>(byte))] = static_cast<int16_t>(byte);
    return result;
  }();
  return codePoint < map.size() ? map[codePoint] : -1;
}
