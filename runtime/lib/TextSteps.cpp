//===- TextSteps.cpp - Normalizing and splitting before BPE ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TextSteps.h"

#include "Utf8.h"

#include <cstdlib>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#define UTF8PROC_STATIC
#include <utf8proc.h>

using namespace elutq;
using namespace elutq::runtime;
using tokenizer::Behavior;
using tokenizer::Form;
using tokenizer::Phase;
using tokenizer::Prepending;
using tokenizer::Step;

static std::string getErrorText(int error) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(error, buffer, sizeof(buffer)) < 0)
    return "error " + std::to_string(error);
  return reinterpret_cast<const char *>(buffer);
}

void Pattern::Free::operator()(pcre2_real_code_8 *code) const { pcre2_code_free(code); }

Status Pattern::compile(std::string_view expression, Pattern &pattern) {
  int error = 0;
  PCRE2_SIZE where = 0;
  pattern.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr));
  if (!pattern.code)
    return Status(ELUTQ_ERROR_FORMAT, "cannot compile the tokenizer's expression '" + std::string(expression) +
                                          "' at " + std::to_string(where) + ": " + getErrorText(error));
  // Where the system forbids to write code, matching falls back to the interpreter by itself.
  pcre2_jit_compile(pattern.code.get(), PCRE2_JIT_COMPLETE);
  return Status();
}

Status Pattern::findAll(std::string_view text, std::vector<Match> &matches) const {
  matches.clear();
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> data(
      pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free);
  if (!data)
    return Status(ELUTQ_ERROR_MEMORY, "not enough memory to split the text");
  // The text is known to be well-formed; checking it again for each match would be quadratic.
  constexpr uint32_t kOptions = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (size_t offset = 0; offset < text.size();) {
    int result = pcre2_match(code.get(), subject, text.size(), offset, kOptions, data.get(), nullptr);
    // The compiled form has a small stack; the interpreter uses the heap.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
      result = pcre2_match(code.get(), subject, text.size(), offset, kOptions | PCRE2_NO_JIT, data.get(), nullptr);
    if (result == PCRE2_ERROR_NOMATCH)
      break;
    if (result < 0)
      return Status(ELUTQ_ERROR_UNSUPPORTED, "cannot split the text into words: " + getErrorText(result));
    PCRE2_SIZE *range = pcre2_get_ovector_pointer(data.get());
    // \K can put the start behind the end; such a match would not advance.
    if (range[0] > range[1] || range[1] <= offset)
      return Status(ELUTQ_ERROR_FORMAT, "the tokenizer's expression does not advance");
    matches.push_back({range[0], range[1]});
    offset = range[1];
  }
  return Status();
}

Status TextStep::prepare() {
  auto bad = [&](const char *what) {
    return Status(ELUTQ_ERROR_FORMAT, std::string("the tokenizer is damaged: ") + what + "; compile the model again");
  };
  auto check = [&](uint32_t value, uint32_t high) { return value >= 1 && value <= high; };
  switch (kind) {
  case Step::UnicodeForm:
    return phase == Phase::Normalize && check(argument0, 4) ? Status() : bad("unknown Unicode form");
  case Step::ReplaceText:
    return (phase == Phase::Normalize || phase == Phase::Decode) && !text0.empty() ? Status() : bad("bad replacement");
  case Step::ReplacePattern:
    return phase == Phase::Normalize ? Pattern::compile(text0, pattern) : bad("bad replacement");
  case Step::Prepend:
    return phase == Phase::Normalize ? Status() : bad("misplaced prefix");
  case Step::StripSpaces:
    return phase == Phase::Normalize && check(argument0, 3) ? Status() : bad("bad strip");
  case Step::SplitPattern:
    if (phase != Phase::Split || !check(argument0, 5) || argument1 > 1)
      return bad("bad split");
    return Pattern::compile(text0, pattern);
  case Step::Metaspace:
    if ((phase != Phase::Split && phase != Phase::Decode) || text0.empty() || !check(argument0, 3))
      return bad("bad metaspace");
    return Status();
  case Step::PrefixSpace:
  case Step::MapBytes:
    return phase == Phase::Split ? Status() : bad("misplaced split");
  case Step::StripStart:
    return phase == Phase::Decode && !text0.empty() ? Status() : bad("bad strip");
  case Step::JoinBytes:
  case Step::Fuse:
  case Step::UnmapBytes:
  case Step::JoinWithSpaces:
    return phase == Phase::Decode ? Status() : bad("misplaced decoder");
  case Step::Before:
  case Step::After:
    return phase == Phase::Template ? Status() : bad("misplaced token");
  }
  return bad("unknown step");
}

