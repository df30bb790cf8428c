//===- Options.cpp - Command line of compiled models ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

using namespace elutq::chat;

static constexpr char kHelp[] = R"(Usage: %s [options]

Runs the language model compiled into this program. Without --prompt it reads one text per line.

  --prompt TEXT          continue TEXT and stop
  --prompt-file FILE     the same with the text of a file
  --tokens 1,2,3         the same with token ids; @FILE reads them from a file
  -n N                   generate at most N tokens (default: 256, or what fits into the context)
  --raw                  do not put the text into the model's chat template, and add no token before it
  --ignore-eos           do not stop at the end of the text
  --print-tokens         print token ids instead of text
  --stats                print times to the standard error

  --temp T               temperature; 0 (default) always takes the most probable token
  --top-k K              only the K most probable tokens (default 0: all)
  --top-p P              only the most probable tokens that make up P (default 1: all)
  --min-p P              only tokens with at least P times the largest probability (default 0: all)
  --repeat-penalty R     make recent tokens less probable (default 1: off)
  --repeat-last N        how many tokens are recent (default 64; 0: all)
  --seed N               of the random choice (default 0)

  --info                 what this model is
  --bench P,N            time P tokens of prompt and N generated ones
  --trace FILE           with --bench: write what each thread does in one prefill and up to four decode steps to FILE, as
                         Chrome trace events for ui.perfetto.dev or chrome://tracing
  --repeat R             measure --bench R times and report the median (default 3)
  --perplexity           of the given text or tokens
  --logits FILE          write the logits (32-bit floats, one row per token read) to FILE
  --feed HOW             read the prompt by `prefill` (default) or token by token by `decode` (default with --logits);
                         prefill gives one row of logits for the whole prompt
  --json                 --info, --bench and --perplexity print one JSON object

  --threads N            default: one per physical core
  --weights FILE         use this container instead of the data in this program
  --no-verify            skip the checksum of the weights
  --copy-weights         read the weights into huge pages of this process instead of mapping them: opens later, shares nothing
                         with other processes, and is faster where the file system has no large folios
  --help
)";

std::string elutq::chat::getHelp(const char *program) {
  std::string help = kHelp;
  return help.replace(help.find("%s"), 2, program);
}

static bool parseInteger(const std::string &text, int64_t &number) {
  if (text.empty() || std::strchr(" \t\n\v\f\r", text[0]))
    return false;
  char *end = nullptr;
  errno = 0;
  number = std::strtoll(text.c_str(), &end, 10);
  return errno == 0 && *end == 0;
}

static bool parseReal(const std::string &text, float &number) {
  if (text.empty() || std::strchr(" \t\n\v\f\r", text[0]))
    return false;
  char *end = nullptr;
  number = std::strtof(text.c_str(), &end);
  return *end == 0 && std::isfinite(number);
}

static bool readFile(const std::string &path, std::string &text, std::string &error) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file) {
    error = "cannot open '" + path + "': " + std::strerror(errno);
    return false;
  }
  char buffer[65536];
  while (size_t bytes = std::fread(buffer, 1, sizeof(buffer), file)) {
    text.append(buffer, bytes);
    if (text.size() > kMaxTextBytes) {
      std::fclose(file);
      error = "'" + path + "' is larger than " + std::to_string(kMaxTextBytes >> 20) + " MiB";
      return false;
    }
  }
  bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed)
    error = "cannot read '" + path + "'";
  return !failed;
}

/// Ids separated by commas or white space.
static bool parseTokens(std::string text, std::vector<int64_t> &tokens, std::string &error) {
  if (!text.empty() && text[0] == '@') {
    std::string path = text.substr(1);
    text.clear();
    if (!readFile(path, text, error))
      return false;
  }
  size_t position = 0;
  while (position < text.size()) {
    size_t end = text.find_first_of(", \t\r\n", position);
    std::string word = text.substr(position, end == std::string::npos ? end : end - position);
    position = end == std::string::npos ? text.size() : end + 1;
    if (word.empty())
      continue;
    int64_t token;
    if (!parseInteger(word, token) || token < 0) {
      error = "--tokens: '" + word + "' is not a token id";
      return false;
    }
    tokens.push_back(token);
  }
  if (tokens.empty())
    error = "--tokens: there are no token ids";
  return !tokens.empty();
}

namespace {
/// One option; `parse` gets its value (or nothing) and returns what is expected instead if it is wrong.
struct Spec {
  const char *name;
  bool hasValue;
  std::function<std::string(const std::string &)> parse;
};
} // namespace

