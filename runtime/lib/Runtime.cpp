//===- Runtime.cpp - The C interface --------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/runtime.h"

#include "HugePages.h"
#include "Model.h"
#include "Sampler.h"
#include "Session.h"
#include "TokenDecoder.h"

#include <algorithm>
#include <cstring>
#include <new>

using namespace elutq::runtime;

struct elutq_model {
  std::shared_ptr<const Model> model;
};

struct elutq_session {
  std::unique_ptr<Session> session;
};

struct elutq_sampler {
  Sampler sampler;
};

struct elutq_stream {
  std::shared_ptr<const Model> model;
  TokenDecoder decoder;
  std::string text;
};

static thread_local std::string lastError;

static elutq_status fail(const Status &status) {
  // No exception may leave the interface, not even for want of memory for the text.
  try {
    lastError = status.getText();
  } catch (...) {
    lastError.clear();
  }
  return status.getCode();
}

static elutq_status failArgument(const char *text) { return fail(Status(ELUTQ_ERROR_ARGUMENT, text)); }

/// Runs `body`, which returns a Status, and turns exceptions of the C++ library into errors.
template <typename Body>
static elutq_status guard(Body body) {
  try {
    Status status = body();
    return status.ok() ? ELUTQ_OK : fail(status);
  } catch (const std::bad_alloc &) {
    return fail(Status(ELUTQ_ERROR_MEMORY, "not enough memory"));
  } catch (const std::exception &error) {
    return fail(Status(ELUTQ_ERROR_MEMORY, error.what()));
  }
}

/// Copies the caller's struct over the defaults in `value`: a caller compiled against an older header has fewer fields.
template <typename Struct>
static bool readStruct(const Struct *given, Struct &value) {
  if (!given)
    return true;
  if (given->struct_size < sizeof(uint32_t))
    return false;
  std::memcpy(&value, given, std::min<size_t>(given->struct_size, sizeof(Struct)));
  return true;
}

static constexpr int kMaxThreads = 4096;

uint32_t elutq_abi_version(void) { return ELUTQ_ABI_VERSION; }

const char *elutq_last_error(void) { return lastError.c_str(); }

//===- Models -------------------------------------------------------------===//

void elutq_open_options_init(elutq_open_options *options) {
  if (options)
    *options = {sizeof(*options), 0, 1, 0};
}

elutq_status elutq_open(const char *path, const elutq_open_options *given, elutq_model **model) {
  elutq_open_options options;
  elutq_open_options_init(&options);
  if (!model)
    return failArgument("elutq_open: model is NULL");
  if (!readStruct(given, options) || options.threads < 0 || options.threads > kMaxThreads)
    return failArgument("elutq_open: bad options; call elutq_open_options_init first, threads go from 0 to 4096");
  return guard([&] {
    auto result = std::make_unique<elutq_model>();
    Status status = Model::open(path ? path : "", options, result->model);
    if (status.ok())
      *model = result.release();
    return status;
  });
}

void elutq_close(elutq_model *model) { delete model; }

elutq_status elutq_model_info(const elutq_model *model, elutq_info *info) {
  if (!model || !info || info->struct_size < sizeof(uint32_t))
    return failArgument("elutq_model_info: model or info is NULL, or info->struct_size is not set");
  const Model &data = *model->model;
  elutq_info full = {};
  full.struct_size = info->struct_size;
  full.threads = data.threads;
  full.vocab_size = static_cast<int64_t>(data.vocabSize);
  full.max_context = static_cast<int64_t>(data.maxContext);
  full.chunk = static_cast<int64_t>(data.chunk);
  full.layers = static_cast<int64_t>(data.layers);
  full.weights_bytes = data.weightsBytes;
  full.arena_bytes = data.arenaBytes;
  full.cache_bytes = data.cacheBytes;
  full.decode_weight_bytes = data.decodeWeightBytes;
  full.build_id = elutq_build_id;
  full.has_tokenizer = data.tokenizer != nullptr;
  std::memcpy(info, &full, std::min<size_t>(info->struct_size, sizeof(full)));
  return ELUTQ_OK;
}

uint64_t elutq_model_huge_page_bytes(const elutq_model *model) {
  return model ? countHugePageBytes(model->model->weights, model->model->weightsBytes) : 0;
}

const char *elutq_model_meta(const elutq_model *model, const char *key) {
  if (!model || !key)
    return nullptr;
  const auto &meta = model->model->meta;
  // Not find(key): making a std::string could throw.
  for (const auto &entry : meta)
    if (entry.first == key)
      return entry.second.c_str();
  return nullptr;
}

const char *elutq_model_json(const elutq_model *model) { return model ? model->model->json.c_str() : "{}"; }

