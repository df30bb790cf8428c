//===- MappedFile.cpp - A read-only mapping of a file ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "MappedFile.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace elutq::runtime;

Status elutq::runtime::ioError(const std::string &action, const std::string &path, int error) {
  return Status(ELUTQ_ERROR_IO, action + " '" + path + "': " + std::strerror(error));
}

Mapping::~Mapping() {
  if (address)
    ::munmap(address, bytes);
}

Status Mapping::mapFile(const std::string &path, Mapping &mapping) {
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return ioError("cannot open", path, errno);
  struct stat info;
  if (::fstat(file, &info) != 0) {
    Status status = ioError("cannot read the size of", path, errno);
    ::close(file);
    return status;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(file);
    return Status(ELUTQ_ERROR_IO, "cannot map '" + path + "': it is not a regular file");
  }
  if (info.st_size == 0) {
    ::close(file);
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "' is empty: it was not written completely; compile the model again");
  }
  void *address = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
  int error = errno;
  ::close(file);
  if (address == MAP_FAILED)
    return ioError("cannot map", path, error);
  Mapping result;
  result.address = static_cast<uint8_t *>(address);
  result.bytes = static_cast<size_t>(info.st_size);
  mapping = std::move(result);
  return Status();
}

Status Mapping::mapZeros(size_t bytes, const char *what, Mapping &mapping) {
  // Compiled code may be given a pointer to a buffer it never uses, so a mapping is never empty.
  constexpr size_t kHugePage = size_t(2) << 20;
  size_t rounded = bytes == 0 ? 4096 : bytes;
  // Huge pages need aligned 2 MiB ranges, and the kernel aligns a mapping only when its length is a multiple of them.
  if (rounded >= kHugePage)
    rounded = (rounded + kHugePage - 1) & ~(kHugePage - 1);
  void *address = MAP_FAILED;
  if (rounded >= bytes)
    address = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    return Status(ELUTQ_ERROR_MEMORY, "cannot reserve " + std::to_string(bytes >> 20) + " MiB for " + what +
                                          ": close other programs, or compile with a smaller --max-context");
#ifdef MADV_HUGEPAGE
  ::madvise(address, rounded, MADV_HUGEPAGE);
#endif
  Mapping result;
  result.address = static_cast<uint8_t *>(address);
  result.bytes = rounded;
  mapping = std::move(result);
  return Status();
}

/// Gives the system an advice on all pages of `length` bytes from `begin` on.
static void advise(const uint8_t *begin, size_t length, int advice) {
  uintptr_t first = reinterpret_cast<uintptr_t>(begin) & ~uintptr_t(4095);
  ::madvise(reinterpret_cast<void *>(first), reinterpret_cast<uintptr_t>(begin) + length - first, advice);
}

void Mapping::adviseWillNeed(size_t offset, size_t length) const {
  advise(address + offset, length, MADV_WILLNEED);
#ifdef MADV_HUGEPAGE
  advise(address + offset, length, MADV_HUGEPAGE);
#endif
}

void Mapping::release(size_t offset, size_t length) const { advise(address + offset, length, MADV_DONTNEED); }
