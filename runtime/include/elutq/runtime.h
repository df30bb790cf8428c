/*===- runtime.h - C interface of compiled models ----------------*- C -*-===*\
|*
|* Part of the ELUTQ project, under the Apache License v2.0.
|* SPDX-License-Identifier: Apache-2.0
|*
|*===----------------------------------------------------------------------===*|
|*
|* Runs a language model compiled by elutq-compile. Conventions:
|*
|* - A function that can fail returns an elutq_status. Anything but ELUTQ_OK leaves outputs untouched, and
|*   elutq_last_error() tells what happened and what to do about it.
|* - Every object is made by a ..._create (or elutq_open) and freed by the matching ..._destroy (or elutq_close), which
|*   accept NULL. Pointers returned by other functions stay owned by the object they came from.
|* - A model may be used from several threads at once. A session, a sampler and a stream belong to one thread at a time;
|*   different ones may be used at the same time.
|* - Sizes are in bytes, positions and counts in tokens, texts are UTF-8 and have an explicit length unless `const char *`
|*   is documented as zero-terminated. Token ids are int64_t, in [0, vocab_size).
|* - Structs begin with struct_size: the ..._init functions set it and all defaults. Later versions only append fields.
|*
\*===----------------------------------------------------------------------===*/

#ifndef ELUTQ_RUNTIME_H
#define ELUTQ_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ELUTQ_API __attribute__((visibility("default")))
#else
#define ELUTQ_API
#endif

/** Changes when existing callers must be recompiled. */
#define ELUTQ_ABI_VERSION 1u

typedef enum elutq_status {
  ELUTQ_OK = 0,
  ELUTQ_ERROR_ARGUMENT = 1,    /**< A NULL, out-of-range or contradictory argument. */
  ELUTQ_ERROR_IO = 2,          /**< A file cannot be opened, read or mapped. */
  ELUTQ_ERROR_FORMAT = 3,      /**< A file or a saved state is damaged, or of another version or model. */
  ELUTQ_ERROR_CPU = 4,         /**< The model was compiled for instructions that this CPU or system lacks. */
  ELUTQ_ERROR_MEMORY = 5,      /**< Not enough memory. */
  ELUTQ_ERROR_CONTEXT = 6,     /**< The tokens do not fit into the model's context. */
  ELUTQ_ERROR_CAPACITY = 7,    /**< The caller's buffer is too small; the needed size was stored. */
  ELUTQ_ERROR_UNSUPPORTED = 8, /**< The model does not have this ability, e.g. no tokenizer. */
  ELUTQ_ERROR_STATE = 9        /**< Called too early, e.g. logits before the first token. */
} elutq_status;

typedef struct elutq_model elutq_model;
typedef struct elutq_session elutq_session;
typedef struct elutq_sampler elutq_sampler;
typedef struct elutq_stream elutq_stream;

/** The ABI version of the linked library; compare it with ELUTQ_ABI_VERSION. */
ELUTQ_API uint32_t elutq_abi_version(void);

/** Zero-terminated text of this thread's last error; never NULL; valid until this thread's next failing call. */
ELUTQ_API const char *elutq_last_error(void);

/*===- Models -------------------------------------------------------------===*/

typedef struct elutq_open_options {
  uint32_t struct_size;
  int32_t threads; /**< Threads per session; 0: one per physical core this process may use. */
  int32_t verify;  /**< Not 0 (default): compare the weights' checksum, too, before the first token is read. */
  int32_t copy_weights; /**< Not 0: read the weights into memory of this process, in huge pages, in place of mapping them (default 0). */
} elutq_open_options;

ELUTQ_API void elutq_open_options_init(elutq_open_options *options);

/** Opens the model's data for the compiled code in this program.
 *  path: zero-terminated name of a .weights file (or of an executable with appended weights); NULL: the data appended
 *  to the running executable or, when this code is in libNAME.so, NAME.weights beside it.
 *  options: NULL for the defaults. *model: to be freed by elutq_close.
 *  Checks everything in the file but the weights, the build id and the CPU before any compiled code can run. The weights are
 *  mapped and not read, unless copy_weights asks for it: their checksum is compared by the first call that reads a token, whose error
 *  is then FORMAT.
 *  Errors: ARGUMENT, IO, FORMAT, CPU, MEMORY. */
ELUTQ_API elutq_status elutq_open(const char *path, const elutq_open_options *options, elutq_model **model);

/** Frees the handle. Sessions and streams made from it stay valid: the data is unmapped with the last of them. */
ELUTQ_API void elutq_close(elutq_model *model);

