//===- Container.h - Layout of a compiled model's data ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// The data of a compiled model (meta data, tokenizer, weights) is one container: a file of its own, or appended to the
// executable that uses it. The compiler writes it, the runtime maps it. This header has no dependency but the C++
// standard library, so that both sides include the very same structs.
//
//   [file: anything, then padding to 4096]
//   Header | Section x section_count | padding | payload | padding | payload | ... | Trailer
//
// All numbers are little endian. The container starts at a multiple of 4096 of the file, and every payload at a
// multiple of 4096 of the container, so that payloads can be mapped. The Trailer is the last 64 bytes of the file.
//
// Sections:
//   meta       UTF-8 lines `key=value`; in a value, backslash is written `\\` and a line break `\n`
//   tokenizer  optional, see TokenizerFormat.h
//   tasks      optional, for traces: a line `ENTRY<tab>NAME` per call of elutq_parallel_for by an entry, in the order of the
//              calls; ENTRY is decode or prefill, NAME what the task computes
//   weights    what the compiled code reads; its size is meta's weights_bytes
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONTAINER_H
#define ELUTQ_CONTAINER_H

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace elutq {
namespace container {

inline constexpr char kHeaderMagic[8] = {'E', 'L', 'U', 'T', 'Q', 'A', 'R', 'T'};
inline constexpr char kTrailerMagic[8] = {'E', 'L', 'U', 'T', 'Q', 'E', 'N', 'D'};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint64_t kAlignment = 4096;
/// More sections than any version defines; a larger count is damage.
inline constexpr uint32_t kMaxSections = 64;

inline constexpr char kMetaSection[] = "meta";
inline constexpr char kTokenizerSection[] = "tokenizer";
inline constexpr char kTasksSection[] = "tasks";
inline constexpr char kWeightsSection[] = "weights";

/// The first 64 bytes of a container.
struct Header {
  char magic[8];           ///< kHeaderMagic
  uint32_t version;        ///< kVersion
  uint32_t sectionCount;   ///< Sections directly after the header
  uint64_t containerBytes; ///< From the header's first to the trailer's last byte
  uint64_t buildId;        ///< Must equal `elutq_build_id` of the compiled code
  uint64_t tableXXH3;      ///< XXH3-64 of the section table
  uint8_t zero[24];
};

/// One entry of the section table.
struct Section {
  char name[16];   ///< Padded with zeros
  uint64_t offset; ///< From the container's start, a multiple of kAlignment
  uint64_t bytes;  ///< Of the payload, without padding
  uint64_t xxh3;   ///< XXH3-64 of the payload
  uint8_t zero[24];
};

/// The last 64 bytes of a container and of its file.
struct Trailer {
  char magic[8];            ///< kTrailerMagic
  uint64_t containerOffset; ///< Of the Header in the file, a multiple of kAlignment
  uint64_t containerBytes;  ///< As in the Header
  uint64_t headerXXH3;      ///< XXH3-64 of the Header's 64 bytes
  uint8_t zero[32];
};

static_assert(sizeof(Header) == 64 && alignof(Header) == 8, "the header is 64 bytes in every file");
static_assert(sizeof(Section) == 64 && alignof(Section) == 8, "a section entry is 64 bytes in every file");
static_assert(sizeof(Trailer) == 64 && alignof(Trailer) == 8, "the trailer is 64 bytes in every file");
static_assert(offsetof(Header, containerBytes) == 16 && offsetof(Header, tableXXH3) == 32, "no hidden padding");
static_assert(offsetof(Section, offset) == 16 && offsetof(Section, xxh3) == 32, "no hidden padding");
static_assert(offsetof(Trailer, headerXXH3) == 24, "no hidden padding");
static_assert(std::is_trivially_copyable_v<Header> && std::is_trivially_copyable_v<Section> &&
                  std::is_trivially_copyable_v<Trailer>,
              "the structs are read from files byte by byte");

/// The next multiple of kAlignment.
constexpr uint64_t alignUp(uint64_t offset) { return (offset + kAlignment - 1) & ~(kAlignment - 1); }

} // namespace container
} // namespace elutq

#endif // ELUTQ_CONTAINER_H
