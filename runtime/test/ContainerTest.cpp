//===- ContainerTest.cpp - Every damage to a container is refused in words -===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"
#include "elutq/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace elutq;
using namespace elutq::test;

namespace {
struct Opened {
  elutq_status status;
  std::string error;
};
} // namespace

static Opened open(const std::string &bytes) {
  TemporaryFile file(bytes);
  elutq_model *model = nullptr;
  elutq_status status = elutq_open(file.path.c_str(), nullptr, &model);
  std::string error = status == ELUTQ_OK ? "" : elutq_last_error();
  EXPECT_EQ(model != nullptr, status == ELUTQ_OK);
  elutq_close(model);
  return {status, error};
}

static void expectFormatError(const std::string &bytes, const std::string &text) {
  Opened opened = open(bytes);
  EXPECT_EQ(opened.status, ELUTQ_ERROR_FORMAT);
  EXPECT_NE(opened.error.find(text), std::string::npos) << opened.error;
}

TEST(Container, opensAlone) { EXPECT_EQ(open(ContainerParts().write()).status, ELUTQ_OK); }

TEST(Container, opensAppended) {
  ContainerParts parts;
  parts.padding = 3 * container::kAlignment;
  EXPECT_EQ(open(parts.write()).status, ELUTQ_OK);
}

TEST(Container, missingFile) {
  elutq_model *model = nullptr;
  EXPECT_EQ(elutq_open("/no/such/file", nullptr, &model), ELUTQ_ERROR_IO);
  EXPECT_STREQ(elutq_last_error(), "cannot open '/no/such/file': No such file or directory");
  EXPECT_EQ(elutq_open("/", nullptr, &model), ELUTQ_ERROR_IO);
}

TEST(Container, everyTruncation) {
  std::string bytes = ContainerParts().write();
  for (size_t size = 0; size < bytes.size(); size += size < 300 || size + 300 > bytes.size() ? 1 : 997)
    EXPECT_EQ(open(bytes.substr(0, size)).status, ELUTQ_ERROR_FORMAT) << size;
}

TEST(Container, everyFlippedByte) {
  std::string bytes = ContainerParts().write();
  size_t refused = 0, flips = 0;
  for (size_t i = 0; i < bytes.size(); i += i < 400 || i + 70 > bytes.size() ? 1 : 131, ++flips) {
    bytes[i] ^= 0x40;
    refused += open(bytes).status == ELUTQ_ERROR_FORMAT;
    bytes[i] ^= 0x40;
  }
  // Only padding carries no meaning.
  EXPECT_GT(refused, 256 + 32u);
  EXPECT_LE(refused, flips);
}

TEST(Container, trailerAndHeader) {
  ContainerParts parts;
  parts.changeTrailer = [](auto &trailer) { trailer.magic[0] = 'X'; };
  expectFormatError(parts.write(), "does not end with a compiled model");
  parts.changeTrailer = [](auto &trailer) { trailer.containerOffset = ~uint64_t(0) & ~uint64_t(4095); };
  expectFormatError(parts.write(), "the container is said to be at");
  parts.changeTrailer = [](auto &trailer) { trailer.containerBytes += 64; };
  expectFormatError(parts.write(), "the container is said to be at");
  parts.changeTrailer = nullptr;
  parts.changeHeader = [](auto &header) { header.version = 9; };
  expectFormatError(parts.write(), "container version 9, but this runtime reads version 1");
  parts.changeHeader = [](auto &header) { header.magic[7] = 0; };
  expectFormatError(parts.write(), "no container header");
  parts.changeHeader = [](auto &header) { header.containerBytes = 64; };
  expectFormatError(parts.write(), "disagree about the container's size");
  parts.changeHeader = [](auto &header) { header.sectionCount = ~0u; };
  expectFormatError(parts.write(), "4294967295 sections");
  parts.changeHeader = [](auto &header) { header.tableXXH3 ^= 1; };
  expectFormatError(parts.write(), "section table's checksum");
}