typedef struct elutq_info {
  uint32_t struct_size;
  int32_t threads;              /**< Threads a session will use. */
  int64_t vocab_size;           /**< Length of the logits. */
  int64_t max_context;          /**< Tokens that fit into a session. */
  int64_t chunk;                /**< Tokens one prefill step takes. */
  int64_t layers;               /**< 0 when unknown. */
  uint64_t weights_bytes;       /**< Mapped, shared by all sessions. */
  uint64_t arena_bytes;         /**< Scratch memory per session. */
  uint64_t cache_bytes;         /**< Key-value cache per session. */
  uint64_t decode_weight_bytes; /**< Weight bytes one decode step reads; 0 when unknown. */
  uint64_t build_id;
  int32_t has_tokenizer;
} elutq_info;

/** Fills the fields that fit into info->struct_size, which the caller sets. Errors: ARGUMENT. */
ELUTQ_API elutq_status elutq_model_info(const elutq_model *model, elutq_info *info);

/** How many bytes of the weights this process reads through huge pages: 0 before the first token of mapped weights, and where the
 *  system has none or does not say. The rest lies in pages of 4 KiB, which some machines read a third slower; copy_weights
 *  helps. Takes milliseconds. */
ELUTQ_API uint64_t elutq_model_huge_page_bytes(const elutq_model *model);

/** The zero-terminated value of a meta key ("name", "quantization", "prompt_template", ...), owned by the model;
 *  NULL when there is no such key. */
ELUTQ_API const char *elutq_model_meta(const elutq_model *model, const char *key);

/** All meta data as one zero-terminated JSON object of strings, owned by the model. */
ELUTQ_API const char *elutq_model_json(const elutq_model *model);

/** 1 when `token` ends a text (one of meta's eos_ids), otherwise 0. */
ELUTQ_API int elutq_is_stop(const elutq_model *model, int64_t token);

/*===- Text ---------------------------------------------------------------===*/

enum {
  ELUTQ_ADD_BOS = 1,       /**< elutq_tokenize: put what the tokenizer's template has before the text. */
  ELUTQ_ADD_EOS = 2,       /**< elutq_tokenize: put what the tokenizer's template has after the text. */
  ELUTQ_PLAIN_SPECIAL = 4, /**< elutq_tokenize: special tokens written in the text are ordinary text. */
  ELUTQ_KEEP_SPECIAL = 8   /**< elutq_detokenize, elutq_stream_create: print special tokens instead of skipping them. */
};

/** Text to token ids. Invalid UTF-8 is read as U+FFFD. *count receives the number of ids of the whole text, also with
 *  ELUTQ_ERROR_CAPACITY, when it is more than `capacity` and `ids` (NULL if capacity is 0) holds only the first.
 *  Errors: ARGUMENT, CAPACITY, UNSUPPORTED (no tokenizer), MEMORY. */
ELUTQ_API elutq_status elutq_tokenize(const elutq_model *model, const char *text, size_t bytes, uint32_t flags,
                                      int64_t *ids, size_t capacity, size_t *count);

/** Token ids to text. *bytes receives the length of the whole text; there is no terminating zero.
 *  Errors: ARGUMENT (also for an id outside the vocabulary), CAPACITY (nothing is written then), UNSUPPORTED, MEMORY. */
ELUTQ_API elutq_status elutq_detokenize(const elutq_model *model, const int64_t *ids, size_t count, uint32_t flags,
                                        char *text, size_t capacity, size_t *bytes);

/** A stream turns tokens into text as they come and only hands out whole UTF-8 characters. Errors: as above. */
ELUTQ_API elutq_status elutq_stream_create(const elutq_model *model, uint32_t flags, elutq_stream **stream);
ELUTQ_API void elutq_stream_destroy(elutq_stream *stream);

/** Adds one token. *text (owned by the stream, valid until its next call) and *bytes receive the text that is now
 *  complete; it may be empty. Errors: ARGUMENT, MEMORY. */
ELUTQ_API elutq_status elutq_stream_push(elutq_stream *stream, int64_t token, const char **text, size_t *bytes);

/** Ends the text: what is still incomplete comes out as U+FFFD. The stream is then as new. Errors: ARGUMENT, MEMORY. */
ELUTQ_API elutq_status elutq_stream_flush(elutq_stream *stream, const char **text, size_t *bytes);

/*===- Sessions -----------------------------------------------------------===*/

typedef struct elutq_session_options {
  uint32_t struct_size;
  int32_t threads;       /**< 0: as given to elutq_open. */
  int64_t prefill_chunk; /**< Tokens per prefill step, 1 to the model's chunk; 0: the model's chunk. The results do not
                              depend on it. */
} elutq_session_options;

ELUTQ_API void elutq_session_options_init(elutq_session_options *options);

/** A session is one text: scratch memory, key-value cache and position. options: NULL for the defaults.
 *  Errors: ARGUMENT, MEMORY. */
ELUTQ_API elutq_status elutq_session_create(elutq_model *model, const elutq_session_options *options,
                                            elutq_session **session);
ELUTQ_API void elutq_session_destroy(elutq_session *session);

