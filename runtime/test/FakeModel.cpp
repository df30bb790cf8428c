//===- FakeModel.cpp - A model for the runtime's tests --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"

#include "Utf8.h"
#include "elutq/TokenizerBuilder.h"

#include <cstdlib>
#include <cstring>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace elutq;
using namespace elutq::test;

std::string elutq::test::getTokenizerJson() {
  auto character = [](int byte) {
    std::string text;
    runtime::appendCharacter(runtime::mapByte(static_cast<uint8_t>(byte)), text);
    return text == "\"" || text == "\\" ? "\\" + text : text;
  };
  std::string vocab;
  for (int byte = 0; byte < 256; ++byte)
    vocab += "\"" + character(byte) + "\": " + std::to_string(byte) + ", ";
  return R"({"added_tokens": [{"id": 257, "content": "<bos>", "special": true, "normalized": false},
                              {"id": 258, "content": "<eos>", "special": true, "normalized": false}],
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
             "post_processor": {"type": "TemplateProcessing",
                                "single": [{"SpecialToken": {"id": "<bos>"}}, {"Sequence": {"id": "A"}}],
                                "special_tokens": {"<bos>": {"ids": [257]}}},
             "model": {"type": "BPE", "vocab": {)" +
         vocab + R"("ab": 256}, "merges": [["a", "b"]]}})";
}

ContainerParts::ContainerParts() {
  meta = {{"name", "fake"},
          {"vocab_size", std::to_string(kVocab)},
          {"max_context", std::to_string(kContext)},
          {"chunk", std::to_string(kChunk)},
          {"consistent", "1"},
          {"arena_bytes", std::to_string(4 * kVocab)},
          {"cache_bytes", std::to_string(8 * (kContext + kChunk))},
          {"weights_bytes", "16"},
          {"decode_weight_bytes", "16"},
          {"eos_ids", "258"}};
  std::string tokenizer, error;
  if (!buildTokenizerSection(getTokenizerJson(), tokenizer, error))
    std::abort();
  sections = {{"tokenizer", tokenizer}, {"weights", "0123456789abcdef"}};
}

std::string ContainerParts::write() const {
  std::string text;
  for (const auto &[key, value] : meta)
    text += key + "=" + value + "\n";
  auto all = sections;
  all.insert(all.begin(), {"meta", text});

  std::vector<container::Section> table;
  uint64_t offset = container::alignUp(sizeof(container::Header) + all.size() * sizeof(container::Section));
  std::string body;
  for (const auto &[name, payload] : all) {
    container::Section section = {};
    std::strncpy(section.name, name.c_str(), sizeof(section.name));
    section.offset = offset;
    section.bytes = payload.size();
    section.xxh3 = XXH3_64bits(payload.data(), payload.size());
    if (changeSection)
      changeSection(section, static_cast<int>(table.size()));
    table.push_back(section);
    body += payload;
    body.resize(container::alignUp(body.size()));
    offset = container::alignUp(offset + payload.size());
  }
  container::Header header = {};
  std::memcpy(header.magic, container::kHeaderMagic, 8);
  header.version = container::kVersion;
  header.sectionCount = static_cast<uint32_t>(table.size());
  header.containerBytes = offset + sizeof(container::Trailer);
  header.buildId = buildId;
  header.tableXXH3 = XXH3_64bits(table.data(), table.size() * sizeof(container::Section));
  if (changeHeader)
    changeHeader(header);

  container::Trailer trailer = {};
  std::memcpy(trailer.magic, container::kTrailerMagic, 8);
  trailer.containerOffset = padding;
  trailer.containerBytes = offset + sizeof(container::Trailer);
  trailer.headerXXH3 = XXH3_64bits(&header, sizeof(header));
  if (changeTrailer)
    changeTrailer(trailer);

  std::string file(padding, 'x');
  file.append(reinterpret_cast<const char *>(&header), sizeof(header));
  file.append(reinterpret_cast<const char *>(table.data()), table.size() * sizeof(container::Section));
  file.resize(padding + container::alignUp(file.size() - padding));
  file += body;
  file.append(reinterpret_cast<const char *>(&trailer), sizeof(trailer));
  return file;
}

static std::string writeTemporary(const std::string &bytes) {
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder ? folder : "/tmp") + "/elutq-test-XXXXXX";
  int file = ::mkstemp(&path[0]);
  if (file < 0 || ::write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    std::abort();
  ::close(file);
  return path;
}

TemporaryFile::TemporaryFile(const std::string &bytes) : path(writeTemporary(bytes)) {}
TemporaryFile::~TemporaryFile() { ::unlink(path.c_str()); }
