//===- SpillBufferTest.cpp - Tests of buffers outside the heap ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/SpillBuffer.h"

#include "elutq/Support/ReleasePages.h"
#include "llvm/ADT/STLExtras.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <vector>

using namespace elutq;

namespace {

SpillBuffer createBuffer(size_t size) { return llvm::cantFail(SpillBuffer::create(size)); }

/// Pages of `data` that the page tables hold: what counts as resident memory. The page cache is not asked.
size_t countResidentBytes(llvm::ArrayRef<char> data) {
  size_t page = ::sysconf(_SC_PAGESIZE), resident = 0;
  int fd = ::open("/proc/self/pagemap", O_RDONLY);
  for (size_t offset = 0; offset < data.size(); offset += page) {
    uint64_t entry = 0;
    off_t position = reinterpret_cast<uintptr_t>(data.data() + offset) / page * sizeof entry;
    if (::pread(fd, &entry, sizeof entry, position) == sizeof entry && entry >> 63)
      resident += page;
  }
  ::close(fd);
  return resident;
}

TEST(SpillBufferTest, HoldsZerosAtFirst) {
  for (size_t size : {0, 1, 1000, 1 << 20}) {
    SpillBuffer buffer = createBuffer(size);
    ASSERT_EQ(buffer.getData().size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.getData().data()) % 64, 0u);
    for (char byte : buffer.getData())
      ASSERT_EQ(byte, 0);
  }
}

// What was written comes back after its pages were given away, in large buffers and in small ones.
TEST(SpillBufferTest, KeepsBytesAfterRelease) {
  for (size_t size : {1000, 3 << 20}) {
    SpillBuffer buffer = createBuffer(size);
    for (size_t i = 0; i < size; ++i)
      buffer.getData()[i] = static_cast<char>(i * 7);
    releasePages(buffer.getData());
    for (size_t i = 0; i < size; ++i)
      ASSERT_EQ(buffer.getData()[i], static_cast<char>(i * 7));
  }
}

TEST(SpillBufferTest, ReleaseFreesMemory) {
  SpillBuffer buffer = createBuffer(3 << 20);
  std::fill(buffer.getData().begin(), buffer.getData().end(), 1);
  EXPECT_EQ(countResidentBytes(buffer.getData()), buffer.getData().size());
  releasePages(buffer.getData());
  EXPECT_EQ(countResidentBytes(buffer.getData()), 0u);
}

/// How much of a mapped file the system's cache holds.
size_t countCachedBytes(llvm::ArrayRef<char> data) {
  size_t page = ::sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> pages((data.size() + page - 1) / page);
  EXPECT_EQ(::mincore(const_cast<char *>(data.data()), data.size(), pages.data()), 0);
  return llvm::count_if(pages, [](unsigned char state) { return state & 1; }) * page;
}

// A file that is read once leaves the system's cache, and can be read again all the same.
TEST(SpillBufferTest, ReleaseOfFilesReadOnce) {
  constexpr size_t size = 3 << 20;
  char path[] = "./elutq-release-XXXXXX";
  int fd = ::mkstemp(path);
  ASSERT_GE(fd, 0);
  std::vector<char> bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>(i * 11);
  ASSERT_EQ(::write(fd, bytes.data(), size), static_cast<ssize_t>(size));
  ASSERT_EQ(::fsync(fd), 0);
  struct statfs system;
  ASSERT_EQ(::fstatfs(fd, &system), 0);
  for (bool isReadOnce : {false, true}) {
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    ASSERT_NE(address, MAP_FAILED);
    llvm::ArrayRef<char> data(static_cast<const char *>(address), size);
    addFileMapping(data, isReadOnce);
    ASSERT_EQ(data, llvm::ArrayRef(bytes));
    EXPECT_EQ(countCachedBytes(data), size);
    releasePages(data);
    EXPECT_EQ(countResidentBytes(data), 0u);
    // Files in memory have nowhere else to go.
    if (system.f_type != TMPFS_MAGIC)
      EXPECT_EQ(countCachedBytes(data), isReadOnce ? 0 : size);
    ASSERT_EQ(data, llvm::ArrayRef(bytes));
    removeFileMapping(data);
    ::munmap(address, size);
  }
  ::close(fd);
  ::unlink(path);
}

// Pages of the heap hold the only copy of their bytes.
TEST(SpillBufferTest, ReleaseLeavesTheHeapAlone) {
  std::vector<char> heap(3 << 20, 5);
  releasePages(heap);
  for (char byte : heap)
    ASSERT_EQ(byte, 5);
}

TEST(SpillBufferTest, BlobOwnsTheBytes) {
  mlir::AsmResourceBlob blob = [] {
    SpillBuffer buffer = createBuffer(1 << 20);
    buffer.getData().back() = 9;
    return std::move(buffer).takeBlob();
  }();
  EXPECT_EQ(blob.getData().size(), size_t(1) << 20);
  EXPECT_EQ(blob.getData().back(), 9);
}

TEST(SpillBufferTest, ImpossibleSizeIsAnError) {
  llvm::Expected<SpillBuffer> buffer = SpillBuffer::create(size_t(1) << 62);
  ASSERT_FALSE(buffer);
  EXPECT_NE(llvm::toString(buffer.takeError()).find("cannot map a temporary file of 4611686018427387904 bytes"),
            std::string::npos);
}

} // namespace
