//===- OutputFile.cpp - A file that appears whole or not at all -----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/OutputFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

using namespace llvm;
using namespace elutq;

/// Pieces are whole huge pages of the file: file systems with large folios keep them as such, so that a mapping of the file reads
/// from huge pages.
static constexpr size_t kBufferBytes = size_t(2) << 20;

namespace {
/// What would end the process does so once this object is gone.
class DeferredSignals {
public:
  DeferredSignals() {
    received = 0;
    struct sigaction action = {};
    action.sa_handler = [](int number) { received = number; };
    for (auto [number, before] : zip_equal(kNumbers, actions))
      ::sigaction(number, &action, &before);
  }
  ~DeferredSignals() {
    for (auto [number, before] : zip_equal(kNumbers, actions))
      ::sigaction(number, &before, nullptr);
    if (received)
      ::raise(received);
  }
  DeferredSignals(const DeferredSignals &) = delete;
  DeferredSignals &operator=(const DeferredSignals &) = delete;

private:
  static constexpr std::array<int, 3> kNumbers = {SIGINT, SIGTERM, SIGHUP};
  static volatile std::sig_atomic_t received;
  std::array<struct sigaction, kNumbers.size()> actions = {};
};
volatile std::sig_atomic_t DeferredSignals::received = 0;
} // namespace

bool elutq::isStream(StringRef path) {
  struct stat status;
  return ::stat(path.str().c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

/// What `path` names, through links; `path` itself where a link leads nowhere.
static std::string followLinks(StringRef path) {
  SmallString<256> real;
  if (!sys::fs::is_symlink_file(path) || sys::fs::real_path(path, real))
    return path.str();
  return real.str().str();
}

std::string elutq::temporaryNameFor(StringRef path) {
  std::string name = followLinks(path) + ".tmp" + utohexstr(sys::Process::GetRandomNumber()) + utostr(::getpid());
  sys::RemoveFileOnSignal(name);
  return name;
}

static Error fileError(StringRef path, int error) {
  return createStringError("cannot write '%s': %s", path.str().c_str(), sys::StrError(error).c_str());
}

OutputFile::OutputFile(std::string path, std::string temporary, int descriptor, uint64_t position)
    : path(path), destination(followLinks(path)), temporary(std::move(temporary)), descriptor(descriptor),
      position(position) {
  buffer.reserve(kBufferBytes);
}

OutputFile::OutputFile(OutputFile &&other)
    : path(std::move(other.path)), destination(std::move(other.destination)),
      temporary(std::exchange(other.temporary, std::string())), descriptor(std::exchange(other.descriptor, -1)),
      position(other.position), buffer(std::move(other.buffer)) {}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    ::close(descriptor);
  discard();
}

void OutputFile::discard() {
  if (temporary.empty())
    return;
  sys::fs::remove(temporary);
  sys::DontRemoveFileOnSignal(std::exchange(temporary, std::string()));
}

Expected<OutputFile> OutputFile::create(StringRef path, bool executable) {
  struct stat status;
  if (::stat(path.str().c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    return fileError(path, EISDIR);
  if (isStream(path))
    return createStringError("cannot write '%s': it is no regular file", path.str().c_str());
  std::string temporary = temporaryNameFor(path);
  int descriptor = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, executable ? 0777 : 0666);
  if (descriptor < 0) {
    int error = errno;
    sys::DontRemoveFileOnSignal(temporary);
    return fileError(path, error);
  }
  return OutputFile(path.str(), temporary, descriptor, 0);
}

Expected<OutputFile> OutputFile::adopt(StringRef existing, StringRef path) {
  int descriptor = ::open(existing.str().c_str(), O_RDWR | O_CLOEXEC);
  struct stat status;
  if (descriptor < 0 || ::fstat(descriptor, &status) != 0) {
    int error = errno;
    if (descriptor >= 0)
      ::close(descriptor);
    return fileError(existing, error);
  }
  return OutputFile(path.str(), existing.str(), descriptor, static_cast<uint64_t>(status.st_size));
}

Error OutputFile::failure(int error) const { return fileError(path, error); }

Error OutputFile::writeRaw(ArrayRef<char> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    // A short count is no error in itself; the next call says why, and no progress at all is a full disk.
    if (count <= 0)
      return failure(count < 0 ? errno : ENOSPC);
    bytes = bytes.drop_front(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return Error::success();
}

Error OutputFile::flush() {
  Error error = writeRaw(buffer, position - buffer.size());
  buffer.clear();
  return error;
}

Error OutputFile::write(ArrayRef<char> bytes) {
  while (!bytes.empty()) {
    size_t count = std::min<size_t>(bytes.size(), kBufferBytes - position % kBufferBytes);
    buffer.append(bytes.begin(), bytes.begin() + count);
    position += count;
    bytes = bytes.drop_front(count);
    if (position % kBufferBytes == 0)
      if (Error error = flush())
        return error;
  }
  return Error::success();
}

Error OutputFile::writeZeros(uint64_t count) {
  static constexpr char zeros[4096] = {};
  for (; count > 0; count -= std::min<uint64_t>(count, sizeof zeros))
    if (Error error = write(ArrayRef(zeros, std::min<uint64_t>(count, sizeof zeros))))
      return error;
  return Error::success();
}

Error OutputFile::writeAt(uint64_t offset, ArrayRef<char> bytes) {
  if (Error error = flush())
    return error;
  return writeRaw(bytes, offset);
}

/// Nothing more can go wrong with what was written.
Error OutputFile::finish() {
  if (Error error = flush())
    return error;
  int closed = ::close(descriptor), error = errno;
  descriptor = -1;
  if (closed == 0)
    return Error::success();
  discard();
  return failure(error);
}

Error OutputFile::rename() {
  if (std::error_code error = sys::fs::rename(temporary, destination)) {
    // LLVM's handler of a signal removes the file on whichever thread it runs, and ends the process next: that is what to tell of.
    if (error == std::errc::no_such_file_or_directory)
      std::this_thread::sleep_for(std::chrono::seconds(1));
    discard();
    return failure(error.value());
  }
  sys::DontRemoveFileOnSignal(std::exchange(temporary, std::string()));
  return Error::success();
}

Error OutputFile::commitAll(ArrayRef<OutputFile *> files) {
  for (OutputFile *file : files)
    if (Error error = file->finish())
      return error;
  DeferredSignals deferred;
  for (OutputFile *file : files)
    if (Error error = file->rename())
      return error;
  return Error::success();
}
