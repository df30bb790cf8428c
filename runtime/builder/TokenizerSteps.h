//===- TokenizerSteps.h - The steps of a tokenizer.json ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_BUILDER_TOKENIZERSTEPS_H
#define ELUTQ_RUNTIME_BUILDER_TOKENIZERSTEPS_H

#include "TokenizerFormat.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace elutq {

/// What is wrong with the input; caught by buildTokenizerSection.
struct TokenizerError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Collects the records of the steps table.
class StepWriter {
public:
  void addNormalizer(const nlohmann::json &config, int depth = 0);
  void addPreTokenizer(const nlohmann::json &config, int depth = 0);
  void addDecoder(const nlohmann::json &config);
  void addPostProcessor(const nlohmann::json &config);

  const std::string &getBytes() const { return bytes; }
  uint32_t getCount() const { return count; }

private:
  void add(tokenizer::Phase phase, tokenizer::Step kind, uint32_t argument0 = 0, uint32_t argument1 = 0,
           const std::string &text0 = "", const std::string &text1 = "");
  void addSplit(const std::string &pattern, tokenizer::Behavior behavior, bool invert = false);
  void addDecoderStep(const nlohmann::json &config, bool &fused, int depth);
  void addTemplate(const nlohmann::json &config, bool &found, int depth);

  std::string bytes;
  uint32_t count = 0;
};

} // namespace elutq

#endif // ELUTQ_RUNTIME_BUILDER_TOKENIZERSTEPS_H
