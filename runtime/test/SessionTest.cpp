//===- SessionTest.cpp - Chunks, limits, states and threads of sessions ---===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"
#include "elutq/runtime.h"

#include <gtest/gtest.h>
#include <numeric>
#include <thread>

using namespace elutq::test;

namespace {
class SessionTest : public testing::Test {
protected:
  void SetUp() override {
    TemporaryFile file(ContainerParts().write());
    ASSERT_EQ(elutq_open(file.path.c_str(), nullptr, &model), ELUTQ_OK) << elutq_last_error();
    calls.clear();
  }
  void TearDown() override { elutq_close(model); }

  elutq_session *create(int64_t chunk = 0, int threads = 1) {
    elutq_session_options options;
    elutq_session_options_init(&options);
    options.prefill_chunk = chunk;
    options.threads = threads;
    elutq_session *session = nullptr;
    EXPECT_EQ(elutq_session_create(model, &options, &session), ELUTQ_OK) << elutq_last_error();
    return session;
  }

  static std::vector<int64_t> getTokens(int64_t count) {
    std::vector<int64_t> tokens(static_cast<size_t>(count));
    std::iota(tokens.begin(), tokens.end(), 7);
    return tokens;
  }

  static std::vector<float> getLogits(const elutq_session *session) {
    const float *logits = elutq_logits(session);
    return std::vector<float>(logits, logits + kVocab);
  }

  elutq_model *model = nullptr;
};
} // namespace

TEST_F(SessionTest, anyCutGivesTheSameLogits) {
  std::vector<int64_t> tokens = getTokens(21);
  elutq_session *reference = create();
  for (int64_t token : tokens)
    ASSERT_EQ(elutq_decode(reference, token), ELUTQ_OK);
  for (int64_t chunk = 0; chunk <= kChunk; ++chunk) {
    elutq_session *session = create(chunk, 3);
    ASSERT_EQ(elutq_prefill(session, tokens.data(), tokens.size()), ELUTQ_OK);
    EXPECT_EQ(getLogits(session), getLogits(reference)) << chunk;
    EXPECT_EQ(elutq_position(session), 21);
    elutq_session_destroy(session);
  }
  elutq_session_destroy(reference);
}

TEST_F(SessionTest, cutsAtTheChunk) {
  std::vector<int64_t> tokens = getTokens(17);
  elutq_session *session = create();
  ASSERT_EQ(elutq_prefill(session, tokens.data(), tokens.size()), ELUTQ_OK);
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_TRUE(calls[0].prefill && calls[0].count == 8 && calls[0].position == 0);
  EXPECT_TRUE(calls[1].prefill && calls[1].count == 8 && calls[1].position == 8);
  // A single token does not pay for a whole chunk.
  EXPECT_TRUE(!calls[2].prefill && calls[2].count == 1 && calls[2].position == 16);
  // Nobody can read the logits before.
  EXPECT_TRUE(!calls[0].wantsLogits && !calls[1].wantsLogits && calls[2].wantsLogits);
  elutq_session_destroy(session);
}

// Where the entries round differently, each of the two calls has its own: a text gives the same logits however it is cut.
TEST_F(SessionTest, prefillNeverDecodesWhereThatRoundsDifferently) {
  elutq_close(model);
  ContainerParts parts;
  parts.meta["consistent"] = "0";
  TemporaryFile file(parts.write());
  ASSERT_EQ(elutq_open(file.path.c_str(), nullptr, &model), ELUTQ_OK) << elutq_last_error();
  std::vector<int64_t> tokens = getTokens(9);
  elutq_session *session = create();
  ASSERT_EQ(elutq_prefill(session, tokens.data(), tokens.size()), ELUTQ_OK);
  ASSERT_EQ(elutq_decode(session, 1), ELUTQ_OK);
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_TRUE(calls[0].prefill && calls[1].prefill && calls[1].count == 1);
  EXPECT_TRUE(!calls[2].prefill && calls[2].position == 9);
  elutq_session_destroy(session);
}

TEST_F(SessionTest, overflowChangesNothing) {
  std::vector<int64_t> tokens = getTokens(kContext + 1);
  elutq_session *session = create();
  EXPECT_EQ(elutq_prefill(session, tokens.data(), tokens.size()), ELUTQ_ERROR_CONTEXT);
  EXPECT_STREQ(elutq_last_error(), "the context is full: 0 tokens were read and 41 more do not fit into 40; use a shorter "
                                   "text, or compile with a larger --max-context");
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(elutq_logits(session), nullptr);
  EXPECT_EQ(elutq_prefill(session, tokens.data(), kContext), ELUTQ_OK);
  std::vector<float> before = getLogits(session);
  EXPECT_EQ(elutq_decode(session, 1), ELUTQ_ERROR_CONTEXT);
  EXPECT_EQ(getLogits(session), before);
  EXPECT_EQ(elutq_position(session), kContext);
  elutq_reset(session);
  EXPECT_EQ(elutq_logits(session), nullptr);
  EXPECT_EQ(elutq_decode(session, 1), ELUTQ_OK);
  elutq_session_destroy(session);
}

