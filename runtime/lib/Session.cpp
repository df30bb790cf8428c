//===- Session.cpp - One text: memory, cache and position -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace elutq::runtime;

namespace {
/// The head of a saved state; the cache and the logits follow.
struct StateHeader {
  char magic[8];
  uint32_t version;
  uint32_t zero;
  uint64_t buildId;
  uint64_t position;
  uint64_t cacheBytes;
  uint64_t vocabSize;
  uint64_t payloadXXH3;
  uint64_t headerXXH3; // of the bytes before
};

/// Makes a session's pool the one compiled code uses on this thread.
class PoolScope {
public:
  explicit PoolScope(ThreadPool *pool) : outer(currentPool) { currentPool = pool; }
  ~PoolScope() { currentPool = outer; }

private:
  ThreadPool *outer;
};
} // namespace

static constexpr char kStateMagic[8] = {'E', 'L', 'U', 'T', 'Q', 'S', 'T', 'A'};
static constexpr uint32_t kStateVersion = 1;

/// Decode steps that take no longer than a prefill step of one block of rows: two take as long (Gemma 3 270M, 4 bits).
static constexpr size_t kDecodedTokens = 2;

Status Session::create(std::shared_ptr<const Model> model, int threads, int64_t prefillChunk,
                       std::unique_ptr<Session> &result) {
  std::unique_ptr<Session> session(new Session);
  if (Status status = Mapping::mapZeros(model->arenaBytes, "scratch memory", session->arena); !status.ok())
    return status;
  if (Status status = Mapping::mapZeros(model->cacheBytes, "the key-value cache", session->cache); !status.ok())
    return status;
  session->logits.resize(model->vocabSize);
  session->padded.resize(model->chunk);
  session->threads = threads > 0 ? threads : model->threads;
  session->prefillChunk = prefillChunk > 0 ? prefillChunk : static_cast<int64_t>(model->chunk);
  // Prefill computes blocks of rows: for fewer tokens than these, decode takes less time. Only where both entries give the
  // same bits: results do not depend on how a text is cut. Who asks for a cut of his own wants it as it is.
  if (model->consistent)
    session->decodeLimit = prefillChunk > 0 ? 1 : kDecodedTokens;
  session->model = std::move(model);
  result = std::move(session);
  return Status();
}

