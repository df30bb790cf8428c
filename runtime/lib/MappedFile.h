//===- MappedFile.h - A read-only mapping of a file -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_MAPPEDFILE_H
#define ELUTQ_RUNTIME_LIB_MAPPEDFILE_H

#include "Status.h"

#include <cstddef>
#include <string>

namespace elutq::runtime {

/// Owns a private read-only mapping of a whole file, or anonymous memory.
class Mapping {
public:
  Mapping() = default;
  Mapping(Mapping &&other) noexcept { swap(other); }
  Mapping &operator=(Mapping &&other) noexcept {
    swap(other);
    return *this;
  }
  ~Mapping();

  /// Maps all of `path`. An empty file is an error.
  static Status mapFile(const std::string &path, Mapping &mapping);

  /// Maps `bytes` of zeros; pages cost memory only once they are written. Asks for huge pages.
  static Status mapZeros(size_t bytes, const char *what, Mapping &mapping);

  uint8_t *data() const { return address; }
  size_t size() const { return bytes; }

  /// Tells the system that [offset, offset + length) will be read soon and is worth huge pages. Only a hint.
  void adviseWillNeed(size_t offset, size_t length) const;

  /// Takes [offset, offset + length) out of this process's memory; it is read again from the file when it is used.
  void release(size_t offset, size_t length) const;

private:
  void swap(Mapping &other) {
    std::swap(address, other.address);
    std::swap(bytes, other.bytes);
  }

  uint8_t *address = nullptr;
  size_t bytes = 0;
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_MAPPEDFILE_H