TEST_F(SessionTest, badArguments) {
  elutq_session *session = create();
  int64_t bad[] = {1, kVocab}, negative[] = {-1};
  EXPECT_EQ(elutq_prefill(session, bad, 2), ELUTQ_ERROR_ARGUMENT);
  EXPECT_STREQ(elutq_last_error(), "token 1 is 300, but ids go from 0 to 299");
  EXPECT_EQ(elutq_prefill(session, negative, 1), ELUTQ_ERROR_ARGUMENT);
  EXPECT_EQ(elutq_prefill(session, bad, 0), ELUTQ_ERROR_ARGUMENT);
  EXPECT_EQ(elutq_prefill(nullptr, bad, 1), ELUTQ_ERROR_ARGUMENT);
  EXPECT_TRUE(calls.empty());
  elutq_session_options options;
  elutq_session_options_init(&options);
  options.prefill_chunk = kChunk + 1;
  elutq_session *other = nullptr;
  EXPECT_EQ(elutq_session_create(model, &options, &other), ELUTQ_ERROR_ARGUMENT);
  EXPECT_EQ(other, nullptr);
  elutq_session_destroy(session);
}

TEST_F(SessionTest, outlivesTheModelsHandle) {
  elutq_session *session = create();
  elutq_close(model);
  model = nullptr;
  EXPECT_EQ(elutq_decode(session, 3), ELUTQ_OK);
  elutq_session_destroy(session);
}

TEST_F(SessionTest, stateContinuesElsewhere) {
  std::vector<int64_t> tokens = getTokens(11);
  elutq_session *first = create(), *second = create();
  ASSERT_EQ(elutq_prefill(first, tokens.data(), tokens.size()), ELUTQ_OK);
  std::vector<uint8_t> state(elutq_state_bytes(first));
  EXPECT_EQ(elutq_state_save(first, state.data(), state.size() - 1), ELUTQ_ERROR_CAPACITY);
  ASSERT_EQ(elutq_state_save(first, state.data(), state.size()), ELUTQ_OK);
  ASSERT_EQ(elutq_decode(second, 1), ELUTQ_OK);
  ASSERT_EQ(elutq_state_restore(second, state.data(), state.size()), ELUTQ_OK) << elutq_last_error();
  EXPECT_EQ(elutq_position(second), 11);
  EXPECT_EQ(getLogits(first), getLogits(second));
  ASSERT_EQ(elutq_decode(first, 5), ELUTQ_OK);
  ASSERT_EQ(elutq_decode(second, 5), ELUTQ_OK);
  EXPECT_EQ(getLogits(first), getLogits(second));
  elutq_session_destroy(first);
  elutq_session_destroy(second);
}

TEST_F(SessionTest, damagedStates) {
  elutq_session *session = create();
  ASSERT_EQ(elutq_decode(session, 1), ELUTQ_OK);
  std::vector<uint8_t> state(elutq_state_bytes(session));
  ASSERT_EQ(elutq_state_save(session, state.data(), state.size()), ELUTQ_OK);
  ASSERT_EQ(elutq_decode(session, 2), ELUTQ_OK);
  std::vector<float> before = getLogits(session);
  for (size_t i = 0; i < state.size(); i += i < 64 ? 1 : 13) {
    state[i] ^= 1;
    EXPECT_EQ(elutq_state_restore(session, state.data(), state.size()), ELUTQ_ERROR_FORMAT) << i;
    state[i] ^= 1;
  }
  for (size_t size : {size_t(0), size_t(10), size_t(64), state.size() - 1})
    EXPECT_EQ(elutq_state_restore(session, state.data(), size), ELUTQ_ERROR_FORMAT) << size;
  EXPECT_EQ(getLogits(session), before);
  EXPECT_EQ(elutq_position(session), 2);
  elutq_session_destroy(session);
}

TEST_F(SessionTest, infoFillsWhatTheCallerKnows) {
  elutq_info info = {};
  info.struct_size = offsetof(elutq_info, chunk);
  info.chunk = -7;
  ASSERT_EQ(elutq_model_info(model, &info), ELUTQ_OK);
  EXPECT_EQ(info.vocab_size, kVocab);
  EXPECT_EQ(info.max_context, kContext);
  EXPECT_EQ(info.chunk, -7);
  EXPECT_EQ(elutq_is_stop(model, 258), 1);
  EXPECT_EQ(elutq_is_stop(model, 257), 0);
}
