//===- Session.h - One text: memory, cache and position ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_SESSION_H
#define ELUTQ_RUNTIME_LIB_SESSION_H

#include "Model.h"
#include "ThreadPool.h"

#include <memory>
#include <vector>

namespace elutq::runtime {

class Session {
public:
  /// prefillChunk 0: the model's chunk.
  static Status create(std::shared_ptr<const Model> model, int threads, int64_t prefillChunk,
                       std::unique_ptr<Session> &session);

  Status prefill(const int64_t *tokens, size_t count);
  Status decode(int64_t token);
  void reset();

  /// Records what each thread does from here on; what was recorded before is forgotten.
  void startTrace();
  /// Ends the recording, and writes it to a file.
  Status writeTrace(const std::string &path);

  /// Null before the first token.
  const float *getLogits() const { return position > 0 ? logits.data() : nullptr; }
  int64_t getPosition() const { return position; }
  int getThreads() const { return threads; }

  uint64_t getStateBytes() const;
  Status saveState(uint8_t *buffer, uint64_t bytes) const;
  Status restoreState(const uint8_t *buffer, uint64_t bytes);

private:
  Session() = default;
  void makePool();
  Status check(const int64_t *tokens, size_t count) const;
  /// Reads steps of at most `decodeLimit` tokens one by one.
  Status read(const int64_t *tokens, size_t count, size_t decodeLimit);

  std::shared_ptr<const Model> model;
  std::unique_ptr<ThreadPool> pool; // made at the first token, so that an idle session costs no threads
  std::unique_ptr<Trace> trace;     // null when nothing is recorded
  Mapping arena, cache;
  std::vector<float> logits;
  std::vector<int64_t> padded; // the tokens of a prefill step; the compiled code reads all of them
  int64_t position = 0;
  int64_t prefillChunk = 0;
  size_t decodeLimit = 0; // prefill reads steps of up to so many tokens one by one
  int threads = 1;
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_SESSION_H
