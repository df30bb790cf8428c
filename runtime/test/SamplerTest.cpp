//===- SamplerTest.cpp - Distributions, limits, penalties and seeds -------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/runtime.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

namespace {
/// A sampler with the parameters set by `edit`.
class SamplerUnderTest {
public:
  template <typename Edit>
  explicit SamplerUnderTest(Edit edit) {
    elutq_sampler_params params;
    elutq_sampler_params_init(&params);
    edit(params);
    EXPECT_EQ(elutq_sampler_create(&params, &sampler), ELUTQ_OK) << elutq_last_error();
  }
  ~SamplerUnderTest() { elutq_sampler_destroy(sampler); }

  int64_t sample(const std::vector<float> &logits) {
    int64_t token = -1;
    EXPECT_EQ(elutq_sample(sampler, logits.data(), logits.size(), &token), ELUTQ_OK) << elutq_last_error();
    return token;
  }

  std::vector<double> getFrequencies(const std::vector<float> &logits, int rounds = 20000) {
    std::vector<double> counts(logits.size(), 0);
    for (int i = 0; i < rounds; ++i)
      counts[static_cast<size_t>(sample(logits))] += 1.0 / rounds;
    return counts;
  }

  elutq_sampler *sampler = nullptr;
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::vector<float> kLogits = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
// Four standard deviations of 20000 draws are at most 0.015.
constexpr double kTolerance = 0.015;
} // namespace

TEST(Sampler, greedyTakesTheFirstOfTheLargest) {
  SamplerUnderTest greedy([](auto &) {});
  EXPECT_EQ(greedy.sample({1, 3, 2, 3}), 1);
  EXPECT_EQ(greedy.sample({NAN, -5, -kInfinity, NAN}), 1);
  EXPECT_EQ(greedy.sample({-kInfinity, -1e30f}), 1);
}

/// The definition, against any size and place, with and without penalties.
TEST(Sampler, greedyInLargeVocabularies) {
  uint32_t state = 12345;
  auto random = [&] { return state = state * 1664525u + 1013904223u; };
  for (int round = 0; round < 300; ++round) {
    size_t count = 1 + random() % 5000;
    std::vector<float> logits(count);
    for (float &logit : logits) {
      uint32_t kind = random() % 50;
      // Few different numbers, so that there are ties.
      logit = kind == 0 ? NAN : kind == 1 ? kInfinity : kind == 2 ? -kInfinity : static_cast<float>(random() % 97) - 60.0f;
    }
    float penalty = round % 2 ? 1.5f : 1.0f;
    SamplerUnderTest greedy([&](auto &params) { params.repeat_penalty = penalty; });
    std::vector<float> expected = logits;
    for (int i = 0; i < round % 7; ++i) {
      int64_t token = static_cast<int64_t>(random() % count);
      ASSERT_EQ(elutq_sampler_accept(greedy.sampler, token), ELUTQ_OK);
      float logit = logits[static_cast<size_t>(token)];
      expected[static_cast<size_t>(token)] = logit > 0 ? logit / penalty : logit * penalty;
    }
    int64_t best = -1;
    for (size_t i = 0; i < count; ++i)
      if (std::isfinite(expected[i]) && (best < 0 || expected[i] > expected[static_cast<size_t>(best)]))
        best = static_cast<int64_t>(i);
    if (best >= 0)
      EXPECT_EQ(greedy.sample(logits), best) << round;
  }
}

TEST(Sampler, noFiniteLogit) {
  for (float temperature : {0.0f, 1.0f}) {
    SamplerUnderTest sampler([&](auto &params) { params.temperature = temperature; });
    float logits[] = {NAN, -kInfinity};
    int64_t token = -7;
    EXPECT_EQ(elutq_sample(sampler.sampler, logits, 2, &token), ELUTQ_ERROR_STATE);
    EXPECT_EQ(token, -7);
  }
}

TEST(Sampler, followsTheSoftmax) {
  SamplerUnderTest sampler([](auto &params) { params.temperature = 1; });
  auto frequencies = sampler.getFrequencies(kLogits);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(frequencies[i], std::exp(kLogits[i]), kTolerance);
}

TEST(Sampler, temperature) {
  SamplerUnderTest sampler([](auto &params) { params.temperature = 0.5f; });
  auto frequencies = sampler.getFrequencies(kLogits); // squares: 1, 16, 4, 9 of 30
  EXPECT_NEAR(frequencies[0], 1 / 30.0, kTolerance);
  EXPECT_NEAR(frequencies[1], 16 / 30.0, kTolerance);
  EXPECT_NEAR(frequencies[3], 9 / 30.0, kTolerance);
}

TEST(Sampler, topK) {
  SamplerUnderTest sampler([](auto &params) { params.temperature = 1, params.top_k = 2; });
  auto frequencies = sampler.getFrequencies(kLogits);
  EXPECT_NEAR(frequencies[1], 4 / 7.0, kTolerance);
  EXPECT_NEAR(frequencies[3], 3 / 7.0, kTolerance);
}

TEST(Sampler, topPKeepsTheTokenThatCrossesIt) {
  SamplerUnderTest sampler([](auto &params) { params.temperature = 1, params.top_p = 0.71f; });
  auto frequencies = sampler.getFrequencies(kLogits);
  EXPECT_EQ(frequencies[0], 0);
  EXPECT_NEAR(frequencies[1], 4 / 9.0, kTolerance);
  EXPECT_NEAR(frequencies[2], 2 / 9.0, kTolerance);
  // Over more tokens than are sorted at once.
  std::vector<float> flat(1000, 0.0f);
  SamplerUnderTest wide([](auto &params) { params.temperature = 1, params.top_p = 0.5f; });
  for (int i = 0; i < 200; ++i)
    EXPECT_LT(wide.sample(flat), 500);
}

TEST(Sampler, minP) {
  SamplerUnderTest sampler([](auto &params) { params.temperature = 1, params.min_p = 0.6f; });
  auto frequencies = sampler.getFrequencies(kLogits);
  EXPECT_NEAR(frequencies[1], 4 / 7.0, kTolerance);
  EXPECT_NEAR(frequencies[3], 3 / 7.0, kTolerance);
}

TEST(Sampler, repeatPenaltyAndItsWindow) {
  SamplerUnderTest sampler([](auto &params) { params.repeat_penalty = 2, params.repeat_last = 2; });
  EXPECT_EQ(sampler.sample({3, 2, 1}), 0);
  for (int64_t token : {0, 0})
    ASSERT_EQ(elutq_sampler_accept(sampler.sampler, token), ELUTQ_OK);
  EXPECT_EQ(sampler.sample({3, 2, 1}), 1); // 1.5 once, not 0.75
  EXPECT_EQ(sampler.sample({3, 1.4f, 1}), 0);
  EXPECT_EQ(sampler.sample({-1, -1.5f, -9}), 1); // negative logits move down, too
  for (int64_t token : {2, 2})
    ASSERT_EQ(elutq_sampler_accept(sampler.sampler, token), ELUTQ_OK);
  EXPECT_EQ(sampler.sample({3, 2, 1}), 0); // forgotten
  elutq_sampler_reset(sampler.sampler);
  EXPECT_EQ(sampler.sample({0, 2, 3}), 2);
}

TEST(Sampler, seeds) {
  auto draw = [](uint64_t seed) {
    SamplerUnderTest sampler([&](auto &params) { params.temperature = 1, params.seed = seed; });
    std::vector<int64_t> tokens;
    for (int i = 0; i < 50; ++i)
      tokens.push_back(sampler.sample(kLogits));
    std::vector<int64_t> again;
    elutq_sampler_reset(sampler.sampler);
    for (int i = 0; i < 50; ++i)
      again.push_back(sampler.sample(kLogits));
    EXPECT_EQ(tokens, again);
    return tokens;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, refusesBadParameters) {
  auto refuse = [](auto edit, const char *text) {
    elutq_sampler_params params;
    elutq_sampler_params_init(&params);
    edit(params);
    elutq_sampler *sampler = nullptr;
    EXPECT_EQ(elutq_sampler_create(&params, &sampler), ELUTQ_ERROR_ARGUMENT);
    EXPECT_NE(std::string(elutq_last_error()).find(text), std::string::npos) << elutq_last_error();
  };
  refuse([](auto &p) { p.temperature = -1; }, "temperature is -1");
  refuse([](auto &p) { p.temperature = NAN; }, "temperature is");
  refuse([](auto &p) { p.top_k = -1; }, "top_k");
  refuse([](auto &p) { p.top_p = 0; }, "top_p");
  refuse([](auto &p) { p.min_p = 1.5f; }, "min_p");
  refuse([](auto &p) { p.repeat_penalty = 0; }, "repeat_penalty");
  refuse([](auto &p) { p.struct_size = 0; }, "elutq_sampler_params_init");
}
