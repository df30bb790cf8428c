//===- FakeModel.h - A model for the runtime's tests ------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_TEST_FAKEMODEL_H
#define ELUTQ_RUNTIME_TEST_FAKEMODEL_H

#include "elutq/Container.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace elutq::test {

inline constexpr int64_t kVocab = 300, kContext = 40, kChunk = 8;
inline constexpr uint64_t kBuildId = 0x1234567890abcdef;

/// Steps the fake entries have run, to see how the runtime cuts a prompt.
struct Call {
  bool prefill;
  int64_t count, position;
  bool wantsLogits;
};
extern std::vector<Call> calls;

/// The parts of a container before they are written; tests change them.
struct ContainerParts {
  ContainerParts();

  std::map<std::string, std::string> meta;
  std::vector<std::pair<std::string, std::string>> sections; // tokenizer and weights; meta is made from the map
  uint64_t buildId = kBuildId;
  uint64_t padding = 0; // in front of the container
  std::function<void(container::Header &)> changeHeader;
  std::function<void(container::Section &, int)> changeSection; // before the table's checksum
  std::function<void(container::Trailer &)> changeTrailer;

  std::string write() const;
};

/// A byte-level tokenizer.json: the bytes as ids 0 to 255, "ab" 256, and the special tokens <bos> 257 and <eos> 258.
std::string getTokenizerJson();

/// A temporary file that lives as long as the object.
class TemporaryFile {
public:
  explicit TemporaryFile(const std::string &bytes);
  ~TemporaryFile();
  const std::string path;
};

} // namespace elutq::test

#endif // ELUTQ_RUNTIME_TEST_FAKEMODEL_H