TEST(Container, sections) {
  ContainerParts parts;
  auto change = [&](int index, auto edit) {
    parts.changeSection = [=](container::Section &section, int i) {
      if (i == index)
        edit(section);
    };
    return parts.write();
  };
  expectFormatError(change(2, [](auto &s) { s.offset = ~uint64_t(4095); }), "lies outside");
  expectFormatError(change(2, [](auto &s) { s.bytes = ~uint64_t(0); }), "lies outside");
  expectFormatError(change(2, [](auto &s) { s.offset += 64; }), "lies outside");
  expectFormatError(change(2, [](auto &s) { s.offset = 0; }), "lies outside");
  expectFormatError(change(2, [](auto &s) { std::fill(s.name, s.name + 16, 'a'); }), "is not a text");
  expectFormatError(change(2, [](auto &s) { std::copy_n("meta\0\0\0\0\0\0", 10, s.name); }), "two sections 'meta'");
  expectFormatError(change(0, [](auto &s) { s.xxh3 ^= 1; }), "checksum of section 'meta'");
  expectFormatError(change(1, [](auto &s) { s.xxh3 ^= 1; }), "checksum of section 'tokenizer'");
  EXPECT_EQ(open(change(2, [](auto &s) { s.xxh3 ^= 1; })).status, ELUTQ_OK);
  expectFormatError(change(2, [](auto &s) { s.name[0] = 'W'; }), "0 bytes of weights");
  expectFormatError(change(0, [](auto &s) { s.name[0] = 'M'; }), "no meta data");
}

namespace {
/// Bytes that this process has in memory: of mapped files, and what no file backs.
struct ResidentBytes {
  uint64_t mapped = 0, anonymous = 0;

  static ResidentBytes read() {
    std::ifstream file("/proc/self/statm");
    uint64_t size = 0, resident = 0, shared = 0;
    file >> size >> resident >> shared;
    auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    return {shared * page, (resident - shared) * page};
  }
};
} // namespace

static uint64_t getMappedBytes() { return ResidentBytes::read().mapped; }

/// Repeats the weights until there are `bytes` of them.
static void growWeights(ContainerParts &parts, uint64_t bytes) {
  std::string &weights = parts.sections[1].second;
  while (weights.size() < bytes)
    weights += weights;
  weights.resize(bytes);
  parts.meta["weights_bytes"] = std::to_string(bytes);
}

/// The weights are checked, and read, before the first token and not when the file is opened.
TEST(Container, weightsAreReadLast) {
  constexpr uint64_t kBytes = 48 << 20;
  ContainerParts parts;
  growWeights(parts, kBytes);
  for (bool damaged : {false, true}) {
    if (damaged)
      parts.changeSection = [](auto &section, int i) { section.xxh3 ^= i == 2; };
    TemporaryFile file(parts.write());
    for (bool verify : {true, false}) {
      elutq_open_options options;
      elutq_open_options_init(&options);
      options.verify = verify;
      uint64_t before = getMappedBytes();
      elutq_model *model = nullptr;
      ASSERT_EQ(elutq_open(file.path.c_str(), &options, &model), ELUTQ_OK) << elutq_last_error();
      elutq_session *session = nullptr;
      ASSERT_EQ(elutq_session_create(model, nullptr, &session), ELUTQ_OK) << elutq_last_error();
      EXPECT_LT(getMappedBytes(), before + kBytes / 8);
      // A damaged file stays damaged.
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(elutq_decode(session, 5), damaged && verify ? ELUTQ_ERROR_FORMAT : ELUTQ_OK);
        if (damaged && verify)
          EXPECT_NE(std::string(elutq_last_error()).find("checksum of section 'weights' is wrong"), std::string::npos);
      }
      EXPECT_EQ(getMappedBytes() > before + kBytes / 2, verify);
      elutq_session_destroy(session);
      elutq_close(model);
    }
  }
}

/// A copy is read when the file is opened, once, and its own bytes are checked.
TEST(Container, weightsAreCopied) {
  constexpr uint64_t kBytes = 40 << 20;
  ContainerParts parts;
  growWeights(parts, kBytes);
  for (bool damaged : {false, true}) {
    if (damaged)
      parts.changeSection = [](auto &section, int i) { section.xxh3 ^= i == 2; };
    TemporaryFile file(parts.write());
    elutq_open_options options;
    elutq_open_options_init(&options);
    EXPECT_EQ(options.copy_weights, 0);
    options.copy_weights = 1;
    auto [mapped, anonymous] = ResidentBytes::read();
    elutq_model *model = nullptr;
    ASSERT_EQ(elutq_open(file.path.c_str(), &options, &model), ELUTQ_OK) << elutq_last_error();
    EXPECT_LT(getMappedBytes(), mapped + kBytes / 8);
    EXPECT_GE(ResidentBytes::read().anonymous, anonymous + kBytes - kBytes / 8);
    elutq_session *session = nullptr;
    ASSERT_EQ(elutq_session_create(model, nullptr, &session), ELUTQ_OK) << elutq_last_error();
    EXPECT_EQ(elutq_decode(session, 5), damaged ? ELUTQ_ERROR_FORMAT : ELUTQ_OK);
    EXPECT_LT(getMappedBytes(), mapped + kBytes / 8);
    elutq_session_destroy(session);
    elutq_close(model);
  }
}