std::string elutq::runtime::replaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  size_t begin = 0;
  for (size_t found; (found = text.find(from, begin)) != std::string_view::npos; begin = found + from.size()) {
    result.append(text, begin, found - begin);
    result += to;
  }
  result.append(text, begin);
  return result;
}

/// White space as Unicode defines it.
static bool isSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static void stripSpaces(uint32_t sides, std::string &text) {
  std::string_view rest = text;
  if (sides & 1)
    while (!rest.empty() && isSpace(getCodePoint(rest)))
      rest.remove_prefix(getCharacterLength(rest));
  if (sides & 2) {
    while (!rest.empty()) {
      size_t last = rest.size() - 1;
      while (last > 0 && (static_cast<unsigned char>(rest[last]) & 0xc0) == 0x80)
        --last;
      if (!isSpace(getCodePoint(rest.substr(last))))
        break;
      rest = rest.substr(0, last);
    }
  }
  text = std::string(rest);
}

static Status applyForm(Form form, std::string &text) {
  int options = UTF8PROC_STABLE;
  options |= form == Form::NFC || form == Form::NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == Form::NFKC || form == Form::NFKD)
    options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t *output = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &output, static_cast<utf8proc_option_t>(options));
  if (length < 0)
    return Status(ELUTQ_ERROR_MEMORY, std::string("cannot normalize the text: ") + utf8proc_errmsg(length));
  text.assign(reinterpret_cast<const char *>(output), static_cast<size_t>(length));
  std::free(output);
  return Status();
}

static Status replacePattern(const TextStep &step, std::string &text) {
  std::vector<Pattern::Match> matches;
  if (Status status = step.pattern.findAll(text, matches); !status.ok())
    return status;
  std::string result;
  size_t begin = 0;
  for (const Pattern::Match &match : matches) {
    result.append(text, begin, match.begin - begin);
    result += step.text1;
    begin = match.end;
  }
  result.append(text, begin);
  text = std::move(result);
  return Status();
}

Status elutq::runtime::normalize(const std::vector<TextStep> &steps, std::string &text) {
  for (const TextStep &step : steps) {
    if (step.phase != Phase::Normalize)
      continue;
    Status status;
    switch (step.kind) {
    case Step::UnicodeForm:
      status = applyForm(static_cast<Form>(step.argument0), text);
      break;
    case Step::ReplaceText:
      text = replaceAll(text, step.text0, step.text1);
      break;
    case Step::ReplacePattern:
      status = replacePattern(step, text);
      break;
    case Step::Prepend:
      if (!text.empty())
        text = step.text0 + text;
      break;
    case Step::StripSpaces:
      stripSpaces(step.argument0, text);
      break;
    default:
      break;
    }
    if (!status.ok())
      return status;
  }
  return Status();
}

