//===- PatternTranslation.h - Expressions of tokenizer.json in PCRE2's syntax -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_BUILDER_PATTERNTRANSLATION_H
#define ELUTQ_RUNTIME_BUILDER_PATTERNTRANSLATION_H

#include <string>
#include <string_view>

namespace elutq {

/// tokenizer.json has expressions of Oniguruma, whose shorthand classes mean other characters than PCRE2's: `\s` has no
/// U+180E, `\w` has marks, `^` and `$` match at every line. Writes them out. Returns false for class operators that
/// PCRE2 lacks.
bool translatePattern(std::string_view pattern, std::string &result, std::string &error);

/// An expression that matches exactly `text`.
std::string quotePattern(std::string_view text);

} // namespace elutq

#endif // ELUTQ_RUNTIME_BUILDER_PATTERNTRANSLATION_H
