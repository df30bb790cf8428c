//===- CpuFeatures.cpp - What this CPU and system can execute -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CpuFeatures.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

using namespace elutq::runtime;

#if defined(__x86_64__)

namespace {
/// The CPUID registers that hold feature bits, in the order of CpuState::words.
enum Word : uint8_t { L1C, L1D, L7B, L7C, L7D, L71A, L71D, LD1A, E1C, E8B, L14B, NumWords };

/// The register state the system must save for a feature: bits of XCR0.
enum : uint32_t { kNoState = 0, kAvxState = 0x6, kAvx512State = 0xe6, kAmxState = 0x60006 };

struct Feature {
  const char *name; // LLVM's
  Word word;
  uint8_t bit;
  uint32_t state;
};

struct CpuState {
  uint32_t words[NumWords] = {};
  uint64_t xcr0 = 0;
};
} // namespace

static const Feature kFeatures[] = {
    {"sse3", L1C, 0, kNoState},
    {"pclmul", L1C, 1, kNoState},
    {"ssse3", L1C, 9, kNoState},
    {"fma", L1C, 12, kAvxState},
    {"cx16", L1C, 13, kNoState},
    {"sse4.1", L1C, 19, kNoState},
    {"sse4.2", L1C, 20, kNoState},
    {"crc32", L1C, 20, kNoState},
    {"movbe", L1C, 22, kNoState},
    {"popcnt", L1C, 23, kNoState},
    {"aes", L1C, 25, kNoState},
    {"xsave", L1C, 27, kNoState},
    {"avx", L1C, 28, kAvxState},
    {"f16c", L1C, 29, kAvxState},
    {"rdrnd", L1C, 30, kNoState},
    {"cx8", L1D, 8, kNoState},
    {"cmov", L1D, 15, kNoState},
    {"mmx", L1D, 23, kNoState},
    {"fxsr", L1D, 24, kNoState},
    {"sse", L1D, 25, kNoState},
    {"sse2", L1D, 26, kNoState},
    {"fsgsbase", L7B, 0, kNoState},
    {"bmi", L7B, 3, kNoState},
    {"avx2", L7B, 5, kAvxState},
    {"bmi2", L7B, 8, kNoState},
    {"invpcid", L7B, 10, kNoState},
    {"rtm", L7B, 11, kNoState},
    {"avx512f", L7B, 16, kAvx512State},
    {"avx512dq", L7B, 17, kAvx512State},
    {"rdseed", L7B, 18, kNoState},
    {"adx", L7B, 19, kNoState},
    {"avx512ifma", L7B, 21, kAvx512State},
    {"clflushopt", L7B, 23, kNoState},
    {"clwb", L7B, 24, kNoState},
    {"avx512cd", L7B, 28, kAvx512State},
    {"sha", L7B, 29, kNoState},
    {"avx512bw", L7B, 30, kAvx512State},
    {"avx512vl", L7B, 31, kAvx512State},
    {"avx512vbmi", L7C, 1, kAvx512State},
    {"pku", L7C, 4, kNoState},
    {"waitpkg", L7C, 5, kNoState},
    {"avx512vbmi2", L7C, 6, kAvx512State},
    {"shstk", L7C, 7, kNoState},
    {"gfni", L7C, 8, kNoState},
    {"vaes", L7C, 9, kAvxState},
    {"vpclmulqdq", L7C, 10, kAvxState},
    {"avx512vnni", L7C, 11, kAvx512State},
    {"avx512bitalg", L7C, 12, kAvx512State},
    {"avx512vpopcntdq", L7C, 14, kAvx512State},
    {"rdpid", L7C, 22, kNoState},
    {"cldemote", L7C, 25, kNoState},
    {"movdiri", L7C, 27, kNoState},
    {"movdir64b", L7C, 28, kNoState},
    {"enqcmd", L7C, 29, kNoState},
    {"uintr", L7D, 5, kNoState},
    {"avx512vp2intersect", L7D, 8, kAvx512State},
    {"serialize", L7D, 14, kNoState},
    {"tsxldtrk", L7D, 16, kNoState},
    {"pconfig", L7D, 18, kNoState},
    {"amx-bf16", L7D, 22, kAmxState},
    {"avx512fp16", L7D, 23, kAvx512State},
    {"amx-tile", L7D, 24, kAmxState},
    {"amx-int8", L7D, 25, kAmxState},
    {"sha512", L71A, 0, kAvxState},
    {"sm3", L71A, 1, kAvxState},
    {"sm4", L71A, 2, kAvxState},
    {"avxvnni", L71A, 4, kAvxState},
    {"avx512bf16", L71A, 5, kAvx512State},
    {"cmpccxadd", L71A, 7, kNoState},
    {"amx-fp16", L71A, 21, kAmxState},
    {"hreset", L71A, 22, kNoState},
    {"avxifma", L71A, 23, kAvxState},
    {"avxvnniint8", L71D, 4, kAvxState},
    {"avxneconvert", L71D, 5, kAvxState},
    {"amx-complex", L71D, 8, kAmxState},
    {"avxvnniint16", L71D, 10, kAvxState},
    {"prefetchi", L71D, 14, kNoState},
    {"xsaveopt", LD1A, 0, kNoState},
    {"xsavec", LD1A, 1, kNoState},
    {"xsaves", LD1A, 3, kNoState},
    {"sahf", E1C, 0, kNoState},
    {"lzcnt", E1C, 5, kNoState},
    {"sse4a", E1C, 6, kNoState},
    {"prfchw", E1C, 8, kNoState},
    {"xop", E1C, 11, kAvxState},
    {"fma4", E1C, 16, kAvxState},
    {"tbm", E1C, 21, kNoState},
    {"mwaitx", E1C, 29, kNoState},
    {"clzero", E8B, 0, kNoState},
    {"rdpru", E8B, 4, kNoState},
    {"wbnoinvd", E8B, 9, kNoState},
    {"ptwrite", L14B, 4, kNoState},
};

