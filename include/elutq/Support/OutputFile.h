//===- OutputFile.h - A file that appears whole or not at all ----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_OUTPUTFILE_H
#define ELUTQ_SUPPORT_OUTPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace elutq {

/// Writes to a temporary file beside the destination, through a buffer of fixed size, and renames it at the end. The
/// temporary file is removed when the object is destroyed before `commit`, and on signals that end the process. A link stays:
/// what it names is replaced. A device or a pipe is refused.
class OutputFile {
public:
  /// `executable` sets the permission to run.
  static llvm::Expected<OutputFile> create(llvm::StringRef path, bool executable = false);
  /// Opens `existing`, a finished file, as the temporary file of `path`, to append to it.
  static llvm::Expected<OutputFile> adopt(llvm::StringRef existing, llvm::StringRef path);
  OutputFile(OutputFile &&other);
  OutputFile &operator=(OutputFile &&) = delete;
  ~OutputFile();

  /// Bytes written so far, and thus the place of the next one.
  uint64_t size() const { return position; }
  llvm::Error write(llvm::ArrayRef<char> bytes);
  llvm::Error writeZeros(uint64_t count);
  llvm::Error padTo(uint64_t alignment) { return writeZeros((alignment - position % alignment) % alignment); }
  /// Overwrites what was written before.
  llvm::Error writeAt(uint64_t offset, llvm::ArrayRef<char> bytes);
  /// Flushes, checks and renames.
  llvm::Error commit() { return commitAll(this); }

  /// The same of `files` that belong together, in this order: all of them are checked before the first appears, and a signal that
  /// ends the process waits until all are there.
  static llvm::Error commitAll(llvm::ArrayRef<OutputFile *> files);

private:
  OutputFile(std::string path, std::string temporary, int descriptor, uint64_t position);
  llvm::Error flush();
  llvm::Error finish();
  llvm::Error rename();
  void discard();
  llvm::Error writeRaw(llvm::ArrayRef<char> bytes, uint64_t offset);
  llvm::Error failure(int error) const;

  /// The name for messages, the file that is replaced, and the one that is written, if it is still there.
  std::string path, destination, temporary;
  int descriptor = -1;
  uint64_t position = 0;
  llvm::SmallVector<char, 0> buffer;
};

/// Whether `path` is a device, a pipe or a socket: what can only be written as it comes, not replaced as a whole.
bool isStream(llvm::StringRef path);

/// A name for a temporary file beside `path` that is removed on signals; the caller removes it in all other cases.
std::string temporaryNameFor(llvm::StringRef path);

} // namespace elutq

#endif // ELUTQ_SUPPORT_OUTPUTFILE_H
