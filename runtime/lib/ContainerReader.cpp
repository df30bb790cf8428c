//===- ContainerReader.cpp - Checks and opens a container -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ContainerReader.h"

#include "elutq/Container.h"

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace elutq;
using namespace elutq::runtime;

static constexpr const char *kCompileAgain = "; the file is damaged: copy it again or compile the model again";

Status ContainerReader::damaged(const std::string &what) const {
  return Status(ELUTQ_ERROR_FORMAT, "'" + path + "': " + what + kCompileAgain);
}

Status ContainerReader::open(const std::string &path, ContainerReader &result) {
  ContainerReader reader;
  reader.path = path;
  if (Status status = Mapping::mapFile(path, reader.mapping); !status.ok())
    return status;
  const uint8_t *file = reader.mapping.data();
  uint64_t fileBytes = reader.mapping.size();

  container::Trailer trailer;
  if (fileBytes < sizeof(container::Header) + sizeof(trailer))
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "' is too short (" + std::to_string(fileBytes) +
                                          " bytes) to hold a compiled model");
  std::memcpy(&trailer, file + fileBytes - sizeof(trailer), sizeof(trailer));
  if (std::memcmp(trailer.magic, container::kTrailerMagic, sizeof(trailer.magic)) != 0)
    return Status(ELUTQ_ERROR_FORMAT,
                  "'" + path + "' does not end with a compiled model: no model was appended, or the file was stripped or "
                               "cut off; compile the model again");
  uint64_t start = trailer.containerOffset;
  uint64_t bytes = trailer.containerBytes;
  if (start % container::kAlignment != 0 || start > fileBytes || bytes != fileBytes - start)
    return reader.damaged("the container is said to be at " + std::to_string(start) + " with " + std::to_string(bytes) +
                          " bytes, but the file has " + std::to_string(fileBytes) + " bytes");
  if (bytes < sizeof(container::Header) + sizeof(trailer))
    return reader.damaged("the container is too short (" + std::to_string(bytes) + " bytes)");

  container::Header header;
  std::memcpy(&header, file + start, sizeof(header));
  if (std::memcmp(header.magic, container::kHeaderMagic, sizeof(header.magic)) != 0)
    return reader.damaged("there is no container header at " + std::to_string(start));
  if (header.version != container::kVersion)
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "' has container version " + std::to_string(header.version) +
                                          ", but this runtime reads version " + std::to_string(container::kVersion) +
                                          "; use the files of one compilation together");
  if (XXH3_64bits(&header, sizeof(header)) != trailer.headerXXH3)
    return reader.damaged("the header's checksum is wrong");
  if (header.containerBytes != bytes)
    return reader.damaged("header and trailer disagree about the container's size");
  if (header.sectionCount > container::kMaxSections)
    return reader.damaged("there are " + std::to_string(header.sectionCount) + " sections, more than " +
                          std::to_string(container::kMaxSections));
  uint64_t tableBytes = uint64_t(header.sectionCount) * sizeof(container::Section);
  uint64_t payloadEnd = bytes - sizeof(trailer);
  uint64_t payloadBegin = sizeof(header) + tableBytes;
  if (payloadBegin > payloadEnd)
    return reader.damaged("the section table does not fit");
  const uint8_t *table = file + start + sizeof(header);
  if (XXH3_64bits(table, tableBytes) != header.tableXXH3)
    return reader.damaged("the section table's checksum is wrong");

  for (uint32_t i = 0; i < header.sectionCount; ++i) {
    container::Section section;
    std::memcpy(&section, table + i * sizeof(section), sizeof(section));
    if (std::memchr(section.name, 0, sizeof(section.name)) == nullptr || section.name[0] == 0)
      return reader.damaged("the name of section " + std::to_string(i) + " is not a text");
    std::string name = section.name;
    // Written so that no sum can overflow.
    if (section.offset % container::kAlignment != 0 || section.offset < payloadBegin || section.offset > payloadEnd ||
        section.bytes > payloadEnd - section.offset)
      return reader.damaged("section '" + name + "' (" + std::to_string(section.bytes) + " bytes at " +
                            std::to_string(section.offset) + ") lies outside the container");
    if (reader.find(name))
      return reader.damaged("there are two sections '" + name + "'");
    reader.entries.push_back({name, start + section.offset, section.bytes, section.xxh3});
  }
  reader.buildId = header.buildId;
  result = std::move(reader);
  return Status();
}

const ContainerReader::Entry *ContainerReader::find(std::string_view name) const {
  for (const Entry &entry : entries)
    if (entry.name == name)
      return &entry;
  return nullptr;
}

