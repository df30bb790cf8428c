//===- SpillBuffer.cpp - Large buffers outside the heap -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/SpillBuffer.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace elutq {

/// Below this size a mapping costs more than it saves.
static constexpr size_t spillThreshold = 1 << 16;
static constexpr size_t alignment = 64;

llvm::Expected<SpillBuffer> SpillBuffer::create(size_t size) {
  if (size < spillThreshold) {
    AsmResourceBlob blob = HeapAsmResourceBlob::allocate(size, alignment);
    std::memset(blob.getMutableData().data(), 0, size);
    return SpillBuffer(std::move(blob));
  }

  SmallString<128> path;
  llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/true, path);
  llvm::sys::path::append(path, "elutq-%%%%%%%%%%");
  int fd = -1;
  if (std::error_code error = llvm::sys::fs::createUniqueFile(path, fd, path))
    return llvm::createStringError(error, "cannot create a temporary file in '%s': %s",
                                   llvm::sys::path::parent_path(path).str().c_str(), error.message().c_str());
  // Nobody else needs the name, and without one nothing is left behind, however the process ends.
  llvm::sys::fs::remove(path);
  // Blocks are reserved now: running out of disk later would be a signal in the middle of a store.
  int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  void *data = error ? MAP_FAILED : ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (!error && data == MAP_FAILED)
    error = errno;
  ::close(fd);
  if (error)
    return llvm::createStringError(std::errc::not_enough_memory, "cannot map a temporary file of %zu bytes: %s", size,
                                   llvm::sys::StrError(error).c_str());
  auto unmap = [](void *pages, size_t bytes, size_t) {
    removeFileMapping(ArrayRef<char>(static_cast<char *>(pages), bytes));
    ::munmap(pages, bytes);
  };
  ArrayRef<char> bytes(static_cast<char *>(data), size);
  addFileMapping(bytes);
  return SpillBuffer(AsmResourceBlob(bytes, alignment, unmap, /*dataIsMutable=*/true));
}

} // namespace elutq
