//===- Bandwidth.cpp - How fast memory can be read ------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Bandwidth.h"

#include <chrono>
#include <cstring>

using namespace elutq;
using namespace elutq::bench;

namespace {
/// 64 bytes, whatever the registers of the processor hold.
typedef uint64_t Line __attribute__((vector_size(64)));
} // namespace

/// Parts of the buffer; one is read at a time.
static constexpr size_t kParts = 2;
/// What one item of a task reads.
static constexpr size_t kItemBytes = size_t(1) << 20;

/// Combines all bytes of [data, data + kItemBytes), so that none of the loads can be left out.
#if defined(__x86_64__)
__attribute__((target("avx2")))
#endif
static uint64_t
readItem(const uint8_t *data) {
  const Line *lines = reinterpret_cast<const Line *>(data);
  Line a = {}, b = {}, c = {}, d = {};
  for (size_t i = 0; i < kItemBytes / sizeof(Line); i += 4) {
    a ^= lines[i];
    b ^= lines[i + 1];
    c ^= lines[i + 2];
    d ^= lines[i + 3];
  }
  a ^= b ^ c ^ d;
  uint64_t result = 0;
  for (int i = 0; i < 8; ++i)
    result ^= a[i];
  return result;
}

/// A task of the thread pool: `weights` is the buffer, `arena` one word per item for what was read.
static void readItems(int64_t begin, int64_t end, uint8_t *arena, const uint8_t *weights, uint8_t *, const int64_t *) {
  uint64_t sum = 0;
  for (int64_t i = begin; i < end; ++i)
    sum ^= readItem(weights + static_cast<size_t>(i) * kItemBytes);
  std::memcpy(arena + static_cast<size_t>(begin) * sizeof sum, &sum, sizeof sum);
}

runtime::Status Bandwidth::create(size_t bytes, Bandwidth &result) {
  result.partBytes = (bytes / kParts + kItemBytes - 1) / kItemBytes * kItemBytes;
  size_t words = result.partBytes / kItemBytes * sizeof(uint64_t);
  size_t total = result.partBytes * kParts + words;
  if (runtime::Status status = runtime::Mapping::mapZeros(total, "the measurement of bandwidth", result.memory); !status.ok())
    return status;
  // Pages that were never written are all the same page of zeros.
  std::memset(result.memory.data(), 1, total);
  return runtime::Status();
}

double Bandwidth::measure(runtime::ThreadPool &pool) {
  const uint8_t *part = memory.data() + next * partBytes;
  next = (next + 1) % kParts;
  auto begin = std::chrono::steady_clock::now();
  pool.run(readItems, static_cast<int64_t>(partBytes / kItemBytes), memory.data() + kParts * partBytes, part, nullptr, nullptr);
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(partBytes) / time.count();
}