std::string_view ContainerReader::getSection(std::string_view name) const {
  const Entry *entry = find(name);
  if (!entry)
    return std::string_view();
  return std::string_view(reinterpret_cast<const char *>(mapping.data()) + entry->offset, entry->bytes);
}

Status ContainerReader::verifySection(std::string_view name, const uint8_t *copy) const {
  const Entry *entry = find(name);
  if (entry && XXH3_64bits(copy ? copy : mapping.data() + entry->offset, entry->bytes) != entry->xxh3)
    return damaged("the checksum of section '" + entry->name + "' is wrong");
  return Status();
}

void ContainerReader::adviseWillNeed(std::string_view name) const {
  if (const Entry *entry = find(name))
    mapping.adviseWillNeed(entry->offset, entry->bytes);
}

Status ContainerReader::copySection(std::string_view name, Mapping &copy) const {
  std::string_view section = getSection(name);
  if (Status status = Mapping::mapZeros(section.size(), "the copy of the weights", copy); !status.ok())
    return status;
  // Pages that are copied are given back at once: there is never more than a piece in memory twice.
  constexpr size_t kPiece = size_t(16) << 20;
  size_t offset = section.data() - reinterpret_cast<const char *>(mapping.data());
  for (size_t done = 0; done < section.size(); done += kPiece) {
    size_t count = std::min(kPiece, section.size() - done);
    std::memcpy(copy.data() + done, section.data() + done, count);
    mapping.release(offset + done, count);
  }
  return Status();
}

Status elutq::runtime::parseMeta(std::string_view text, std::map<std::string, std::string> &values) {
  size_t line = 0;
  while (!text.empty()) {
    ++line;
    size_t end = text.find('\n');
    std::string_view current = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (current.empty())
      continue;
    size_t equals = current.find('=');
    auto bad = [&](const char *what) {
      return Status(ELUTQ_ERROR_FORMAT, "line " + std::to_string(line) + " of the model's meta data " + what +
                                            "; compile the model again");
    };
    if (equals == 0 || equals == std::string_view::npos)
      return bad("is not `key=value`");
    std::string value;
    std::string_view raw = current.substr(equals + 1);
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == 0)
        return bad("contains a zero byte");
      if (raw[i] != '\\') {
        value.push_back(raw[i]);
        continue;
      }
      if (i + 1 == raw.size() || (raw[i + 1] != 'n' && raw[i + 1] != '\\'))
        return bad("has an unknown escape");
      value.push_back(raw[++i] == 'n' ? '\n' : '\\');
    }
    if (!values.emplace(std::string(current.substr(0, equals)), std::move(value)).second)
      return bad("repeats a key");
  }
  return Status();
}

/// Reads a decimal number without sign; false when there is anything else or it does not fit.
static bool parseNumber(std::string_view text, uint64_t &number) {
  if (text.empty() || text.size() > 19)
    return false;
  number = 0;
  for (char c : text) {
    if (c < '0' || c > '9')
      return false;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  return true;
}

Status elutq::runtime::getMetaNumber(const std::map<std::string, std::string> &values, const char *key, uint64_t low,
                                     uint64_t high, uint64_t &number) {
  auto found = values.find(key);
  if (found == values.end())
    return Status(ELUTQ_ERROR_FORMAT, std::string("the model's meta data has no '") + key + "'; compile the model again");
  if (!parseNumber(found->second, number) || number < low || number > high)
    return Status(ELUTQ_ERROR_FORMAT, std::string("the model's meta data has ") + key + "=" + found->second +
                                          ", but expected a number from " + std::to_string(low) + " to " +
                                          std::to_string(high) + "; compile the model again");
  return Status();
}

Status elutq::runtime::getMetaTokens(const std::map<std::string, std::string> &values, const char *key,
                                     uint64_t vocabSize, std::vector<int64_t> &tokens) {
  auto found = values.find(key);
  if (found == values.end() || found->second.empty())
    return Status();
  std::string_view rest = found->second;
  for (;;) {
    size_t comma = rest.find(',');
    uint64_t token;
    if (!parseNumber(rest.substr(0, comma), token) || token >= vocabSize)
      return Status(ELUTQ_ERROR_FORMAT, std::string("the model's meta data has ") + key + "=" + found->second +
                                            ", but expected token ids below " + std::to_string(vocabSize));
    tokens.push_back(static_cast<int64_t>(token));
    if (comma == std::string_view::npos)
      return Status();
    rest = rest.substr(comma + 1);
  }
}
