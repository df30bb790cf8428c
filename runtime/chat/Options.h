//===- Options.h - Command line of compiled models --------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_CHAT_OPTIONS_H
#define ELUTQ_RUNTIME_CHAT_OPTIONS_H

#include "elutq/runtime.h"

#include <string>
#include <vector>

namespace elutq::chat {

/// The most that is read of a file or of a line of the input: far more than any context, far less than the memory.
inline constexpr size_t kMaxTextBytes = size_t(64) << 20;

struct Options {
  enum class Action { Chat, Generate, Bench, Info, Perplexity, Help };
  enum class Feed { Default, Prefill, Decode };

  Action action = Action::Chat;
  std::string weights; // empty: the data appended to this program
  bool hasPrompt = false;
  std::string prompt;
  std::vector<int64_t> tokens; // instead of a prompt
  int64_t count = -1;          // -n; -1: what fits, at most 256
  bool raw = false, ignoreStop = false, printTokens = false, stats = false, json = false, verify = true, copyWeights = false;
  int threads = 0;
  int64_t benchPrefill = 0, benchDecode = 0, benchRepeats = 3;
  std::string logits, trace;
  Feed feed = Feed::Default;
  elutq_sampler_params sampler;
};

/// Reads the command line. On errors returns false and `error` says what is wrong.
bool parseOptions(int argc, char **argv, Options &options, std::string &error);

/// The text of --help.
std::string getHelp(const char *program);

} // namespace elutq::chat

#endif // ELUTQ_RUNTIME_CHAT_OPTIONS_H
