//===- ReleasePages.cpp - Give memory of mapped files back ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/ReleasePages.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <sys/mman.h>
#include <unistd.h>

using namespace llvm;

namespace elutq {

/// Finding the mapping of fewer bytes costs more than they are worth.
static constexpr size_t smallestRelease = 1 << 16;

/// Whether `[begin, end)` lies in one mapping of a file. Pages of the heap would be lost by the advice below.
static bool isFileMapped(uintptr_t begin, uintptr_t end) {
  auto maps = MemoryBuffer::getFileAsStream("/proc/self/maps");
  if (!maps)
    return false;
  StringRef rest = (*maps)->getBuffer();
  while (!rest.empty()) {
    StringRef line, range, permissions, offset, device, inode;
    std::tie(line, rest) = rest.split('\n');
    std::tie(range, line) = line.split(' ');
    uintptr_t first = 0, last = 0;
    if (range.split('-').first.getAsInteger(16, first) || range.split('-').second.getAsInteger(16, last) ||
        begin < first || end > last)
      continue;
    std::tie(permissions, line) = line.split(' ');
    std::tie(offset, line) = line.split(' ');
    std::tie(device, line) = line.split(' ');
    std::tie(inode, line) = line.split(' ');
    // A private mapping that can be written may differ from its file.
    bool sameAsFile = permissions.ends_with("s") || !permissions.contains('w');
    return inode != "0" && sameAsFile;
  }
  return false;
}

void releasePages(ArrayRef<char> bytes) {
  static const uintptr_t page = ::sysconf(_SC_PAGESIZE);
  uintptr_t begin = alignTo(reinterpret_cast<uintptr_t>(bytes.data()), page);
  uintptr_t end = alignDown(reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size(), page);
  if (bytes.size() >= smallestRelease && begin < end && isFileMapped(begin, end))
    ::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

} // namespace elutq
