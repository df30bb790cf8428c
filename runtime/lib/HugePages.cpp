//===- HugePages.cpp - How much of a range lies in huge pages -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "HugePages.h"
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

using namespace elutq;

uint64_t runtime::countHugePageBytes(const void *begin, size_t bytes) {
  std::ifstream smaps("/proc/self/smaps");
  uint64_t first = reinterpret_cast<uintptr_t>(begin);
  return countHugePageBytes(smaps, first, first + bytes);
}

uint64_t runtime::countHugePageBytes(std::istream &smaps, uint64_t begin, uint64_t end) {
  uint64_t result = 0, shared = 0, low = 0, high = 0;
  for (std::string line; std::getline(smaps, line);) {
    char name[32];
    uint64_t value = 0;
    // The line of a mapping is "LOW-HIGH ...", hexadecimal; those behind it are "NAME: N kB".
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &low, &high) == 2)
      shared = std::min(high, end) > std::max(low, begin) ? std::min(high, end) - std::max(low, begin) : 0;
    else if (shared > 0 && std::sscanf(line.c_str(), "%31[A-Za-z_]: %" SCNu64 " kB", name, &value) == 2 &&
             (std::string(name) == "AnonHugePages" || std::string(name) == "FilePmdMapped"))
      result += std::min(value << 10, shared);
  }
  return std::min(result, end - begin);
}
