//===- Program.cpp - Generation, chat and information ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Program.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace elutq::chat;

double elutq::chat::getSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int Program::fail(const std::string &text) const {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", text.c_str());
  return 1;
}

int Program::fail() const { return fail(elutq_last_error()); }

int Program::run() {
  if (int status = openModel())
    return status;
  if (options.action == Options::Action::Info)
    return printInfo();
  if (int status = createSession())
    return status;
  switch (options.action) {
  case Options::Action::Generate:
    return generate();
  case Options::Action::Bench:
    return bench();
  case Options::Action::Perplexity:
    return perplexity();
  default:
    return chat();
  }
}

int Program::openModel() {
  elutq_open_options open;
  elutq_open_options_init(&open);
  open.threads = options.threads;
  open.verify = options.verify;
  open.copy_weights = options.copyWeights;
  elutq_model *opened = nullptr;
  if (elutq_open(options.weights.empty() ? nullptr : options.weights.c_str(), &open, &opened) != ELUTQ_OK)
    return fail();
  model.reset(opened);
  info.struct_size = sizeof(info);
  if (elutq_model_info(opened, &info) != ELUTQ_OK)
    return fail();
  asText = info.has_tokenizer && !options.printTokens;
  return 0;
}

int Program::createSession() {
  elutq_session *created = nullptr;
  if (elutq_session_create(model.get(), nullptr, &created) != ELUTQ_OK)
    return fail();
  session.reset(created);
  elutq_sampler *made = nullptr;
  if (elutq_sampler_create(&options.sampler, &made) != ELUTQ_OK)
    return fail();
  sampler.reset(made);
  return 0;
}

/// `text` in the model's chat template, whose place for it is {prompt}.
static std::string applyTemplate(const char *pattern, const std::string &text) {
  static constexpr std::string_view kPlace = "{prompt}";
  std::string result = pattern;
  size_t place = result.find(kPlace);
  return place == std::string::npos ? text : result.replace(place, kPlace.size(), text);
}

int Program::tokenize(const std::string &text, bool first, std::vector<int64_t> &tokens) {
  const char *pattern = options.raw ? nullptr : elutq_model_meta(model.get(), "prompt_template");
  std::string full = pattern && *pattern ? applyTemplate(pattern, text) : text;
  uint32_t flags = first && !options.raw ? ELUTQ_ADD_BOS : 0;
  size_t begin = tokens.size(), count = 0;
  // A token is at least one byte, but for those the tokenizer adds itself.
  tokens.resize(begin + full.size() + 16);
  elutq_status status = elutq_tokenize(model.get(), full.data(), full.size(), flags, tokens.data() + begin,
                                       tokens.size() - begin, &count);
  if (status == ELUTQ_ERROR_CAPACITY) {
    tokens.resize(begin + count);
    status = elutq_tokenize(model.get(), full.data(), full.size(), flags, tokens.data() + begin, count, &count);
  }
  if (status != ELUTQ_OK)
    return fail();
  tokens.resize(begin + count);
  return tokens.empty() ? fail("the prompt has no tokens") : 0;
}

int Program::getInput(std::vector<int64_t> &tokens) {
  if (!options.hasPrompt) {
    tokens = options.tokens;
    return 0;
  }
  return tokenize(options.prompt, /*first=*/true, tokens);
}

int Program::writeLogits(std::FILE *file) {
  if (!file)
    return 0;
  size_t count = static_cast<size_t>(info.vocab_size);
  if (std::fwrite(elutq_logits(session.get()), sizeof(float), count, file) != count)
    return fail("cannot write to '" + options.logits + "': " + std::strerror(errno));
  return 0;
}

int Program::feed(const std::vector<int64_t> &tokens, std::FILE *logits) {
  for (int64_t token : tokens)
    if (elutq_sampler_accept(sampler.get(), token) != ELUTQ_OK)
      return fail();
  bool byDecode = options.feed == Options::Feed::Decode || (options.feed == Options::Feed::Default && logits);
  double start = getSeconds();
  if (byDecode) {
    for (int64_t token : tokens) {
      if (elutq_decode(session.get(), token) != ELUTQ_OK)
        return fail();
      if (int status = writeLogits(logits))
        return status;
    }
  } else {
    if (elutq_prefill(session.get(), tokens.data(), tokens.size()) != ELUTQ_OK)
      return fail();
    if (int status = writeLogits(logits))
      return status;
  }
  feedSeconds += getSeconds() - start;
  fed += static_cast<int64_t>(tokens.size());
  return 0;
}

