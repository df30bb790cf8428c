//===- PatternTranslation.cpp - Expressions of tokenizer.json in PCRE2's syntax -===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PatternTranslation.h"

using namespace elutq;

// The contents of character classes.
static constexpr char kSpace[] =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
static constexpr char kWord[] = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
static constexpr char kDigit[] = R"(\p{Nd})";
static constexpr char kHexDigit[] = "0-9a-fA-F";

static const char *getShorthand(char letter) {
  switch (letter) {
  case 's':
    return kSpace;
  case 'w':
    return kWord;
  case 'd':
    return kDigit;
  case 'h':
    return kHexDigit;
  default:
    return nullptr;
  }
}

bool elutq::translatePattern(std::string_view pattern, std::string &result, std::string &error) {
  result.clear();
  bool inClass = false, hasAnchor = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      char letter = pattern[++i];
      if (const char *content = getShorthand(letter)) {
        result += inClass ? content : "[" + std::string(content) + "]";
      } else if (const char *inverse = letter >= 'A' && letter <= 'Z' ? getShorthand(static_cast<char>(letter + 32)) : nullptr) {
        if (inClass) {
          error = "the expression '" + std::string(pattern) + "' has \\" + letter + " inside brackets, which is not supported";
          return false;
        }
        result += "[^" + std::string(inverse) + "]";
      } else {
        result += c;
        result += letter;
      }
      continue;
    }
    if (inClass) {
      bool isPosix = c == '[' && i + 1 < pattern.size() && pattern[i + 1] == ':';
      if ((c == '[' && !isPosix) || (c == '&' && i + 1 < pattern.size() && pattern[i + 1] == '&')) {
        error = "the expression '" + std::string(pattern) + "' combines character classes, which is not supported";
        return false;
      }
      if (isPosix) {
        size_t end = pattern.find(":]", i);
        if (end == std::string_view::npos)
          end = pattern.size() - 2;
        result.append(pattern, i, end + 2 - i);
        i = end + 1;
        continue;
      }
      inClass = c != ']';
    } else if (c == '[') {
      inClass = true;
      result += c;
      // A bracket directly after the opening one is an ordinary character.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^')
        result += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']')
        result += pattern[++i];
      continue;
    } else if (c == '^' || c == '$') {
      hasAnchor = true;
    }
    result += c;
  }
  if (hasAnchor)
    result = "(?m)" + result;
  return true;
}

std::string elutq::quotePattern(std::string_view text) {
  std::string result;
  for (char c : text) {
    bool isWord = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    // In UTF mode, only ASCII characters may be escaped.
    if (!isWord && static_cast<unsigned char>(c) < 0x80)
      result += '\\';
    result += c;
  }
  return result;
}
