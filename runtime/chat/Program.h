//===- Program.h - What a compiled model does on the command line -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_CHAT_PROGRAM_H
#define ELUTQ_RUNTIME_CHAT_PROGRAM_H

#include "Options.h"

#include <memory>
#include <string_view>

namespace elutq::chat {

template <auto function>
struct Call {
  template <typename T>
  void operator()(T *object) const {
    function(object);
  }
};
using ModelPtr = std::unique_ptr<elutq_model, Call<elutq_close>>;
using SessionPtr = std::unique_ptr<elutq_session, Call<elutq_session_destroy>>;
using SamplerPtr = std::unique_ptr<elutq_sampler, Call<elutq_sampler_destroy>>;
using StreamPtr = std::unique_ptr<elutq_stream, Call<elutq_stream_destroy>>;

/// One run of the program: the opened model and what was asked for. All functions return the exit status and have
/// printed the error if it is not 0.
class Program {
public:
  explicit Program(const Options &options) : options(options) {}

  int run();

private:
  int generate();
  int chat();
  int bench();
  int trace(const std::vector<int64_t> &prefill, const std::vector<int64_t> &decode);
  int perplexity();
  int printInfo();

  /// Prints elutq_last_error().
  int fail() const;
  int fail(const std::string &text) const;

  int openModel();
  int createSession();
  int tokenize(const std::string &text, bool first, std::vector<int64_t> &tokens);
  int getInput(std::vector<int64_t> &tokens);
  int feed(const std::vector<int64_t> &tokens, std::FILE *logits);
  /// Generates until a stop token or `limit` tokens; `unread` receives the tokens not yet read by the session.
  int continueText(int64_t limit, std::FILE *logits, std::vector<int64_t> &unread);
  int writeLogits(std::FILE *file);
  void print(std::string_view text) const;

  const Options &options;
  ModelPtr model;
  SessionPtr session;
  SamplerPtr sampler;
  elutq_info info = {};
  bool asText = true;
  double feedSeconds = 0, decodeSeconds = 0;
  int64_t fed = 0, decoded = 0;
};

/// Seconds of a clock that only goes forward.
double getSeconds();

} // namespace elutq::chat

#endif // ELUTQ_RUNTIME_CHAT_PROGRAM_H
