//===- MappedFile.cpp - Files mapped for reading ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/MappedFile.h"

#include "llvm/ADT/Twine.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;

namespace elutq {

static Error failToOpen(StringRef path) {
  return createStringError("cannot open '" + path + "': " + std::strerror(errno));
}

Expected<std::shared_ptr<const MappedFile>> MappedFile::open(StringRef path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below.
  int descriptor = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return failToOpen(path);
  struct stat status;
  if (fstat(descriptor, &status) != 0) {
    Error error = failToOpen(path);
    ::close(descriptor);
    return error;
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return createStringError("'" + path + "' is not a regular file");
  }
  size_t size = status.st_size;
  void *address = size == 0 ? nullptr : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  int mapError = errno;
  ::close(descriptor);
  if (address == MAP_FAILED)
    return createStringError("cannot map '" + path + "': " + std::strerror(mapError));
  std::string identity = (Twine(status.st_dev) + ":" + Twine(status.st_ino) + ":" + Twine(size) + ":" +
                          Twine(status.st_mtim.tv_sec) + "." + Twine(status.st_mtim.tv_nsec))
                             .str();
  return std::shared_ptr<const MappedFile>(
      new MappedFile(ArrayRef(static_cast<const char *>(address), size), std::move(identity)));
}

MappedFile::MappedFile(ArrayRef<char> bytes, std::string identity) : bytes(bytes), identity(std::move(identity)) {
  // A model that memory can hold together with what is made of it stays there for the next run.
  auto memory = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (!bytes.empty())
    addFileMapping(bytes, /*isReadOnce=*/bytes.size() > memory / 4);
}

MappedFile::~MappedFile() {
  if (bytes.empty())
    return;
  removeFileMapping(bytes);
  munmap(const_cast<char *>(bytes.data()), bytes.size());
}

} // namespace elutq
