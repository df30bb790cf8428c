//===- OutputFileTest.cpp - Tests of whole-or-nothing files ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/OutputFile.h"
#include "../TestSupport.h"

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace elutq;

TEST(OutputFileTest, AppearsAtCommit) {
  TemporaryDirectory dir;
  auto file = OutputFile::create(dir.path("out"), /*executable=*/true);
  ASSERT_TRUE(static_cast<bool>(file));
  std::string large(3 << 20, 'x'); // several buffers
  EXPECT_FALSE(file->write(large));
  EXPECT_FALSE(file->padTo(4096));
  EXPECT_FALSE(file->write({'e', 'n', 'd'}));
  EXPECT_FALSE(file->writeAt(1, {'y'}));
  EXPECT_FALSE(dir.exists("out"));
  EXPECT_FALSE(file->commit());
  std::string content = dir.read("out");
  large[1] = 'y';
  EXPECT_EQ(content, large + "end");
  EXPECT_EQ(dir.files(), 1);
  struct stat status;
  ASSERT_EQ(stat(dir.path("out").c_str(), &status), 0);
  EXPECT_TRUE(status.st_mode & S_IXUSR);
}

TEST(OutputFileTest, LeavesNothingWithoutCommit) {
  TemporaryDirectory dir;
  dir.write("out", "old");
  {
    auto file = OutputFile::create(dir.path("out"));
    ASSERT_TRUE(static_cast<bool>(file));
    EXPECT_FALSE(file->write({'n', 'e', 'w'}));
  }
  EXPECT_EQ(dir.read("out"), "old");
  EXPECT_EQ(dir.files(), 1);
}

TEST(OutputFileTest, AdoptedFileIsAppendedTo) {
  TemporaryDirectory dir;
  dir.write("part", "begin");
  auto file = OutputFile::adopt(dir.path("part"), dir.path("out"));
  ASSERT_TRUE(static_cast<bool>(file));
  EXPECT_EQ(file->size(), 5u);
  EXPECT_FALSE(file->padTo(8));
  EXPECT_FALSE(file->write({'!'}));
  EXPECT_FALSE(file->commit());
  EXPECT_EQ(dir.read("out"), std::string("begin\0\0\0!", 9));
  EXPECT_EQ(dir.files(), 1);
}

/// KiB of `path`'s mapping that are mapped as huge pages, once every page has been read.
static uint64_t mappedAsHugePages(const std::string &path) {
  int descriptor = open(path.c_str(), O_RDONLY);
  struct stat status;
  EXPECT_EQ(fstat(descriptor, &status), 0);
  size_t bytes = static_cast<size_t>(status.st_size);
  void *data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  close(descriptor);
  EXPECT_NE(data, MAP_FAILED);
  for (size_t i = 0; i < bytes; i += 4096)
    static_cast<void>(*(static_cast<const volatile char *>(data) + i));
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  uint64_t found = 0;
  for (bool here = false; std::getline(maps, line);) {
    if (line.find(" kB") == std::string::npos)
      here = line.find(path) != std::string::npos || (here && line.find("VmFlags") == std::string::npos);
    else if (here && line.compare(0, 14, "FilePmdMapped:") == 0)
      found += std::stoull(line.substr(14));
  }
  munmap(data, bytes);
  return found;
}

// Whatever the pieces it is given, it writes whole huge pages of the file. Not all systems keep them.
TEST(OutputFileTest, HugePagesStayWhole) {
  constexpr size_t kHugePage = size_t(2) << 20;
  TemporaryDirectory dir;
  std::string page(kHugePage, 'x');
  int plain = open(dir.path("plain").c_str(), O_WRONLY | O_CREAT, 0666);
  for (int i = 0; i < 4; ++i)
    ASSERT_EQ(write(plain, page.data(), kHugePage), static_cast<ssize_t>(kHugePage));
  close(plain);
  if (mappedAsHugePages(dir.path("plain")) < 4 * 2048)
    GTEST_SKIP() << "this file system has no huge pages";
  auto file = OutputFile::create(dir.path("out"));
  ASSERT_TRUE(static_cast<bool>(file));
  std::string piece(700001, 'y');
  while (file->size() < 5 * kHugePage)
    EXPECT_FALSE(file->write(piece));
  EXPECT_FALSE(file->commit());
  // Memory may be too fragmented for some.
  EXPECT_GE(mappedAsHugePages(dir.path("out")), 3u * 2048);
}

