//===- Utf8.h - UTF-8 helpers -----------------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_UTF8_H
#define ELUTQ_RUNTIME_LIB_UTF8_H

#include <cstdint>
#include <string>
#include <string_view>

namespace elutq::runtime {

inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd"; // U+FFFD

/// Bytes of the well-formed UTF-8 character at the start of `text`. For anything else 0, and `badBytes` receives the
/// length of the ill-formed part that becomes one U+FFFD; `incomplete` tells that it is the cut-off start of a character.
size_t getCharacterLength(std::string_view text, size_t &badBytes, bool &incomplete);

/// Appends `text` with every ill-formed part replaced by U+FFFD.
void appendLossy(std::string_view text, std::string &output);

bool isWellFormed(std::string_view text);

/// Length of the character at the start of well-formed text.
inline size_t getCharacterLength(std::string_view text) {
  unsigned char c = static_cast<unsigned char>(text[0]);
  size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  return length < text.size() ? length : text.size();
}

void appendCharacter(uint32_t codePoint, std::string &output);

/// The code point of the character at the start of well-formed text.
uint32_t getCodePoint(std::string_view text);

/// The byte-level alphabet: the printable character that stands for a byte, and back (-1 for other characters).
uint32_t mapByte(uint8_t byte);
int unmapByte(uint32_t codePoint);

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_UTF8_H