TEST(Container, buildId) {
  ContainerParts parts;
  parts.buildId = 1;
  expectFormatError(parts.write(), "the weights belong to another model (build id 0000000000000001, but the code has "
                                   "1234567890abcdef)");
}

TEST(Container, meta) {
  auto with = [](const char *key, const char *value) {
    ContainerParts parts;
    parts.meta[key] = value;
    return parts.write();
  };
  ContainerParts without;
  without.meta.erase("chunk");
  expectFormatError(without.write(), "no 'chunk'");
  expectFormatError(with("vocab_size", "0"), "vocab_size=0, but expected a number from 1");
  expectFormatError(with("vocab_size", "-5"), "vocab_size=-5");
  expectFormatError(with("arena_bytes", "99999999999999999999"), "arena_bytes=");
  expectFormatError(with("cache_bytes", "12x"), "cache_bytes=12x");
  expectFormatError(with("weights_bytes", "17"), "16 bytes of weights, but its meta data says 17");
  expectFormatError(with("eos_ids", "1,,2"), "eos_ids=1,,2");
  expectFormatError(with("eos_ids", "300"), "token ids below 300");
  expectFormatError(with("x", "a\nb"), "is not `key=value`");
  expectFormatError(with("x", "a\nchunk=3"), "repeats a key");
  expectFormatError(with("x", "a\\q"), "unknown escape");
}

TEST(Container, metaEscapes) {
  ContainerParts parts;
  parts.meta["prompt_template"] = "<u>\\n{prompt}\\\\n";
  TemporaryFile file(parts.write());
  elutq_model *model = nullptr;
  ASSERT_EQ(elutq_open(file.path.c_str(), nullptr, &model), ELUTQ_OK);
  EXPECT_STREQ(elutq_model_meta(model, "prompt_template"), "<u>\n{prompt}\\n");
  EXPECT_EQ(elutq_model_meta(model, "nothing"), nullptr);
  EXPECT_NE(std::string(elutq_model_json(model)).find(R"("prompt_template": "<u>\u000a{prompt}\\n")"), std::string::npos);
  elutq_close(model);
}

TEST(Container, cpuFeatures) {
  ContainerParts parts;
  parts.meta["cpu_features"] = "+no-such-feature,-avx2";
  Opened opened = open(parts.write());
  EXPECT_EQ(opened.status, ELUTQ_ERROR_CPU);
  EXPECT_NE(opened.error.find("cannot check: no-such-feature"), std::string::npos) << opened.error;
#if defined(__x86_64__)
  parts.meta["cpu_features"] = "+sse2,+cmov";
  EXPECT_EQ(open(parts.write()).status, ELUTQ_OK);
  setenv("ELUTQ_DISABLE_CPU_FEATURES", "avx2,sse2", 1);
  opened = open(parts.write());
  unsetenv("ELUTQ_DISABLE_CPU_FEATURES");
  EXPECT_EQ(opened.status, ELUTQ_ERROR_CPU);
  EXPECT_NE(opened.error.find("lacks sse2, which the model was compiled for"), std::string::npos) << opened.error;
#endif
}

TEST(Container, hostileTokenizer) {
  // The section's checksum is right, so these bytes reach the tokenizer's own checks, whatever they are.
  ContainerParts parts;
  std::string &section = parts.sections[0].second;
  size_t refused = 0;
  for (size_t i = 0; i < section.size(); i += i < 200 ? 1 : 37) {
    char old = section[i];
    for (char value : {'\xff', '\x80', '\0'}) {
      section[i] = value;
      TemporaryFile file(parts.write());
      elutq_model *model = nullptr;
      if (elutq_open(file.path.c_str(), nullptr, &model) != ELUTQ_OK) {
        ++refused;
        continue;
      }
      int64_t ids[64];
      size_t count = 0, bytes = 0;
      char text[64];
      elutq_tokenize(model, "ab \xe4\xb8\x96<bos>\n", 13, 0, ids, 64, &count);
      elutq_detokenize(model, ids, std::min<size_t>(count, 64), 0, text, 64, &bytes);
      elutq_close(model);
    }
    section[i] = old;
  }
  EXPECT_GT(refused, 200u);
}
