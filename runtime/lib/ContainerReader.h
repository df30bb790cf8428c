//===- ContainerReader.h - Checks and opens a container ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_CONTAINERREADER_H
#define ELUTQ_RUNTIME_LIB_CONTAINERREADER_H

#include "MappedFile.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace elutq::runtime {

/// A mapped container whose structure has been checked.
class ContainerReader {
public:
  /// Maps `path` and checks its trailer, header and section table: magic numbers, version, sizes, bounds, alignment and
  /// checksums. Payloads are checked by verifySection.
  static Status open(const std::string &path, ContainerReader &reader);

  /// The payload of a section; data() is null when there is none of that name.
  std::string_view getSection(std::string_view name) const;

  /// Compares the checksum of a payload, or of its `copy`; true for a missing section.
  Status verifySection(std::string_view name, const uint8_t *copy = nullptr) const;

  /// Tells the system that a section will be read.
  void adviseWillNeed(std::string_view name) const;

  /// Copies a section's payload into anonymous memory, in huge pages where the system has them.
  Status copySection(std::string_view name, Mapping &copy) const;

  uint64_t getBuildId() const { return buildId; }
  const std::string &getPath() const { return path; }

private:
  struct Entry {
    std::string name;
    uint64_t offset; // in the file
    uint64_t bytes;
    uint64_t xxh3;
  };

  const Entry *find(std::string_view name) const;
  Status damaged(const std::string &what) const;

  std::string path;
  Mapping mapping;
  uint64_t buildId = 0;
  std::vector<Entry> entries;
};

/// Parses the meta section: `key=value` lines with `\\` and `\n` escapes.
Status parseMeta(std::string_view text, std::map<std::string, std::string> &values);

/// A value that must be there as a number in [low, high].
Status getMetaNumber(const std::map<std::string, std::string> &values, const char *key, uint64_t low, uint64_t high,
                     uint64_t &number);

/// Parses a comma-separated list of token ids below `vocabSize`; an absent key is an empty list.
Status getMetaTokens(const std::map<std::string, std::string> &values, const char *key, uint64_t vocabSize,
                     std::vector<int64_t> &tokens);

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_CONTAINERREADER_H