static CpuState readCpuState() {
  CpuState state;
  uint32_t a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    state.words[L1C] = c;
    state.words[L1D] = d;
    // XGETBV exists only where the system has enabled XSAVE (OSXSAVE).
    if (c & (1u << 27)) {
      uint32_t low, high;
      __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
      state.xcr0 = (uint64_t(high) << 32) | low;
    }
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    state.words[L7B] = b;
    state.words[L7C] = c;
    state.words[L7D] = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
      state.words[L71A] = a;
      state.words[L71D] = d;
    }
  }
  if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d))
    state.words[LD1A] = a;
  if (__get_cpuid_count(0x14, 0, &a, &b, &c, &d))
    state.words[L14B] = b;
  if (__get_cpuid(0x80000001, &a, &b, &c, &d))
    state.words[E1C] = c;
  if (__get_cpuid(0x80000008, &a, &b, &c, &d))
    state.words[E8B] = b;
  return state;
}

/// Asks Linux for the registers of tiles, which it gives to a process on demand (since 5.16; Documentation/arch/x86/xstate.rst).
static bool requestTiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool given = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return given;
}

/// 1: there, 0: missing, -1: not known to this runtime.
static int hasFeature(std::string_view name) {
  static const CpuState state = readCpuState();
  if (name == "64bit" || name == "x87")
    return 1;
  for (const Feature &feature : kFeatures)
    if (name == feature.name)
      return (state.words[feature.word] >> feature.bit & 1) != 0 && (state.xcr0 & feature.state) == feature.state &&
             (feature.state != kAmxState || requestTiles());
  return -1;
}

#elif defined(__aarch64__)

static int hasFeature(std::string_view name) {
  struct Feature {
    const char *name; // LLVM's
    int type;
    uint8_t bit;
  };
  static const Feature features[] = {
      {"fp-armv8", AT_HWCAP, 0}, {"neon", AT_HWCAP, 1},     {"aes", AT_HWCAP, 3},      {"sha2", AT_HWCAP, 6},
      {"crc", AT_HWCAP, 7},      {"lse", AT_HWCAP, 8},      {"fullfp16", AT_HWCAP, 9}, {"rdm", AT_HWCAP, 12},
      {"jsconv", AT_HWCAP, 13},  {"complxnum", AT_HWCAP, 14}, {"rcpc", AT_HWCAP, 15},  {"sha3", AT_HWCAP, 17},
      {"dotprod", AT_HWCAP, 20}, {"sve", AT_HWCAP, 22},     {"fp16fml", AT_HWCAP, 23}, {"sve2", AT_HWCAP2, 1},
      {"i8mm", AT_HWCAP2, 13},   {"bf16", AT_HWCAP2, 14},   {"cssc", AT_HWCAP2, 34},   {"mops", AT_HWCAP2, 43},
  };
  if (name == "v8a")
    return 1;
  for (const Feature &feature : features)
    if (name == feature.name)
      return (getauxval(feature.type) >> feature.bit & 1) != 0;
  return -1;
}

#else

static int hasFeature(std::string_view) { return -1; }

#endif

/// Calls `visit` for each entry of a comma-separated list until it returns false.
template <typename Visitor>
static void forEachEntry(std::string_view list, Visitor visit) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    if (!visit(list.substr(0, comma)))
      return;
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
}

Status elutq::runtime::checkCpuFeatures(std::string_view required, const char *disabled) {
  std::string missing, unknown;
  forEachEntry(required, [&](std::string_view entry) {
    if (entry.empty() || entry[0] == '-')
      return true;
    if (entry[0] == '+')
      entry.remove_prefix(1);
    int present = hasFeature(entry);
    if (disabled)
      forEachEntry(disabled, [&](std::string_view name) {
        if (name == entry)
          present = 0;
        return true;
      });
    std::string &list = present < 0 ? unknown : missing;
    if (present <= 0)
      list += (list.empty() ? "" : ", ") + std::string(entry);
    return true;
  });
  if (!missing.empty())
    return Status(ELUTQ_ERROR_CPU, "this CPU or system lacks " + missing +
                                       ", which the model was compiled for; compile it on this machine, or with --mcpu of "
                                       "the oldest CPU it shall run on");
  if (!unknown.empty())
    return Status(ELUTQ_ERROR_CPU, "the model was compiled for CPU features that this runtime cannot check: " + unknown +
                                       "; compile it with --mcpu of this machine");
  return Status();
}
