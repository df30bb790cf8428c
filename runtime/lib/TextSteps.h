//===- TextSteps.h - Normalizing and splitting before BPE -------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_TEXTSTEPS_H
#define ELUTQ_RUNTIME_LIB_TEXTSTEPS_H

#include "Status.h"
#include "TokenizerFormat.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace elutq::runtime {

/// A compiled regular expression for well-formed UTF-8.
class Pattern {
public:
  static Status compile(std::string_view expression, Pattern &pattern);

  struct Match {
    size_t begin, end;
  };

  /// All matches from left to right, without empty ones.
  Status findAll(std::string_view text, std::vector<Match> &matches) const;

private:
  struct Free {
    void operator()(pcre2_real_code_8 *code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code;
};

/// One step of the section, checked, with its expression compiled.
struct TextStep {
  tokenizer::Phase phase;
  tokenizer::Step kind;
  uint32_t argument0, argument1;
  std::string text0, text1;
  Pattern pattern; // only for the kinds with an expression

  /// Checks the arguments and compiles the expression.
  Status prepare();
};

/// Applies the Normalize steps of `steps` to `text`, well-formed UTF-8.
Status normalize(const std::vector<TextStep> &steps, std::string &text);

/// Pieces of one text buffer.
struct Pieces {
  struct Range {
    size_t begin, end;
  };
  std::string text;
  std::vector<Range> ranges;

  std::string_view get(const Range &range) const {
    return std::string_view(text).substr(range.begin, range.end - range.begin);
  }
};

/// Applies the Split steps. `pieces` starts as one range; `atStart` tells that it is the start of the whole text.
Status split(const std::vector<TextStep> &steps, bool atStart, Pieces &pieces);

/// `text` with every `from` replaced by `to`.
std::string replaceAll(std::string_view text, std::string_view from, std::string_view to);

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_TEXTSTEPS_H
