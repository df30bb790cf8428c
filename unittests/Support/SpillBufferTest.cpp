//===- SpillBufferTest.cpp - Tests of buffers outside the heap ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/SpillBuffer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
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