TEST(OutputFileTest, ErrorsNameTheFile) {
  TemporaryDirectory dir;
  auto missing = OutputFile::create(dir.path("no/out"));
  ASSERT_FALSE(static_cast<bool>(missing));
  EXPECT_EQ(llvm::toString(missing.takeError()), "cannot write '" + dir.path("no/out") + "': No such file or directory");
  auto directory = OutputFile::create(dir.path(""));
  ASSERT_FALSE(static_cast<bool>(directory));
  llvm::consumeError(directory.takeError());
}

// A write that the system cuts off is an error, and the part that was written goes away.
TEST(OutputFileTest, SizeLimitIsAnError) {
  TemporaryDirectory dir;
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  std::string message;
  {
    auto file = OutputFile::create(dir.path("out"));
    ASSERT_TRUE(static_cast<bool>(file));
    rlimit limit = {1 << 20, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    std::string large(5 << 20, 'x');
    llvm::Error error = file->write(large);
    if (!error)
      error = file->commit();
    message = llvm::toString(std::move(error));
  }
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_EQ(message, "cannot write '" + dir.path("out") + "': File too large");
  EXPECT_EQ(dir.files(), 0);
}

// Of files that belong together, none appears before all are written.
TEST(OutputFileTest, FilesAppearTogether) {
  TemporaryDirectory dir;
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  std::string message;
  {
    auto small = OutputFile::create(dir.path("small")), large = OutputFile::create(dir.path("large"));
    ASSERT_TRUE(small && large);
    EXPECT_FALSE(small->write({'a'}));
    EXPECT_FALSE(large->write(std::string(9000, 'x'))); // stays in the buffer
    rlimit limit = {4096, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    message = llvm::toString(OutputFile::commitAll({&*small, &*large}));
    setrlimit(RLIMIT_FSIZE, &old);
  }
  EXPECT_EQ(message, "cannot write '" + dir.path("large") + "': File too large");
  EXPECT_EQ(dir.files(), 0);
}

// A signal between the first and the last of them ends the process behind the last.
TEST(OutputFileTest, SignalsWaitForAllFiles) {
  constexpr int count = 300, attempts = 100;
  // Where the signal comes when all is done already, the attempt says nothing.
  bool wasInTime = false;
  for (int attempt = 0; attempt < attempts && !wasInTime; ++attempt) {
    TemporaryDirectory dir;
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::vector<OutputFile> files;
      std::vector<OutputFile *> pointers;
      for (int i = 0; i < count; ++i)
        files.push_back(llvm::cantFail(OutputFile::create(dir.path("out" + std::to_string(i)))));
      for (OutputFile &file : files)
        pointers.push_back(&file);
      llvm::cantFail(OutputFile::commitAll(pointers));
      _exit(0);
    }
    int status = 0;
    pid_t ended = 0;
    while (!dir.exists("out0") && ended == 0)
      ended = waitpid(child, &status, WNOHANG);
    if (ended == 0) {
      kill(child, SIGTERM);
      ended = waitpid(child, &status, 0);
    }
    ASSERT_EQ(ended, child);
    wasInTime = WIFSIGNALED(status);
    EXPECT_TRUE(wasInTime ? WTERMSIG(status) == SIGTERM : WEXITSTATUS(status) == 0);
    EXPECT_EQ(dir.files(), count);
    EXPECT_TRUE(dir.exists("out" + std::to_string(count - 1)));
  }
  EXPECT_TRUE(wasInTime);
}

TEST(OutputFileTest, LinksStay) {
  TemporaryDirectory dir, other;
  other.write("target", "old");
  ASSERT_EQ(symlink(other.path("target").c_str(), dir.path("out").c_str()), 0);
  auto file = OutputFile::create(dir.path("out"));
  ASSERT_TRUE(static_cast<bool>(file));
  EXPECT_EQ(other.files(), 2); // Beside the target, where renaming is possible.
  EXPECT_FALSE(file->write({'n', 'e', 'w'}));
  EXPECT_FALSE(file->commit());
  EXPECT_EQ(other.read("target"), "new");
  EXPECT_TRUE(llvm::sys::fs::is_symlink_file(dir.path("out")));
  EXPECT_EQ(other.files(), 1);
}

TEST(OutputFileTest, StreamsAreNotReplaced) {
  TemporaryDirectory dir;
  ASSERT_EQ(mkfifo(dir.path("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(elutq::isStream(dir.path("pipe")));
  EXPECT_TRUE(elutq::isStream("/dev/null"));
  EXPECT_FALSE(elutq::isStream(dir.path("")));
  EXPECT_FALSE(elutq::isStream(dir.path("missing")));
  auto file = OutputFile::create(dir.path("pipe"));
  ASSERT_FALSE(static_cast<bool>(file));
  EXPECT_EQ(llvm::toString(file.takeError()), "cannot write '" + dir.path("pipe") + "': it is no regular file");
  EXPECT_EQ(dir.files(), 1);
}