void Program::print(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int Program::continueText(int64_t limit, std::FILE *logits, std::vector<int64_t> &unread) {
  StreamPtr stream;
  if (asText) {
    elutq_stream *created = nullptr;
    if (elutq_stream_create(model.get(), 0, &created) != ELUTQ_OK)
      return fail();
    stream.reset(created);
  }
  const char *text = nullptr;
  size_t bytes = 0;
  for (int64_t i = 0; i < limit; ++i) {
    double start = getSeconds();
    // The last token is only read when something follows it: one more would fit.
    if (!unread.empty()) {
      if (elutq_decode(session.get(), unread.back()) != ELUTQ_OK)
        return fail();
      unread.clear();
      ++decoded;
      decodeSeconds += getSeconds() - start;
      if (int status = writeLogits(logits))
        return status;
    }
    int64_t token = 0;
    if (elutq_sample(sampler.get(), elutq_logits(session.get()), static_cast<size_t>(info.vocab_size), &token) != ELUTQ_OK ||
        elutq_sampler_accept(sampler.get(), token) != ELUTQ_OK)
      return fail();
    unread.push_back(token);
    if (!options.ignoreStop && elutq_is_stop(model.get(), token))
      break;
    if (stream) {
      if (elutq_stream_push(stream.get(), token, &text, &bytes) != ELUTQ_OK)
        return fail();
      print(std::string_view(text, bytes));
    } else {
      print((i == 0 ? "" : ",") + std::to_string(token));
    }
  }
  if (stream) {
    if (elutq_stream_flush(stream.get(), &text, &bytes) != ELUTQ_OK)
      return fail();
    print(std::string_view(text, bytes));
  }
  print("\n");
  return std::ferror(stdout) ? fail("cannot write to the standard output") : 0;
}

int Program::generate() {
  std::vector<int64_t> tokens;
  if (int status = getInput(tokens))
    return status;
  // The last generated token needs no place, as nothing reads it.
  int64_t room = info.max_context - static_cast<int64_t>(tokens.size()) + 1;
  if (room < 1)
    return fail("the prompt has " + std::to_string(tokens.size()) + " tokens, but the context has only " +
                std::to_string(info.max_context) + "; use a shorter prompt, or compile with a larger --max-context");
  if (options.count > room)
    return fail("a prompt of " + std::to_string(tokens.size()) + " tokens and -n " + std::to_string(options.count) +
                " do not fit into the context of " + std::to_string(info.max_context) + "; use -n " +
                std::to_string(room) + " or less, or compile with a larger --max-context");
  int64_t limit = options.count >= 0 ? options.count : std::min<int64_t>(room, 256);

  std::FILE *logits = nullptr;
  if (!options.logits.empty() && !(logits = std::fopen(options.logits.c_str(), "wb")))
    return fail("cannot create '" + options.logits + "': " + std::strerror(errno));
  std::vector<int64_t> unread;
  int status = feed(tokens, logits);
  if (status == 0)
    status = continueText(limit, logits, unread);
  if (logits && std::fclose(logits) != 0 && status == 0)
    status = fail("cannot write to '" + options.logits + "': " + std::strerror(errno));
  if (status == 0 && options.stats)
    std::fprintf(stderr, "prompt: %lld tokens, %.1f tok/s; generated: %lld tokens, %.1f tok/s; %d threads\n",
                 static_cast<long long>(fed), static_cast<double>(fed) / feedSeconds, static_cast<long long>(decoded + (limit > 0)),
                 decodeSeconds > 0 ? static_cast<double>(decoded) / decodeSeconds : 0.0,
                 static_cast<int>(elutq_session_threads(session.get())));
  return status;
}

/// Like std::getline on standard input, but stops behind kMaxTextBytes.
static bool readLine(std::string &line) {
  line.clear();
  int c;
  while (line.size() <= kMaxTextBytes && (c = std::getchar()) != EOF && c != '\n')
    line += static_cast<char>(c);
  return !line.empty() || !std::feof(stdin);
}

int Program::chat() {
  if (!info.has_tokenizer)
    return fail("the model was compiled without a tokenizer: use --tokens, or put tokenizer.json beside the ONNX file and "
                "compile it again");
  bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  std::vector<int64_t> tokens; // begins with what the last answer left unread
  std::string line;
  for (bool first = true;; first = false) {
    if (terminal)
      print("> ");
    if (!readLine(line))
      break;
    if (line.size() > kMaxTextBytes)
      return fail("a line of the input is larger than " + std::to_string(kMaxTextBytes >> 20) + " MiB");
    if (line.empty())
      continue;
    if (int status = tokenize(line, first && elutq_position(session.get()) == 0, tokens))
      return status;
    if (int status = feed(tokens, nullptr))
      return status;
    tokens.clear();
    int64_t room = info.max_context - elutq_position(session.get()) + 1;
    int64_t limit = std::min<int64_t>(room, options.count >= 0 ? options.count : 256);
    if (int status = continueText(limit, nullptr, tokens))
      return status;
  }
  if (terminal)
    print("\n");
  return 0;
}

int Program::printInfo() {
  if (options.json) {
    std::printf("%s\n", elutq_model_json(model.get()));
    return 0;
  }
  auto meta = [&](const char *key) {
    const char *value = elutq_model_meta(model.get(), key);
    return value ? value : "unknown";
  };
  auto count = [&](const char *key) {
    const char *value = elutq_model_meta(model.get(), key);
    return value ? std::strtod(value, nullptr) : 0.0;
  };
  auto mib = [](uint64_t bytes) { return static_cast<double>(bytes) / 1048576.0; };
  std::printf("model            %s\n", meta("name"));
  std::printf("quantization     %s\n", meta("quantization"));
  std::printf("layers           %lld\n", static_cast<long long>(info.layers));
  std::printf("vocabulary       %lld\n", static_cast<long long>(info.vocab_size));
  std::printf("context          %lld\n", static_cast<long long>(info.max_context));
  std::printf("prefill chunk    %lld\n", static_cast<long long>(info.chunk));
  std::printf("weights          %.1f MiB\n", mib(info.weights_bytes));
  if (double weights = count("quantized_weights"))
    std::printf("bits per weight  %.3f (planes, scales, zeros and padding of %.1f million weights)\n",
                8 * count("quantized_bytes") / weights, weights / 1e6);
  std::printf("read per token   %.1f MiB\n", mib(info.decode_weight_bytes));
  std::printf("key-value cache  %.1f MiB (%s)\n", mib(info.cache_bytes), meta("kv_cache"));
  std::printf("scratch memory   %.1f MiB\n", mib(info.arena_bytes));
  std::printf("compiled for     %s, %s\n", meta("target"), meta("cpu"));
  std::printf("tokenizer        %s\n", info.has_tokenizer ? "yes" : "no");
  std::printf("threads          %d\n", static_cast<int>(info.threads));
  std::printf("build id         %016llx\n", static_cast<unsigned long long>(info.build_id));
  return 0;
}