int elutq_is_stop(const elutq_model *model, int64_t token) {
  if (!model)
    return 0;
  const auto &stop = model->model->stopTokens;
  return std::find(stop.begin(), stop.end(), token) != stop.end();
}

//===- Text ---------------------------------------------------------------===//

static Status requireTokenizer(const elutq_model *model) {
  if (model->model->tokenizer)
    return Status();
  return Status(ELUTQ_ERROR_UNSUPPORTED, "the model was compiled without a tokenizer: put tokenizer.json beside the ONNX "
                                         "file and compile it again, or work with token ids");
}

static Status requireTokens(const Model &model, const int64_t *ids, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (ids[i] < 0 || static_cast<uint64_t>(ids[i]) >= std::max<uint64_t>(model.vocabSize, model.tokenizer->getTokenCount()))
      return Status(ELUTQ_ERROR_ARGUMENT, "token id " + std::to_string(ids[i]) + " is outside the vocabulary of " +
                                              std::to_string(model.vocabSize));
  return Status();
}

elutq_status elutq_tokenize(const elutq_model *model, const char *text, size_t bytes, uint32_t flags, int64_t *ids,
                            size_t capacity, size_t *count) {
  if (!model || (!text && bytes) || (!ids && capacity) || !count)
    return failArgument("elutq_tokenize: model, text, ids or count is NULL");
  return guard([&] {
    if (Status status = requireTokenizer(model); !status.ok())
      return status;
    std::vector<int64_t> result;
    if (Status status = model->model->tokenizer->encode(std::string_view(text ? text : "", bytes), flags, result);
        !status.ok())
      return status;
    *count = result.size();
    std::copy_n(result.begin(), std::min(result.size(), capacity), ids);
    if (result.size() <= capacity)
      return Status();
    return Status(ELUTQ_ERROR_CAPACITY, "the text has " + std::to_string(result.size()) + " tokens, but there is room for " +
                                            std::to_string(capacity));
  });
}

elutq_status elutq_detokenize(const elutq_model *model, const int64_t *ids, size_t count, uint32_t flags, char *text,
                              size_t capacity, size_t *bytes) {
  if (!model || (!ids && count) || (!text && capacity) || !bytes)
    return failArgument("elutq_detokenize: model, ids, text or bytes is NULL");
  return guard([&] {
    if (Status status = requireTokenizer(model); !status.ok())
      return status;
    if (Status status = requireTokens(*model->model, ids, count); !status.ok())
      return status;
    std::string result;
    TokenDecoder decoder(*model->model->tokenizer, (flags & ELUTQ_KEEP_SPECIAL) != 0, /*eager=*/false);
    for (size_t i = 0; i < count; ++i)
      decoder.push(ids[i], result);
    decoder.finish(result);
    *bytes = result.size();
    if (result.size() > capacity)
      return Status(ELUTQ_ERROR_CAPACITY, "the text has " + std::to_string(result.size()) +
                                              " bytes, but there is room for " + std::to_string(capacity));
    std::copy(result.begin(), result.end(), text);
    return Status();
  });
}

elutq_status elutq_stream_create(const elutq_model *model, uint32_t flags, elutq_stream **stream) {
  if (!model || !stream)
    return failArgument("elutq_stream_create: model or stream is NULL");
  return guard([&] {
    if (Status status = requireTokenizer(model); !status.ok())
      return status;
    TokenDecoder decoder(*model->model->tokenizer, (flags & ELUTQ_KEEP_SPECIAL) != 0, /*eager=*/true);
    *stream = new elutq_stream{model->model, std::move(decoder), std::string()};
    return Status();
  });
}

void elutq_stream_destroy(elutq_stream *stream) { delete stream; }

elutq_status elutq_stream_push(elutq_stream *stream, int64_t token, const char **text, size_t *bytes) {
  if (!stream || !text || !bytes)
    return failArgument("elutq_stream_push: stream, text or bytes is NULL");
  return guard([&] {
    if (Status status = requireTokens(*stream->model, &token, 1); !status.ok())
      return status;
    stream->text.clear();
    stream->decoder.push(token, stream->text);
    *text = stream->text.data();
    *bytes = stream->text.size();
    return Status();
  });
}

elutq_status elutq_stream_flush(elutq_stream *stream, const char **text, size_t *bytes) {
  if (!stream || !text || !bytes)
    return failArgument("elutq_stream_flush: stream, text or bytes is NULL");
  return guard([&] {
    stream->text.clear();
    stream->decoder.finish(stream->text);
    *text = stream->text.data();
    *bytes = stream->text.size();
    return Status();
  });
}

//===- Sessions -----------------------------------------------------------===//

void elutq_session_options_init(elutq_session_options *options) {
  if (options)
    *options = {sizeof(*options), 0, 0};
}

