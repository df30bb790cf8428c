//===- Ceiling.cpp - How fast a kernel's instructions can be --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Ceiling.h"

#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace elutq;
using namespace elutq::bench;

namespace {
/// A sequence of instructions for each algorithm, kRounds times kChains times per item of a task.
struct Sequences {
  elutq_task lookUp, multiply;
  /// Bytes of a vector: as many look-ups or products.
  int64_t bytes;
};
} // namespace

/// Independent sums: enough to hide the latency of an instruction.
[[maybe_unused]] static constexpr int kChains = 8;
static constexpr int64_t kRounds = 50'000;

#if defined(__x86_64__)
// The compiler must take an operand for a new one in every round, so that it leaves nothing out.
#define OPAQUE(value) asm volatile("" : "+v"(value))
// Sums have to be used.
#define USED(value) asm volatile("" : : "v"(value))
#define TASK int64_t begin, int64_t end, uint8_t *, const uint8_t *, uint8_t *, const int64_t *

__attribute__((target("avx512vbmi,avx512bw,avx512vnni"))) static void lookUpVBMI(TASK) {
  __m512i sums[kChains] = {}, table = _mm512_set1_epi8(1), ones = table, index = table;
  for (int64_t i = begin * kRounds; i < end * kRounds; ++i)
    for (__m512i &sum : sums) {
      OPAQUE(index);
      sum = _mm512_dpbusd_epi32(sum, ones, _mm512_permutexvar_epi8(index, table));
    }
  for (__m512i &sum : sums)
    USED(sum);
}

__attribute__((target("avx512bw,avx512vnni"))) static void multiplyVNNI(TASK) {
  __m512i sums[kChains] = {}, a = _mm512_set1_epi8(1), b = a;
  for (int64_t i = begin * kRounds; i < end * kRounds; ++i)
    for (__m512i &sum : sums) {
      OPAQUE(a);
      sum = _mm512_dpbusd_epi32(sum, a, b);
    }
  for (__m512i &sum : sums)
    USED(sum);
}

// Four sums of 16 x 16 products of rows and columns of 64 bytes: a step is one such product.
__attribute__((target("amx-tile,amx-int8"))) static void multiplyTiles(TASK) {
  struct alignas(64) {
    uint8_t palette = 1, startRow = 0, zero[14] = {};
    uint16_t bytesPerRow[16] = {64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
  } shapes;
  _tile_loadconfig(&shapes);
  _tile_zero(4);
  _tile_zero(5);
  for (int64_t i = begin * kRounds; i < end * kRounds; ++i)
    for (int chain = 0; chain < kChains / 4; ++chain) {
      _tile_dpbsud(0, 4, 5);
      _tile_dpbsud(1, 4, 5);
      _tile_dpbsud(2, 4, 5);
      _tile_dpbsud(3, 4, 5);
    }
  _tile_release();
}

// Bytes looked up are added as words, and their high halves a second time: sums of even and odd bytes follow from the two.
__attribute__((target("avx512bw"))) static void lookUpBW(TASK) {
  __m512i words[kChains] = {}, highs[kChains] = {}, table = _mm512_set1_epi8(1), index = table;
  for (int64_t i = begin * kRounds; i < end * kRounds; ++i)
    for (int chain = 0; chain < kChains; ++chain) {
      OPAQUE(index);
      __m512i entry = _mm512_shuffle_epi8(table, index);
      words[chain] = _mm512_add_epi16(words[chain], entry);
      highs[chain] = _mm512_add_epi16(highs[chain], _mm512_srli_epi16(entry, 8));
    }
  for (int chain = 0; chain < kChains; ++chain) {
    USED(words[chain]);
    USED(highs[chain]);
  }
}

__attribute__((target("avx512bw"))) static void multiplyBW(TASK) {
  __m512i sums[kChains] = {}, a = _mm512_set1_epi8(1), b = a, ones = _mm512_set1_epi16(1);
  for (int64_t i = begin * kRounds; i < end * kRounds; ++i)
    for (__m512i &sum : sums) {
      OPAQUE(a);
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), ones));
    }
  for (__m512i &sum : sums)
    USED(sum);
}

__attribute__((target("avx2"))) static void lookUpAVX2(TASK) {
  // Half as many: there are 16 registers.
  __m256i words[kChains / 2] = {}, highs[kChains / 2] = {}, table = _mm256_set1_epi8(1), index = table;
  for (int64_t i = begin * kRounds * 2; i < end * kRounds * 2; ++i)
    for (int chain = 0; chain < kChains / 2; ++chain) {
      OPAQUE(index);
      __m256i entry = _mm256_shuffle_epi8(table, index);
      words[chain] = _mm256_add_epi16(words[chain], entry);
      highs[chain] = _mm256_add_epi16(highs[chain], _mm256_srli_epi16(entry, 8));
    }
  for (int chain = 0; chain < kChains / 2; ++chain) {
    USED(words[chain]);
    USED(highs[chain]);
  }
}

__attribute__((target("avx2"))) static void multiplyAVX2(TASK) {
  __m256i sums[kChains] = {}, a = _mm256_set1_epi8(1), b = a, ones = _mm256_set1_epi16(1);
  for (int64_t i = begin * kRounds; i < end * kRounds; ++i)
    for (__m256i &sum : sums) {
      OPAQUE(a);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  for (__m256i &sum : sums)
    USED(sum);
}
#endif

static Sequences getSequences(std::string_view isa, bool hasTiles) {
#if defined(__x86_64__)
  if (hasTiles)
    return {lookUpVBMI, multiplyTiles, 16 * 16 * 64};
  if (isa == "avx512amx" || isa == "avx512vbmi")
    return {lookUpVBMI, multiplyVNNI, 64};
  if (isa == "avx512bw")
    return {lookUpBW, multiplyBW, 64};
  if (isa == "avx2")
    return {lookUpAVX2, multiplyAVX2, 32};
#endif
  return {nullptr, nullptr, 0};
}

double bench::measureCeiling(const tune::Product &product, const tune::ProductOptions &options, runtime::ThreadPool &pool) {
  bool looksUp = product.algorithm == "lut", hasTiles = product.isa == "avx512amx" && !looksUp && options.bits < 8;
  Sequences sequences = getSequences(product.isa, hasTiles);
  elutq_task task = looksUp ? sequences.lookUp : sequences.multiply;
  if (!task)
    return 0;
  auto begin = std::chrono::steady_clock::now();
  pool.run(task, pool.getThreads(), nullptr, nullptr, nullptr, nullptr);
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  double steps = static_cast<double>(kRounds * kChains * pool.getThreads()) / time.count();
  // A look-up stands for four multiplications with one plane. 16 bits take two of either, in tiles, whose codes are split, too, four.
  double perByte = looksUp ? 4.0 / static_cast<double>(options.bits) : 1.0, parts = static_cast<double>(options.tableBits / 8);
  return steps * static_cast<double>(sequences.bytes) * 2 * perByte / (hasTiles ? parts * parts : parts);
}
