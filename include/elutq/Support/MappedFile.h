//===- MappedFile.h - Files mapped for reading ------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_MAPPEDFILE_H
#define ELUTQ_SUPPORT_MAPPEDFILE_H

#include "elutq/Support/ReleasePages.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace elutq {

/// A regular file, mapped privately and read-only. Shared by whoever refers to its bytes.
class MappedFile {
public:
  static llvm::Expected<std::shared_ptr<const MappedFile>> open(llvm::StringRef path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  llvm::ArrayRef<char> getBytes() const { return bytes; }

  /// Tells this file and state of it from others: device, inode, size and time of change.
  llvm::StringRef getIdentity() const { return identity; }

private:
  MappedFile(llvm::ArrayRef<char> bytes, std::string identity);

  llvm::ArrayRef<char> bytes;
  std::string identity;
};

} // namespace elutq

#endif // ELUTQ_SUPPORT_MAPPEDFILE_H