bool elutq::chat::parseOptions(int argc, char **argv, Options &options, std::string &error) {
  elutq_sampler_params_init(&options.sampler);
  int sources = 0;
  auto flag = [](bool &target, bool value = true) {
    return [&target, value](const std::string &) {
      target = value;
      return std::string();
    };
  };
  auto action = [&](Options::Action value) {
    return [&options, value](const std::string &) {
      options.action = value;
      return std::string();
    };
  };
  auto integer = [](auto &target, int64_t low, int64_t high) {
    return [&target, low, high](const std::string &text) {
      int64_t number;
      if (!parseInteger(text, number) || number < low || number > high)
        return "a number from " + std::to_string(low) + " to " + std::to_string(high);
      target = static_cast<std::decay_t<decltype(target)>>(number);
      return std::string();
    };
  };
  auto real = [](float &target, const char *expected, auto accept) {
    return [&target, expected, accept](const std::string &text) {
      float number;
      if (!parseReal(text, number) || !accept(number))
        return std::string(expected);
      target = number;
      return std::string();
    };
  };

  constexpr int64_t kMaxCount = int64_t(1) << 31;
  elutq_sampler_params &sampler = options.sampler;
  const Spec specs[] = {
      {"--prompt", true,
       [&](const std::string &text) {
         ++sources;
         options.hasPrompt = true;
         options.prompt = text;
         return std::string(text.empty() ? "a text that is not empty" : "");
       }},
      {"--prompt-file", true,
       [&](const std::string &text) {
         ++sources;
         options.hasPrompt = true;
         if (!readFile(text, options.prompt, error))
           return std::string("the name of a readable file");
         return std::string(options.prompt.empty() ? "a file that is not empty" : "");
       }},
      {"--tokens", true,
       [&](const std::string &text) {
         ++sources;
         return std::string(parseTokens(text, options.tokens, error) ? "" : "token ids");
       }},
      {"-n", true, integer(options.count, 0, kMaxCount)},
      {"--raw", false, flag(options.raw)},
      {"--ignore-eos", false, flag(options.ignoreStop)},
      {"--print-tokens", false, flag(options.printTokens)},
      {"--stats", false, flag(options.stats)},
      {"--temp", true, real(sampler.temperature, "a number >= 0", [](float x) { return x >= 0; })},
      {"--top-k", true, integer(sampler.top_k, 0, INT32_MAX)},
      {"--top-p", true, real(sampler.top_p, "a number in (0, 1]", [](float x) { return x > 0 && x <= 1; })},
      {"--min-p", true, real(sampler.min_p, "a number in [0, 1]", [](float x) { return x >= 0 && x <= 1; })},
      {"--repeat-penalty", true, real(sampler.repeat_penalty, "a number > 0", [](float x) { return x > 0; })},
      {"--repeat-last", true, integer(sampler.repeat_last, 0, INT32_MAX)},
      {"--seed", true, integer(sampler.seed, 0, INT64_MAX)},
      {"--info", false, action(Options::Action::Info)},
      {"--bench", true,
       [&](const std::string &text) {
         options.action = Options::Action::Bench;
         size_t comma = text.find(',');
         bool good = comma != std::string::npos && parseInteger(text.substr(0, comma), options.benchPrefill) &&
                     parseInteger(text.substr(comma + 1), options.benchDecode) && options.benchPrefill >= 0 &&
                     options.benchDecode >= 0 && options.benchPrefill <= kMaxCount && options.benchDecode <= kMaxCount &&
                     options.benchPrefill + options.benchDecode > 0;
         return std::string(good ? "" : "two numbers of tokens, such as 512,128");
       }},
      {"--trace", true,
       [&](const std::string &text) {
         options.trace = text;
         return std::string(text.empty() ? "the name of a file" : "");
       }},
      {"--repeat", true, integer(options.benchRepeats, 1, 1000)},
      {"--perplexity", false, action(Options::Action::Perplexity)},
      {"--logits", true,
       [&](const std::string &text) {
         options.logits = text;
         return std::string(text.empty() ? "the name of a file" : "");
       }},
      {"--feed", true,
       [&](const std::string &text) {
         options.feed = text == "decode" ? Options::Feed::Decode : Options::Feed::Prefill;
         return std::string(text == "decode" || text == "prefill" ? "" : "prefill or decode");
       }},
      {"--json", false, flag(options.json)},
      {"--threads", true, integer(options.threads, 1, 4096)},
      {"--weights", true,
       [&](const std::string &text) {
         options.weights = text;
         return std::string(text.empty() ? "the name of a file" : "");
       }},
      {"--no-verify", false, flag(options.verify, false)},
      {"--copy-weights", false, flag(options.copyWeights)},
      {"--help", false, action(Options::Action::Help)},
      {"-h", false, action(Options::Action::Help)},
  };

  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i], value;
    size_t equals = name.compare(0, 2, "--") == 0 ? name.find('=') : std::string::npos;
    bool inlineValue = equals != std::string::npos;
    if (inlineValue) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const Spec *spec = nullptr;
    for (const Spec &candidate : specs)
      if (name == candidate.name)
        spec = &candidate;
    if (!spec) {
      error = "unknown option '" + name + "'; --help lists all";
      return false;
    }
    if (spec->hasValue && !inlineValue) {
      if (i + 1 == argc) {
        error = name + " needs a value; --help tells which";
        return false;
      }
      value = argv[++i];
    } else if (!spec->hasValue && inlineValue) {
      error = name + " takes no value";
      return false;
    }
    std::string expected = spec->parse(value);
    if (!expected.empty()) {
      if (error.empty())
        error = name + " is '" + value + "', but expected " + expected;
      return false;
    }
  }

  if (sources > 1) {
    error = "give only one of --prompt, --prompt-file and --tokens";
    return false;
  }
  if (options.action == Options::Action::Chat && sources > 0)
    options.action = Options::Action::Generate;
  if (options.action == Options::Action::Perplexity && sources == 0) {
    error = "--perplexity needs --prompt, --prompt-file or --tokens";
    return false;
  }
  if (!options.trace.empty() && options.action != Options::Action::Bench) {
    error = "--trace needs --bench";
    return false;
  }
  if (!options.logits.empty() && options.action != Options::Action::Generate) {
    error = "--logits needs --prompt, --prompt-file or --tokens";
    return false;
  }
  return true;
}
