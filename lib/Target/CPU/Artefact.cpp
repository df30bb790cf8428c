//===- Artefact.cpp - Write a compiled model's data -----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/Artefact.h"
#include "elutq/Container.h"
#include "elutq/Support/ReleasePages.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/DialectResourceBlobManager.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

#include <cstring>

using namespace llvm;
using namespace elutq::cpu;
using namespace elutq::container;

namespace {
/// XXH3-64 of a stream.
class StreamHash {
public:
  StreamHash() { XXH3_64bits_reset(&state); }
  void update(ArrayRef<char> bytes) { XXH3_64bits_update(&state, bytes.data(), bytes.size()); }
  uint64_t digest() const { return XXH3_64bits_digest(&state); }

private:
  XXH3_state_t state;
};
} // namespace

template <typename T>
static ArrayRef<char> bytesOf(const T &value) {
  return ArrayRef(reinterpret_cast<const char *>(&value), sizeof(T));
}

SectionContent SectionContent::fromString(std::string name, std::string bytes) {
  uint64_t size = bytes.size();
  return {std::move(name), size,
          [bytes = std::move(bytes)](const Sink &sink) { return sink(ArrayRef(bytes.data(), bytes.size())); }};
}

Error elutq::cpu::writeContainer(OutputFile &file, ArrayRef<SectionContent> sections, uint64_t buildId) {
  if (Error error = file.padTo(kAlignment))
    return error;
  uint64_t start = file.size();
  // Header and table hold hashes of what follows them; they are written last.
  if (Error error = file.writeZeros(sizeof(Header) + sections.size() * sizeof(Section)))
    return error;
  std::vector<Section> table;
  for (const SectionContent &content : sections) {
    if (Error error = file.padTo(kAlignment))
      return error;
    Section section = {};
    assert(content.name.size() <= sizeof section.name && "section names have at most 16 bytes");
    std::memcpy(section.name, content.name.data(), content.name.size());
    section.offset = file.size() - start;
    section.bytes = content.bytes;
    StreamHash hash;
    Error error = content.write([&](ArrayRef<char> bytes) {
      hash.update(bytes);
      return file.write(bytes);
    });
    if (error)
      return error;
    if (file.size() - start - section.offset != content.bytes)
      return createStringError("section '%s' has %llu bytes in place of %llu", content.name.c_str(),
                               static_cast<unsigned long long>(file.size() - start - section.offset),
                               static_cast<unsigned long long>(content.bytes));
    section.xxh3 = hash.digest();
    table.push_back(section);
  }
  if (Error error = file.padTo(sizeof(Trailer)))
    return error;

  Header header = {};
  std::memcpy(header.magic, kHeaderMagic, sizeof header.magic);
  header.version = kVersion;
  header.sectionCount = static_cast<uint32_t>(table.size());
  header.containerBytes = file.size() + sizeof(Trailer) - start;
  header.buildId = buildId;
  header.tableXXH3 = XXH3_64bits(table.data(), table.size() * sizeof(Section));
  Trailer trailer = {};
  std::memcpy(trailer.magic, kTrailerMagic, sizeof trailer.magic);
  trailer.containerOffset = start;
  trailer.containerBytes = header.containerBytes;
  trailer.headerXXH3 = XXH3_64bits(&header, sizeof header);
  if (Error error = file.write(bytesOf(trailer)))
    return error;
  if (Error error = file.writeAt(start, bytesOf(header)))
    return error;
  return file.writeAt(start + sizeof header,
                      ArrayRef(reinterpret_cast<const char *>(table.data()), table.size() * sizeof(Section)));
}

std::string elutq::cpu::formatMeta(ArrayRef<std::pair<std::string, std::string>> pairs) {
  std::string text;
  for (const auto &[key, value] : pairs) {
    text += key + "=";
    for (char c : value) {
      if (c == '\\')
        text += "\\\\";
      else if (c == '\n')
        text += "\\n";
      else
        text += c;
    }
    text += "\n";
  }
  return text;
}

