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
#include <optional>
#include <sys/mman.h>
#include <unistd.h>

using namespace llvm;

namespace elutq {

/// Below this, the advice costs more than the memory is worth.
static constexpr size_t smallestRelease = 1 << 16;

namespace {
struct FileMapping {
  uintptr_t end;
  bool isReadOnce;
};

/// The mappings of files that are in use, by where each begins.
struct Mappings {
  std::mutex mutex;
  std::map<uintptr_t, FileMapping> byBegin;
};
} // namespace

static Mappings &getMappings() {
  static Mappings mappings;
  return mappings;
}

void addFileMapping(ArrayRef<char> bytes, bool isReadOnce) {
  auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  Mappings &mappings = getMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  mappings.byBegin[begin] = {begin + bytes.size(), isReadOnce};
}

void removeFileMapping(ArrayRef<char> bytes) {
  Mappings &mappings = getMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  mappings.byBegin.erase(reinterpret_cast<uintptr_t>(bytes.data()));
}

/// The mapping of a file that `[begin, end)` lies in. Pages of the heap would be lost by the advice below.
static std::optional<FileMapping> findFileMapping(uintptr_t begin, uintptr_t end) {
  Mappings &mappings = getMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  auto next = mappings.byBegin.upper_bound(begin);
  if (next == mappings.byBegin.begin() || end > std::prev(next)->second.end)
    return std::nullopt;
  return std::prev(next)->second;
}

void releasePages(ArrayRef<char> bytes) {
  static const uintptr_t page = ::sysconf(_SC_PAGESIZE);
  uintptr_t begin = alignTo(reinterpret_cast<uintptr_t>(bytes.data()), page);
  uintptr_t end = alignDown(reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size(), page);
  if (bytes.size() < smallestRelease || begin >= end)
    return;
  std::optional<FileMapping> mapping = findFileMapping(begin, end);
  if (!mapping)
    return;
#ifdef MADV_PAGEOUT
  if (mapping->isReadOnce)
    ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_PAGEOUT);
#endif
  ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

} // namespace elutq