/** Reads `count` >= 1 tokens, any number that fits; the logits are then those after the last one. They do not depend on how a
 *  text is cut into calls; elutq_decode may round differently, unless the model was compiled with --consistent.
 *  Nothing changes on errors: ARGUMENT (also for an id outside the vocabulary), CONTEXT, FORMAT (the weights are damaged). */
ELUTQ_API elutq_status elutq_prefill(elutq_session *session, const int64_t *tokens, size_t count);

/** Reads one token. Errors: as elutq_prefill. */
ELUTQ_API elutq_status elutq_decode(elutq_session *session, int64_t token);

/** The vocab_size logits of the token that follows, owned by the session, overwritten by the next token; NULL when no
 *  token has been read. */
ELUTQ_API const float *elutq_logits(const elutq_session *session);

/** Tokens read so far. */
ELUTQ_API int64_t elutq_position(const elutq_session *session);

/** Threads this session uses, with the calling one. */
ELUTQ_API int32_t elutq_session_threads(const elutq_session *session);

/** Forgets all tokens; memory is kept. */
ELUTQ_API void elutq_reset(elutq_session *session);

/** Records what each thread of the session does from here on, and forgets what was recorded before. Errors: ARGUMENT, MEMORY. */
ELUTQ_API elutq_status elutq_trace_start(elutq_session *session);

/** Ends the recording and writes it to the file `path`, zero-terminated, as Chrome trace events (JSON), for Perfetto or
 *  chrome://tracing. Errors: ARGUMENT, IO, STATE (nothing was recorded), MEMORY. */
ELUTQ_API elutq_status elutq_trace_write(elutq_session *session, const char *path);

/** Bytes elutq_state_save needs. */
ELUTQ_API uint64_t elutq_state_bytes(const elutq_session *session);

/** Copies cache, position and logits to `buffer`. Errors: ARGUMENT, CAPACITY. */
ELUTQ_API elutq_status elutq_state_save(const elutq_session *session, void *buffer, uint64_t bytes);

/** Continues from a state saved by any session of the same compiled model. Nothing changes on errors: ARGUMENT, FORMAT
 *  (damaged, or of another model). */
ELUTQ_API elutq_status elutq_state_restore(elutq_session *session, const void *buffer, uint64_t bytes);

/*===- Sampling -----------------------------------------------------------===*/

typedef struct elutq_sampler_params {
  uint32_t struct_size;
  float temperature;    /**< 0 (default): always the largest logit, the lowest id on ties. */
  int32_t top_k;        /**< Only the k largest; 0 (default): all. */
  float top_p;          /**< The smallest set of largest with at least this probability; 1 (default): all. */
  float min_p;          /**< Only those with at least min_p times the largest probability; 0 (default): all. */
  float repeat_penalty; /**< Divides positive, multiplies negative logits of recent tokens; 1 (default): none. */
  int32_t repeat_last;  /**< How many recent tokens count; default 64; 0: all. */
  uint64_t seed;        /**< Same seed, same logits, same tokens: same choice. Default 0. */
} elutq_sampler_params;

ELUTQ_API void elutq_sampler_params_init(elutq_sampler_params *params);

/** params: NULL for the defaults. Errors: ARGUMENT (a value out of its range), MEMORY. */
ELUTQ_API elutq_status elutq_sampler_create(const elutq_sampler_params *params, elutq_sampler **sampler);
ELUTQ_API void elutq_sampler_destroy(elutq_sampler *sampler);

/** Chooses a token from `count` logits, which are not changed. Order: repetition penalty, temperature, top-k, top-p,
 *  min-p. Does not remember the token: see elutq_sampler_accept.
 *  Errors: ARGUMENT, STATE (no finite logit), MEMORY. */
ELUTQ_API elutq_status elutq_sample(elutq_sampler *sampler, const float *logits, size_t count, int64_t *token);

/** Adds a token (of the prompt or chosen) to what the repetition penalty sees. Errors: ARGUMENT, MEMORY. */
ELUTQ_API elutq_status elutq_sampler_accept(elutq_sampler *sampler, int64_t token);

/** Forgets accepted tokens and starts the random sequence again. */
ELUTQ_API void elutq_sampler_reset(elutq_sampler *sampler);

/*===- For compiled code --------------------------------------------------===*/

/** One parallel task of a compiled model: items [begin, end). */
typedef void (*elutq_task)(int64_t begin, int64_t end, uint8_t *arena, const uint8_t *weights, uint8_t *cache,
                           const int64_t *args);

/** Runs `task` over [0, count) in contiguous chunks, on the threads of the session that runs on the calling thread; returns
 *  when all are done. Without a session: one direct call. Only called by compiled code, also for what is serial (count 1). */
ELUTQ_API void elutq_parallel_for(elutq_task task, int64_t count, uint8_t *arena, const uint8_t *weights,
                                  uint8_t *cache, const int64_t *args);

#ifdef __cplusplus
}
#endif

#endif /* ELUTQ_RUNTIME_H */