/// Turns matches and the gaps between them into pieces.
static void appendPieces(const std::vector<std::pair<Pieces::Range, bool>> &spans, Behavior behavior,
                         std::vector<Pieces::Range> &output) {
  size_t first = output.size();
  bool previous = false;
  auto hasLast = [&] { return output.size() > first; };
  switch (behavior) {
  case Behavior::Removed:
    for (const auto &[range, isMatch] : spans)
      if (!isMatch)
        output.push_back(range);
    break;
  case Behavior::Isolated:
    for (const auto &[range, isMatch] : spans)
      output.push_back(range);
    break;
  case Behavior::MergedWithPrevious:
    for (const auto &[range, isMatch] : spans) {
      if (isMatch && !previous && hasLast())
        output.back().end = range.end;
      else
        output.push_back(range);
      previous = isMatch;
    }
    break;
  case Behavior::MergedWithNext:
    // A match joins what follows, unless that is a match that already stands alone: decided from the right.
    for (size_t i = spans.size(); i-- > 0;) {
      const auto &[range, isMatch] = spans[i];
      if (isMatch && !previous && hasLast())
        output.back().begin = range.begin;
      else
        output.push_back(range);
      previous = isMatch;
    }
    for (size_t low = first, high = output.size(); low + 1 < high; ++low, --high)
      std::swap(output[low], output[high - 1]);
    break;
  case Behavior::Contiguous:
    for (const auto &[range, isMatch] : spans) {
      if (isMatch == previous && hasLast())
        output.back().end = range.end;
      else
        output.push_back(range);
      previous = isMatch;
    }
    break;
  }
}

static Status splitPattern(const TextStep &step, Pieces &pieces) {
  std::vector<Pieces::Range> output;
  std::vector<Pattern::Match> matches;
  std::vector<std::pair<Pieces::Range, bool>> spans;
  bool matchFlag = step.argument1 == 0;
  for (const Pieces::Range &range : pieces.ranges) {
    if (Status status = step.pattern.findAll(pieces.get(range), matches); !status.ok())
      return status;
    spans.clear();
    size_t position = range.begin;
    for (const Pattern::Match &match : matches) {
      if (range.begin + match.begin > position)
        spans.push_back({{position, range.begin + match.begin}, !matchFlag});
      position = range.begin + match.end;
      spans.push_back({{range.begin + match.begin, position}, matchFlag});
    }
    if (position < range.end)
      spans.push_back({{position, range.end}, !matchFlag});
    appendPieces(spans, static_cast<Behavior>(step.argument0), output);
  }
  pieces.ranges = std::move(output);
  return Status();
}

/// Rewrites each piece: `append(piece, isFirst, output)` adds its new text to `output`.
template <typename Function>
static void rewritePieces(Pieces &pieces, Function append) {
  std::string output;
  output.reserve(pieces.text.size() + pieces.text.size() / 2);
  for (size_t i = 0; i < pieces.ranges.size(); ++i) {
    size_t begin = output.size();
    append(pieces.get(pieces.ranges[i]), i == 0, output);
    pieces.ranges[i] = {begin, output.size()};
  }
  pieces.text = std::move(output);
}

Status elutq::runtime::split(const std::vector<TextStep> &steps, bool atStart, Pieces &pieces) {
  for (const TextStep &step : steps) {
    if (step.phase != Phase::Split)
      continue;
    switch (step.kind) {
    case Step::SplitPattern:
      if (Status status = splitPattern(step, pieces); !status.ok())
        return status;
      break;
    case Step::Metaspace:
      rewritePieces(pieces, [&](std::string_view piece, bool isFirst, std::string &output) {
        std::string replaced = replaceAll(piece, " ", step.text0);
        auto prepending = static_cast<Prepending>(step.argument0);
        bool prepend = prepending == Prepending::Always || (prepending == Prepending::First && isFirst && atStart);
        if (prepend && replaced.compare(0, step.text0.size(), step.text0) != 0)
          output += step.text0;
        output += replaced;
      });
      break;
    case Step::PrefixSpace:
      rewritePieces(pieces, [](std::string_view piece, bool, std::string &output) {
        if (!piece.empty() && piece[0] != ' ')
          output += ' ';
        output += piece;
      });
      break;
    case Step::MapBytes:
      rewritePieces(pieces, [](std::string_view piece, bool, std::string &output) {
        for (char c : piece)
          appendCharacter(mapByte(static_cast<uint8_t>(c)), output);
      });
      break;
    default:
      break;
    }
  }
  return Status();
}