/// Calls `sink` with the bytes of a constant, in memory order.
static Error forEachPiece(mlir::ElementsAttr value, const SectionContent::Sink &sink) {
  if (auto resource = dyn_cast<mlir::DenseResourceElementsAttr>(value)) {
    mlir::AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return createStringError("constant '%s' has no data", resource.getRawHandle().getKey().str().c_str());
    ArrayRef<char> data = blob->getData();
    // Piece by piece, so that the reader of the pages and their writer stay close together.
    constexpr size_t kPiece = 16 << 20;
    for (; !data.empty(); data = data.drop_front(std::min(data.size(), kPiece))) {
      if (Error error = sink(data.take_front(kPiece)))
        return error;
      elutq::releasePages(data.take_front(kPiece));
    }
    return Error::success();
  }
  auto dense = cast<mlir::DenseElementsAttr>(value);
  if (!dense.isSplat())
    return sink(dense.getRawData());
  for (int64_t i = 0, e = dense.getNumElements(); i < e; ++i)
    if (Error error = sink(dense.getRawData()))
      return error;
  return Error::success();
}

/// Bytes of a constant in memory, if it is of a kind that can be written.
static std::optional<uint64_t> sizeInBytes(mlir::ElementsAttr value) {
  mlir::ShapedType type = value.getShapedType();
  if (!isa<mlir::DenseResourceElementsAttr, mlir::DenseElementsAttr>(value) || !type.getElementType().isIntOrFloat() ||
      type.getElementTypeBitWidth() % 8 != 0)
    return std::nullopt;
  return static_cast<uint64_t>(type.getNumElements()) * (type.getElementTypeBitWidth() / 8);
}

Expected<WeightsSection> WeightsSection::fromModule(mlir::ModuleOp module) {
  WeightsSection section;
  auto plan = module->getAttrOfType<mlir::DictionaryAttr>("elutq.plan");
  auto total = plan ? plan.getAs<mlir::IntegerAttr>("weights_bytes") : mlir::IntegerAttr();
  if (!total)
    return createStringError("the module has no memory plan (attribute elutq.plan with weights_bytes)");
  section.bytes = static_cast<uint64_t>(total.getInt());
  if (auto list = module->getAttrOfType<mlir::ArrayAttr>("elutq.weights")) {
    for (mlir::Attribute element : list) {
      auto dictionary = dyn_cast<mlir::DictionaryAttr>(element);
      auto offset = dictionary ? dictionary.getAs<mlir::IntegerAttr>("offset") : mlir::IntegerAttr();
      auto value = dictionary ? dictionary.getAs<mlir::ElementsAttr>("value") : mlir::ElementsAttr();
      if (!offset || !value || !sizeInBytes(value))
        return createStringError("an entry of elutq.weights is not {offset, value} with a value of whole bytes");
      section.entries.push_back({static_cast<uint64_t>(offset.getInt()), value});
    }
  }
  llvm::sort(section.entries, [](const Entry &a, const Entry &b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const Entry &entry : section.entries) {
    if (entry.offset < end)
      return createStringError("constants of elutq.weights overlap at offset %llu",
                               static_cast<unsigned long long>(entry.offset));
    end = entry.offset + *sizeInBytes(entry.value);
  }
  if (end > section.bytes)
    return createStringError("constants of elutq.weights end at %llu, behind weights_bytes (%llu)",
                             static_cast<unsigned long long>(end), static_cast<unsigned long long>(section.bytes));
  return section;
}

uint64_t WeightsSection::hash() const {
  StreamHash hash;
  hash.update(bytesOf(bytes));
  for (const Entry &entry : entries) {
    hash.update(bytesOf(entry.offset));
    cantFail(forEachPiece(entry.value, [&](ArrayRef<char> data) {
      hash.update(data);
      return Error::success();
    }));
  }
  return hash.digest();
}

SectionContent WeightsSection::content() const {
  return {kWeightsSection, bytes, [entries = entries, total = bytes](const SectionContent::Sink &sink) -> Error {
            uint64_t position = 0;
            auto padTo = [&](uint64_t offset) -> Error {
              static constexpr char zeros[4096] = {};
              for (; position < offset; position += std::min<uint64_t>(offset - position, sizeof zeros))
                if (Error error = sink(ArrayRef(zeros, std::min<uint64_t>(offset - position, sizeof zeros))))
                  return error;
              return Error::success();
            };
            for (const Entry &entry : entries) {
              if (Error error = padTo(entry.offset))
                return error;
              Error error = forEachPiece(entry.value, [&](ArrayRef<char> data) {
                position += data.size();
                return sink(data);
              });
              if (error)
                return error;
            }
            return padTo(total);
          }};
}
