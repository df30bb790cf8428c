//===- TextTest.cpp - Tokenizing through the C interface ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"
#include "elutq/runtime.h"

#include <gtest/gtest.h>

using namespace elutq::test;

namespace {
class TextTest : public testing::Test {
protected:
  void SetUp() override {
    TemporaryFile file(ContainerParts().write());
    ASSERT_EQ(elutq_open(file.path.c_str(), nullptr, &model), ELUTQ_OK) << elutq_last_error();
  }
  void TearDown() override { elutq_close(model); }

  std::vector<int64_t> tokenize(const std::string &text, uint32_t flags = 0) {
    std::vector<int64_t> ids(text.size() + 4);
    size_t count = 0;
    EXPECT_EQ(elutq_tokenize(model, text.data(), text.size(), flags, ids.data(), ids.size(), &count), ELUTQ_OK);
    ids.resize(count);
    return ids;
  }

  elutq_model *model = nullptr;
};
} // namespace

TEST_F(TextTest, flags) {
  EXPECT_EQ(tokenize("xab"), (std::vector<int64_t>{'x', 256}));
  EXPECT_EQ(tokenize("a", ELUTQ_ADD_BOS), (std::vector<int64_t>{257, 'a'}));
  EXPECT_EQ(tokenize("<eos>"), (std::vector<int64_t>{258}));
  EXPECT_EQ(tokenize("<eos>", ELUTQ_PLAIN_SPECIAL).size(), 5u);
  EXPECT_TRUE(tokenize("").empty());
}

TEST_F(TextTest, capacity) {
  int64_t ids[2] = {-1, -1};
  size_t count = 0;
  EXPECT_EQ(elutq_tokenize(model, "xyz", 3, 0, ids, 2, &count), ELUTQ_ERROR_CAPACITY);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(ids[1], 'y');
  EXPECT_EQ(elutq_tokenize(model, "xyz", 3, 0, nullptr, 0, &count), ELUTQ_ERROR_CAPACITY);
  int64_t letters[] = {'x', 'y'};
  char text[2];
  size_t bytes = 0;
  EXPECT_EQ(elutq_detokenize(model, letters, 2, 0, text, 1, &bytes), ELUTQ_ERROR_CAPACITY);
  EXPECT_EQ(bytes, 2u);
  EXPECT_EQ(elutq_detokenize(model, letters, 2, 0, text, 2, &bytes), ELUTQ_OK);
  EXPECT_EQ(std::string(text, 2), "xy");
  letters[0] = kVocab;
  EXPECT_EQ(elutq_detokenize(model, letters, 2, 0, text, 2, &bytes), ELUTQ_ERROR_ARGUMENT);
}

TEST_F(TextTest, streamHoldsIncompleteCharacters) {
  elutq_stream *stream = nullptr;
  ASSERT_EQ(elutq_stream_create(model, 0, &stream), ELUTQ_OK);
  const char *text = nullptr;
  size_t bytes = 0;
  auto push = [&](int64_t token) {
    EXPECT_EQ(elutq_stream_push(stream, token, &text, &bytes), ELUTQ_OK);
    return std::string(text, bytes);
  };
  EXPECT_EQ(push(0xe4), "");
  EXPECT_EQ(push(0xb8), "");
  EXPECT_EQ(push(0x96), "世");
  EXPECT_EQ(push(258), ""); // special
  EXPECT_EQ(push(0xf0), "");
  EXPECT_EQ(push('a'), "\xef\xbf\xbd"
                       "a");
  EXPECT_EQ(push(0xe4), "");
  EXPECT_EQ(elutq_stream_flush(stream, &text, &bytes), ELUTQ_OK);
  EXPECT_EQ(std::string(text, bytes), "\xef\xbf\xbd");
  EXPECT_EQ(push('b'), "b");
  EXPECT_EQ(elutq_stream_push(stream, -1, &text, &bytes), ELUTQ_ERROR_ARGUMENT);
  elutq_stream_destroy(stream);
}

TEST_F(TextTest, keepSpecial) {
  int64_t ids[] = {257, 'a'};
  char text[16];
  size_t bytes = 0;
  ASSERT_EQ(elutq_detokenize(model, ids, 2, ELUTQ_KEEP_SPECIAL, text, 16, &bytes), ELUTQ_OK);
  EXPECT_EQ(std::string(text, bytes), "<bos>a");
}

TEST(TextWithoutTokenizer, isRefused) {
  ContainerParts parts;
  parts.sections.erase(parts.sections.begin());
  TemporaryFile file(parts.write());
  elutq_model *model = nullptr;
  ASSERT_EQ(elutq_open(file.path.c_str(), nullptr, &model), ELUTQ_OK) << elutq_last_error();
  size_t count = 0;
  EXPECT_EQ(elutq_tokenize(model, "a", 1, 0, nullptr, 0, &count), ELUTQ_ERROR_UNSUPPORTED);
  EXPECT_NE(std::string(elutq_last_error()).find("without a tokenizer"), std::string::npos);
  elutq_stream *stream = nullptr;
  EXPECT_EQ(elutq_stream_create(model, 0, &stream), ELUTQ_ERROR_UNSUPPORTED);
  elutq_close(model);
}
