//===- FakeEntries.cpp - Code of the fake model ---------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Logits depend on all tokens read so far through the cache, as in a real model: a wrong position, a lost cache or a
// wrong cut of the work changes them.
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"
#include "elutq/runtime.h"

#include <cstring>

using namespace elutq::test;

std::vector<Call> elutq::test::calls;

static void computeLogits(int64_t begin, int64_t end, uint8_t *arena, const uint8_t *weights, uint8_t *cache,
                          const int64_t *args) {
  for (int64_t v = begin; v < end; ++v) {
    uint64_t hash = static_cast<uint64_t>(v);
    for (int64_t i = 0; i < args[0]; ++i) {
      int64_t token;
      std::memcpy(&token, cache + 8 * i, 8);
      hash = (hash ^ static_cast<uint64_t>(token)) * 0x9e3779b97f4a7c15u + weights[v % 16];
    }
    float logit = static_cast<float>(hash >> 40) / 65536.0f;
    std::memcpy(arena + 4 * v, &logit, 4);
  }
}

static void run(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                uint8_t *cache, float *logits) {
  std::memcpy(cache + 8 * position, tokens, static_cast<size_t>(8 * count));
  if (!logits)
    return;
  int64_t args[] = {position + count};
  elutq_parallel_for(computeLogits, kVocab, arena, weights, cache, args);
  std::memcpy(logits, arena, 4 * kVocab);
}

extern "C" {
extern const uint64_t elutq_build_id;
const uint64_t elutq_build_id = kBuildId;

void elutq_entry_decode(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                        uint8_t *cache, float *logits) {
  calls.push_back({false, count, position, logits != nullptr});
  run(tokens, count, position, arena, weights, cache, logits);
}

void elutq_entry_prefill(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                         uint8_t *cache, float *logits) {
  calls.push_back({true, count, position, logits != nullptr});
  run(tokens, count, position, arena, weights, cache, logits);
}
}
