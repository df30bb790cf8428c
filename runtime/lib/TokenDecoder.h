//===- TokenDecoder.h - Tokens to text, as they come ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_TOKENDECODER_H
#define ELUTQ_RUNTIME_LIB_TOKENDECODER_H

#include "Tokenizer.h"

#include <string>
#include <string_view>
#include <vector>

namespace elutq::runtime {

/// Sends tokens through the tokenizer's Decode steps, each of which keeps what it cannot hand on yet.
class TokenDecoder {
public:
  /// eager: hand out a character of byte tokens as soon as it is complete. Otherwise a run of byte tokens is judged as a
  /// whole, as Hugging Face's tokenizers does: if any of it is ill-formed, each of its bytes becomes U+FFFD.
  TokenDecoder(const Tokenizer &tokenizer, bool keepSpecial, bool eager);

  /// Appends the text that is complete with this token.
  void push(int64_t token, std::string &output);

  /// Appends what is left and starts again.
  void finish(std::string &output);

private:
  struct Stage {
    const TextStep *step;
    std::string bytes;      // not yet a character
    uint32_t stripped = 0;  // StripStart: characters removed
    bool started = false;   // something has passed
    bool fused = false;     // what comes are parts of one text, not tokens
  };

  void feed(size_t index, std::string_view text, std::string &output);
  void feedBytes(size_t index, bool end, std::string &output);
  void stripStart(size_t index, std::string_view text, std::string &output);

  const Tokenizer &tokenizer;
  bool keepSpecial, eager;
  std::vector<Stage> stages;
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_TOKENDECODER_H
