//===- ReleasePages.cpp - Give memory of mapped files back ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/ReleasePages.h"
#include "llvm/Support/MathExtras.h"

#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

using namespace llvm;

namespace elutq {

/// Below this, the advice costs more than the memory is worth.
static constexpr size_t smallestRelease = 1 << 16;

namespace {
/// The mappings of files that are in use: where each ends, by where it begins.
struct Mappings {
  std::mutex mutex;
  std::map<uintptr_t, uintptr_t> ends;
};
} // namespace

static Mappings &getMappings() {
  static Mappings mappings;
  return mappings;
}

void addFileMapping(ArrayRef<char> bytes) {
  auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  Mappings &mappings = getMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  mappings.ends[begin] = begin + bytes.size();
}

void removeFileMapping(ArrayRef<char> bytes) {
  Mappings &mappings = getMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  mappings.ends.erase(reinterpret_cast<uintptr_t>(bytes.data()));
}

/// Whether `[begin, end)` lies in one mapping of a file. Pages of the heap would be lost by the advice below.
static bool isFileMapped(uintptr_t begin, uintptr_t end) {
  Mappings &mappings = getMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  auto next = mappings.ends.upper_bound(begin);
  return next != mappings.ends.begin() && end <= std::prev(next)->second;
}

void releasePages(ArrayRef<char> bytes) {
  static const uintptr_t page = ::sysconf(_SC_PAGESIZE);
  uintptr_t begin = alignTo(reinterpret_cast<uintptr_t>(bytes.data()), page);
  uintptr_t end = alignDown(reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size(), page);
  if (bytes.size() >= smallestRelease && begin < end && isFileMapped(begin, end))
    ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

} // namespace elutq