Status Session::check(const int64_t *tokens, size_t count) const {
  uint64_t left = model->maxContext - static_cast<uint64_t>(position);
  if (count > left)
    return Status(ELUTQ_ERROR_CONTEXT, "the context is full: " + std::to_string(position) + " tokens were read and " +
                                           std::to_string(count) + " more do not fit into " +
                                           std::to_string(model->maxContext) +
                                           "; use a shorter text, or compile with a larger --max-context");
  for (size_t i = 0; i < count; ++i)
    if (tokens[i] < 0 || static_cast<uint64_t>(tokens[i]) >= model->vocabSize)
      return Status(ELUTQ_ERROR_ARGUMENT, "token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                              ", but ids go from 0 to " + std::to_string(model->vocabSize - 1));
  return Status();
}

void Session::makePool() {
  if (pool)
    return;
  pool = std::make_unique<ThreadPool>(threads);
  threads = pool->getThreads();
}

void Session::startTrace() {
  makePool();
  trace = std::make_unique<Trace>(model->taskNames, threads);
  pool->setTrace(trace.get());
}

Status Session::writeTrace(const std::string &path) {
  if (!trace)
    return Status(ELUTQ_ERROR_STATE, "no trace was started");
  pool->setTrace(nullptr);
  std::string json = trace->toJson();
  trace.reset();
  std::FILE *file = std::fopen(path.c_str(), "we");
  if (!file)
    return ioError("cannot create", path, errno);
  bool written = std::fwrite(json.data(), 1, json.size(), file) == json.size();
  int error = errno;
  if (std::fclose(file) != 0 && written) {
    written = false;
    error = errno;
  }
  return written ? Status() : ioError("cannot write to", path, error);
}

Status Session::prefill(const int64_t *tokens, size_t count) { return read(tokens, count, decodeLimit); }

Status Session::decode(int64_t token) { return read(&token, 1, 1); }

Status Session::read(const int64_t *tokens, size_t count, size_t decodeLimit) {
  if (Status status = check(tokens, count); !status.ok())
    return status;
  if (!pool)
    if (Status status = model->verifyWeights(); !status.ok())
      return status;
  makePool();
  PoolScope scope(pool.get());
  while (count > 0) {
    size_t step = std::min<size_t>(count, static_cast<size_t>(prefillChunk));
    bool isDecode = step <= decodeLimit;
    if (isDecode)
      step = 1;
    // Nobody reads the logits in the middle of a prompt.
    float *wanted = step == count ? logits.data() : nullptr;
    if (trace)
      trace->beginStep(isDecode, position, static_cast<int64_t>(step));
    if (isDecode) {
      elutq_entry_decode(tokens, 1, position, arena.data(), model->weights, cache.data(), wanted);
    } else {
      std::copy_n(tokens, step, padded.begin());
      std::fill(padded.begin() + static_cast<std::ptrdiff_t>(step), padded.end(), 0);
      elutq_entry_prefill(padded.data(), static_cast<int64_t>(step), position, arena.data(), model->weights, cache.data(),
                          wanted);
    }
    if (trace)
      trace->endStep();
    position += static_cast<int64_t>(step);
    tokens += step;
    count -= step;
  }
  return Status();
}

void Session::reset() { position = 0; }

uint64_t Session::getStateBytes() const {
  return sizeof(StateHeader) + model->cacheBytes + model->vocabSize * sizeof(float);
}

Status Session::saveState(uint8_t *buffer, uint64_t bytes) const {
  if (bytes < getStateBytes())
    return Status(ELUTQ_ERROR_CAPACITY, "a state needs " + std::to_string(getStateBytes()) + " bytes, but the buffer has " +
                                            std::to_string(bytes));
  uint8_t *payload = buffer + sizeof(StateHeader);
  uint64_t logitBytes = model->vocabSize * sizeof(float);
  std::memcpy(payload, cache.data(), model->cacheBytes);
  std::memcpy(payload + model->cacheBytes, logits.data(), logitBytes);

  StateHeader header = {};
  std::memcpy(header.magic, kStateMagic, sizeof(header.magic));
  header.version = kStateVersion;
  header.buildId = elutq_build_id;
  header.position = static_cast<uint64_t>(position);
  header.cacheBytes = model->cacheBytes;
  header.vocabSize = model->vocabSize;
  header.payloadXXH3 = XXH3_64bits(payload, model->cacheBytes + logitBytes);
  header.headerXXH3 = XXH3_64bits(&header, offsetof(StateHeader, headerXXH3));
  std::memcpy(buffer, &header, sizeof(header));
  return Status();
}

Status Session::restoreState(const uint8_t *buffer, uint64_t bytes) {
  StateHeader header;
  if (bytes < sizeof(header))
    return Status(ELUTQ_ERROR_FORMAT, "a state of " + std::to_string(bytes) + " bytes is too short");
  std::memcpy(&header, buffer, sizeof(header));
  if (std::memcmp(header.magic, kStateMagic, sizeof(header.magic)) != 0 || header.version != kStateVersion)
    return Status(ELUTQ_ERROR_FORMAT, "the buffer does not hold a state saved by this version of the runtime");
  if (header.headerXXH3 != XXH3_64bits(&header, offsetof(StateHeader, headerXXH3)))
    return Status(ELUTQ_ERROR_FORMAT, "the state is damaged: the checksum of its head is wrong");
  if (header.buildId != elutq_build_id || header.cacheBytes != model->cacheBytes || header.vocabSize != model->vocabSize)
    return Status(ELUTQ_ERROR_FORMAT, "the state was saved by another compiled model");
  if (bytes < getStateBytes() || header.position > model->maxContext)
    return Status(ELUTQ_ERROR_FORMAT, "the state is damaged: it has " + std::to_string(bytes) + " bytes, but expected " +
                                          std::to_string(getStateBytes()));
  const uint8_t *payload = buffer + sizeof(header);
  uint64_t logitBytes = model->vocabSize * sizeof(float);
  if (header.payloadXXH3 != XXH3_64bits(payload, model->cacheBytes + logitBytes))
    return Status(ELUTQ_ERROR_FORMAT, "the state is damaged: its checksum is wrong");
  std::memcpy(cache.data(), payload, model->cacheBytes);
  std::memcpy(logits.data(), payload + model->cacheBytes, logitBytes);
  position = static_cast<int64_t>(header.position);
  return Status();
}
