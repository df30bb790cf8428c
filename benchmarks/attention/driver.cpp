//===- driver.cpp - Threads and read bandwidth for attention.py -----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Linked with the compiled attention and the runtime's thread pool into one library.
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <chrono>
#include <cstring>

using namespace elutq::runtime;

namespace {
typedef uint64_t Line __attribute__((vector_size(64)));

std::unique_ptr<ThreadPool> pool;

/// Adds up its share of `cache`, cut into as many pieces as `args[1]` says; the sum goes to the arena, so that it is needed.
void readPiece(int64_t begin, int64_t end, uint8_t *arena, const uint8_t *, uint8_t *cache, const int64_t *args) {
  const Line *lines = reinterpret_cast<const Line *>(cache);
  int64_t count = args[0] / static_cast<int64_t>(sizeof(Line)), pieces = args[1];
  Line sums[8] = {};
  for (int64_t i = count * begin / pieces, last = count * end / pieces; i + 8 <= last; i += 8)
    for (int j = 0; j < 8; ++j)
      sums[j] += lines[i + j];
  for (int j = 1; j < 8; ++j)
    sums[0] += sums[j];
  std::memcpy(arena + begin * sizeof(Line), &sums[0], sizeof(Line));
}
} // namespace

/// The pool of the calling thread from now on.
extern "C" void bench_set_threads(int threads) {
  pool = std::make_unique<ThreadPool>(threads);
  currentPool = pool.get();
}

extern "C" void elutq_entry_step(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                                 uint8_t *cache, float *result);

/// Seconds of one of `steps` steps at `position`, which follow each other.
extern "C" double bench_step(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                             uint8_t *cache, float *result, int steps) {
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < steps; ++i)
    elutq_entry_step(tokens, count, position, arena, weights, cache, result);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / steps;
}

/// Seconds to read `bytes` bytes once with all threads.
extern "C" double bench_read(uint8_t *data, int64_t bytes) {
  constexpr int64_t kPieces = 64;
  alignas(64) uint8_t sums[kPieces * sizeof(Line)];
  int64_t args[] = {bytes, kPieces};
  auto start = std::chrono::steady_clock::now();
  elutq_parallel_for(readPiece, kPieces, sums, nullptr, data, args);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