elutq_status elutq_session_create(elutq_model *model, const elutq_session_options *given, elutq_session **session) {
  elutq_session_options options;
  elutq_session_options_init(&options);
  if (!model || !session)
    return failArgument("elutq_session_create: model or session is NULL");
  if (!readStruct(given, options) || options.threads < 0 || options.threads > kMaxThreads)
    return failArgument(
        "elutq_session_create: bad options; call elutq_session_options_init first, threads go from 0 to 4096");
  return guard([&] {
    int64_t chunk = static_cast<int64_t>(model->model->chunk);
    if (options.prefill_chunk < 0 || options.prefill_chunk > chunk)
      return Status(ELUTQ_ERROR_ARGUMENT, "prefill_chunk is " + std::to_string(options.prefill_chunk) +
                                              ", but expected 0 to " + std::to_string(chunk));
    auto result = std::make_unique<elutq_session>();
    Status status = Session::create(model->model, options.threads, options.prefill_chunk, result->session);
    if (status.ok())
      *session = result.release();
    return status;
  });
}

void elutq_session_destroy(elutq_session *session) { delete session; }

elutq_status elutq_prefill(elutq_session *session, const int64_t *tokens, size_t count) {
  if (!session || !tokens || count == 0)
    return failArgument("elutq_prefill: session or tokens is NULL, or there are no tokens");
  return guard([&] { return session->session->prefill(tokens, count); });
}

elutq_status elutq_decode(elutq_session *session, int64_t token) {
  if (!session)
    return failArgument("elutq_decode: session is NULL");
  return guard([&] { return session->session->decode(token); });
}

const float *elutq_logits(const elutq_session *session) { return session ? session->session->getLogits() : nullptr; }

int64_t elutq_position(const elutq_session *session) { return session ? session->session->getPosition() : 0; }

int32_t elutq_session_threads(const elutq_session *session) { return session ? session->session->getThreads() : 0; }

void elutq_reset(elutq_session *session) {
  if (session)
    session->session->reset();
}

elutq_status elutq_trace_start(elutq_session *session) {
  if (!session)
    return failArgument("elutq_trace_start: session is NULL");
  return guard([&] {
    session->session->startTrace();
    return Status();
  });
}

elutq_status elutq_trace_write(elutq_session *session, const char *path) {
  if (!session || !path)
    return failArgument("elutq_trace_write: session or path is NULL");
  return guard([&] { return session->session->writeTrace(path); });
}

uint64_t elutq_state_bytes(const elutq_session *session) { return session ? session->session->getStateBytes() : 0; }

elutq_status elutq_state_save(const elutq_session *session, void *buffer, uint64_t bytes) {
  if (!session || !buffer)
    return failArgument("elutq_state_save: session or buffer is NULL");
  return guard([&] { return session->session->saveState(static_cast<uint8_t *>(buffer), bytes); });
}

elutq_status elutq_state_restore(elutq_session *session, const void *buffer, uint64_t bytes) {
  if (!session || !buffer)
    return failArgument("elutq_state_restore: session or buffer is NULL");
  return guard([&] { return session->session->restoreState(static_cast<const uint8_t *>(buffer), bytes); });
}

//===- Sampling -----------------------------------------------------------===//

void elutq_sampler_params_init(elutq_sampler_params *params) {
  if (params)
    *params = {sizeof(*params), 0.0f, 0, 1.0f, 0.0f, 1.0f, 64, 0};
}

elutq_status elutq_sampler_create(const elutq_sampler_params *given, elutq_sampler **sampler) {
  elutq_sampler_params params;
  elutq_sampler_params_init(&params);
  if (!sampler)
    return failArgument("elutq_sampler_create: sampler is NULL");
  if (!readStruct(given, params))
    return failArgument("elutq_sampler_create: bad params; call elutq_sampler_params_init first");
  return guard([&] {
    if (Status status = Sampler::check(params); !status.ok())
      return status;
    *sampler = new elutq_sampler{Sampler(params)};
    return Status();
  });
}

void elutq_sampler_destroy(elutq_sampler *sampler) { delete sampler; }

elutq_status elutq_sample(elutq_sampler *sampler, const float *logits, size_t count, int64_t *token) {
  if (!sampler || !logits || count == 0 || !token)
    return failArgument("elutq_sample: sampler, logits or token is NULL, or there are no logits");
  return guard([&] { return sampler->sampler.sample(logits, count, *token); });
}

elutq_status elutq_sampler_accept(elutq_sampler *sampler, int64_t token) {
  if (!sampler || token < 0)
    return failArgument("elutq_sampler_accept: sampler is NULL or the token is negative");
  return guard([&] {
    sampler->sampler.accept(token);
    return Status();
  });
}

void elutq_sampler_reset(elutq_sampler *sampler) {
  if (sampler)
    sampler->sampler.reset();
}
