//===- Model.h - An opened compiled model -----------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_MODEL_H
#define ELUTQ_RUNTIME_LIB_MODEL_H

#include "ContainerReader.h"
#include "Tokenizer.h"
#include "Trace.h"
#include "elutq/runtime.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

/// What compiled code defines. Without `logits`, what only they need is not computed.
extern "C" {
extern const uint64_t elutq_build_id;
void elutq_entry_decode(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                        uint8_t *cache, float *logits);
void elutq_entry_prefill(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                         uint8_t *cache, float *logits);
}

namespace elutq::runtime {

/// Everything that does not change while a model is used; shared by its sessions and streams.
struct Model {
  /// Opens the data for the linked code; an empty path means the data that belongs to this program or library.
  /// Reads none of the weights unless they are to be copied, so that the time does not depend on their size.
  static Status open(const std::string &path, const elutq_open_options &options, std::shared_ptr<const Model> &model);

  /// Compares the checksum of the weights at the first call, unless the model was opened without `verify`. Comes before the
  /// first compiled instruction runs; threads that call it at the same time wait.
  Status verifyWeights() const;

  ContainerReader container;
  std::map<std::string, std::string> meta;
  std::string json;
  std::unique_ptr<const Tokenizer> tokenizer; // null when the model has none
  std::vector<int64_t> stopTokens;
  TaskNames taskNames; // for traces
  const uint8_t *weights = nullptr;
  uint64_t vocabSize = 0, maxContext = 0, chunk = 0, layers = 0;
  uint64_t consistent = 0; // 1: prefill and decode give the same bits
  uint64_t arenaBytes = 0, weightsBytes = 0, cacheBytes = 0, decodeWeightBytes = 0;
  int threads = 1;

private:
  bool verify = true;
  Mapping copiedWeights;
  mutable std::once_flag verified;
  mutable Status verification;
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_MODEL_H
