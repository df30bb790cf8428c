//===- TestSupport.h - Helpers of the tests of files -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_UNITTESTS_TESTSUPPORT_H
#define ELUTQ_UNITTESTS_TESTSUPPORT_H

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"

#include <fstream>
#include <string>

/// A folder that is removed with all its files at the end of a test.
class TemporaryDirectory {
public:
  TemporaryDirectory() { EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("elutq-test", root)); }
  ~TemporaryDirectory() { llvm::sys::fs::remove_directories(root); }

  std::string path(llvm::StringRef name) const { return (root + "/" + name).str(); }
  bool exists(llvm::StringRef name) const { return llvm::sys::fs::exists(path(name)); }
  void write(llvm::StringRef name, llvm::StringRef text) const {
    std::ofstream(path(name), std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
  }
  std::string read(llvm::StringRef name) const {
    auto buffer = llvm::MemoryBuffer::getFile(path(name));
    return buffer ? (*buffer)->getBuffer().str() : "";
  }
  int files() const {
    int count = 0;
    std::error_code error;
    for (llvm::sys::fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error))
      ++count;
    return count;
  }

private:
  llvm::SmallString<128> root;
};

#endif // ELUTQ_UNITTESTS_TESTSUPPORT_H
