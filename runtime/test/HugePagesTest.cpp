//===- HugePagesTest.cpp --------------------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "HugePages.h"
#include "MappedFile.h"
#include "gtest/gtest.h"
#include <cstring>
#include <fstream>
#include <sstream>

using namespace elutq::runtime;

TEST(HugePages, ofMappings) {
  const char *text = "7f0000000000-7f0000800000 r--p 00000000 fe:00 12 /models/chat: 1\n"
                     "Size:               8192 kB\n"
                     "AnonHugePages:         0 kB\n"
                     "FilePmdMapped:      6144 kB\n"
                     "7f0000800000-7f0000c00000 rw-p 00000000 00:00 0\n"
                     "AnonHugePages:      2048 kB\n"
                     "FilePmdMapped:         0 kB\n"
                     "VmFlags: rd wr mr mw me ac sd hg\n";
  auto count = [&](uint64_t begin, uint64_t end) {
    std::istringstream smaps(text);
    return countHugePageBytes(smaps, begin, end) >> 20;
  };
  EXPECT_EQ(count(0x7f0000000000, 0x7f0000c00000), 8u);
  EXPECT_EQ(count(0x7f0000000000, 0x7f0000800000), 6u);
  EXPECT_EQ(count(0x7f0000500000, 0x7f0000800000), 3u); // no more than what is asked for
  EXPECT_EQ(count(0x7f0000800000, 0x7f0000900000), 1u);
  EXPECT_EQ(count(0x7f0000c00000, 0x7f0000d00000), 0u);
}

TEST(HugePages, ofThisProcess) {
  Mapping mapping;
  ASSERT_TRUE(Mapping::mapZeros(8 << 20, "a test", mapping).ok());
  EXPECT_EQ(countHugePageBytes(mapping.data(), mapping.size()), 0u); // nothing is written yet
  std::memset(mapping.data(), 1, mapping.size());
  // The system gives as many as it has, in whole ones.
  uint64_t bytes = countHugePageBytes(mapping.data(), mapping.size());
  EXPECT_LE(bytes, mapping.size());
  EXPECT_EQ(bytes % (2 << 20), 0u);
}
