//===- Measure.cpp - Speed and perplexity ---------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Program.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace elutq::chat;

static double getMedian(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Decode steps in a trace: enough to see what repeats.
static constexpr int64_t kTracedSteps = 4;

/// Records the tokens of a benchmark in a trace.
int Program::trace(const std::vector<int64_t> &prefill, const std::vector<int64_t> &decode) {
  elutq_reset(session.get());
  if (elutq_trace_start(session.get()) != ELUTQ_OK)
    return fail();
  if (!prefill.empty() && elutq_prefill(session.get(), prefill.data(), prefill.size()) != ELUTQ_OK)
    return fail();
  for (int64_t token : decode)
    if (elutq_decode(session.get(), token) != ELUTQ_OK)
      return fail();
  return elutq_trace_write(session.get(), options.trace.c_str()) == ELUTQ_OK ? 0 : fail();
}

int Program::bench() {
  int64_t prefill = options.benchPrefill, decode = options.benchDecode;
  if (prefill + decode > info.max_context)
    return fail("--bench " + std::to_string(prefill) + "," + std::to_string(decode) + " does not fit into the context of " +
                std::to_string(info.max_context));
  // Any tokens do; these visit many rows of the embedding.
  auto getToken = [&](int64_t i) { return (i * 7919 + 13) % info.vocab_size; };
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < prefill; ++i)
    tokens.push_back(getToken(i));

  // Both entries once, so that no page of weights or code is touched for the first time while the clock runs.
  std::vector<int64_t> warm(static_cast<size_t>(std::min<int64_t>(std::max<int64_t>(info.chunk, 2), info.max_context)), 0);
  if (elutq_prefill(session.get(), warm.data(), warm.size()) != ELUTQ_OK)
    return fail();
  elutq_reset(session.get());
  if (elutq_decode(session.get(), 0) != ELUTQ_OK)
    return fail();

  if (!options.trace.empty()) {
    std::vector<int64_t> decoded;
    for (int64_t i = 0; i < std::min(decode, kTracedSteps); ++i)
      decoded.push_back(getToken(prefill + i));
    if (int status = trace(tokens, decoded))
      return status;
  }

  std::vector<double> prefillSeconds, decodeSeconds;
  for (int64_t repeat = 0; repeat < options.benchRepeats; ++repeat) {
    elutq_reset(session.get());
    double start = getSeconds();
    if (prefill > 0 && elutq_prefill(session.get(), tokens.data(), tokens.size()) != ELUTQ_OK)
      return fail();
    double middle = getSeconds();
    for (int64_t i = 0; i < decode; ++i)
      if (elutq_decode(session.get(), getToken(prefill + i)) != ELUTQ_OK)
        return fail();
    prefillSeconds.push_back(middle - start);
    decodeSeconds.push_back(getSeconds() - middle);
  }
  double prefillRate = prefill > 0 ? static_cast<double>(prefill) / getMedian(prefillSeconds) : 0;
  double decodeRate = decode > 0 ? static_cast<double>(decode) / getMedian(decodeSeconds) : 0;
  double bandwidth = decodeRate * static_cast<double>(info.decode_weight_bytes) / 1e9;
  int threads = elutq_session_threads(session.get());
  uint64_t hugeBytes = elutq_model_huge_page_bytes(model.get());
  if (options.json) {
    std::printf("{\"threads\": %d, \"repeats\": %lld, \"prefill_tokens\": %lld, \"prefill_tok_s\": %.3f, "
                "\"decode_tokens\": %lld, \"decode_tok_s\": %.3f, \"decode_weight_bytes\": %llu, "
                "\"decode_weight_gb_s\": %.3f, \"weights_bytes\": %llu, \"huge_page_bytes\": %llu}\n",
                threads, static_cast<long long>(options.benchRepeats), static_cast<long long>(prefill), prefillRate,
                static_cast<long long>(decode), decodeRate, static_cast<unsigned long long>(info.decode_weight_bytes),
                bandwidth, static_cast<unsigned long long>(info.weights_bytes), static_cast<unsigned long long>(hugeBytes));
    return 0;
  }
  std::printf("threads  %d, median of %lld\n", threads, static_cast<long long>(options.benchRepeats));
  if (prefill > 0)
    std::printf("prefill  %lld tokens: %.1f tok/s\n", static_cast<long long>(prefill), prefillRate);
  if (decode > 0)
    std::printf("decode   %lld tokens: %.1f tok/s, %.2f GB/s of weights read\n", static_cast<long long>(decode), decodeRate,
                bandwidth);
  std::printf("weights  %.0f MB, %.0f of them in huge pages\n", static_cast<double>(info.weights_bytes) / 1e6,
              static_cast<double>(hugeBytes) / 1e6);
  return 0;
}

/// -log of the softmax at `token`.
static double getLoss(const float *logits, int64_t count, int64_t token) {
  double maximum = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += std::exp(static_cast<double>(logits[i]) - maximum);
  return std::log(sum) + maximum - static_cast<double>(logits[token]);
}

int Program::perplexity() {
  std::vector<int64_t> tokens;
  if (int status = getInput(tokens))
    return status;
  if (tokens.size() < 2)
    return fail("--perplexity needs at least two tokens");
  double loss = 0;
  int64_t predicted = 0;
  // A text longer than the context is read in separate windows, each from an empty context.
  size_t window = static_cast<size_t>(info.max_context);
  for (size_t begin = 0; begin < tokens.size(); begin += window) {
    elutq_reset(session.get());
    size_t end = std::min(tokens.size(), begin + window);
    for (size_t i = begin; i + 1 < end; ++i) {
      if (tokens[i + 1] < 0 || tokens[i + 1] >= info.vocab_size)
        return fail("token " + std::to_string(tokens[i + 1]) + " is outside the vocabulary of " +
                    std::to_string(info.vocab_size));
      if (elutq_decode(session.get(), tokens[i]) != ELUTQ_OK)
        return fail();
      loss += getLoss(elutq_logits(session.get()), info.vocab_size, tokens[i + 1]);
      ++predicted;
    }
  }
  double mean = loss / static_cast<double>(predicted);
  std::printf(options.json ? "{\"tokens\": %lld, \"nll\": %.9g, \"perplexity\": %.9g}\n"
                           : "%lld tokens predicted, mean loss %.6g, perplexity %.6g\n",
              static_cast<long long>(predicted), mean, std::exp(mean));
  return 0;
}
