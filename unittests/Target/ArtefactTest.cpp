//===- ArtefactTest.cpp - Tests of the container's writer -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/Artefact.h"
#include "../TestSupport.h"
#include "elutq/Container.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Parser/Parser.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

#include <cstring>

using elutq::OutputFile;
using namespace elutq::cpu;
using namespace elutq::container;

template <typename T>
static T readAt(const std::string &bytes, uint64_t offset) {
  T value;
  EXPECT_LE(offset + sizeof value, bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

TEST(ArtefactTest, ContainerIsWhatTheHeaderSays) {
  TemporaryDirectory dir;
  auto file = OutputFile::create(dir.path("out"));
  ASSERT_TRUE(static_cast<bool>(file));
  EXPECT_FALSE(file->write({'E', 'L', 'F'})); // a container may follow anything
  std::string weights(10000, 'w');
  ASSERT_FALSE(writeContainer(*file,
                              {SectionContent::fromString("meta", formatMeta({{"name", "a\\b\nc"}, {"chunk", "64"}})),
                               SectionContent::fromString("weights", weights)},
                              0x123456789abcdef0));
  ASSERT_FALSE(file->commit());

  std::string bytes = dir.read("out");
  auto trailer = readAt<Trailer>(bytes, bytes.size() - sizeof(Trailer));
  EXPECT_EQ(std::memcmp(trailer.magic, kTrailerMagic, 8), 0);
  EXPECT_EQ(trailer.containerOffset, kAlignment);
  EXPECT_EQ(trailer.containerOffset + trailer.containerBytes, bytes.size());
  auto header = readAt<Header>(bytes, trailer.containerOffset);
  EXPECT_EQ(std::memcmp(header.magic, kHeaderMagic, 8), 0);
  EXPECT_EQ(header.version, kVersion);
  EXPECT_EQ(header.sectionCount, 2u);
  EXPECT_EQ(header.buildId, 0x123456789abcdef0u);
  EXPECT_EQ(trailer.headerXXH3, XXH3_64bits(&header, sizeof header));
  const char *table = bytes.data() + trailer.containerOffset + sizeof header;
  EXPECT_EQ(header.tableXXH3, XXH3_64bits(table, 2 * sizeof(Section)));
  std::string expected[] = {"name=a\\\\b\\nc\nchunk=64\n", weights};
  const char *names[] = {"meta", "weights"};
  for (int i = 0; i < 2; ++i) {
    auto section = readAt<Section>(bytes, trailer.containerOffset + sizeof header + i * sizeof(Section));
    EXPECT_STREQ(section.name, names[i]);
    EXPECT_EQ(section.offset % kAlignment, 0u);
    EXPECT_EQ(bytes.substr(trailer.containerOffset + section.offset, section.bytes), expected[i]);
    EXPECT_EQ(section.xxh3, XXH3_64bits(expected[i].data(), expected[i].size()));
  }
}

namespace {
class WeightsTest : public testing::Test {
protected:
  llvm::Expected<WeightsSection> parse(llvm::StringRef attributes) {
    context.allowUnregisteredDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(("module attributes {" + attributes + "} {}").str(), &context);
    EXPECT_TRUE(module);
    return WeightsSection::fromModule(*module);
  }
  std::string errorOf(llvm::StringRef attributes) {
    auto section = parse(attributes);
    return section ? "" : llvm::toString(section.takeError());
  }
  static std::string bytesOf(const WeightsSection &section) {
    std::string bytes;
    EXPECT_FALSE(section.content().write([&](llvm::ArrayRef<char> piece) {
      bytes.append(piece.data(), piece.size());
      return llvm::Error::success();
    }));
    return bytes;
  }
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};
} // namespace

TEST_F(WeightsTest, ConstantsLieAtTheirOffsets) {
  auto section = parse("elutq.plan = {weights_bytes = 20 : i64}, elutq.weights = ["
                       "{offset = 12 : i64, value = dense<7> : tensor<3xi8>},"
                       "{offset = 0 : i64, value = dense<[1, 2, 3]> : tensor<3xi16>}]");
  ASSERT_TRUE(static_cast<bool>(section));
  EXPECT_EQ(section->size(), 20u);
  EXPECT_EQ(bytesOf(*section), std::string("\1\0\2\0\3\0\0\0\0\0\0\0\7\7\7\0\0\0\0\0", 20));
  auto other = parse("elutq.plan = {weights_bytes = 20 : i64}, elutq.weights = ["
                     "{offset = 12 : i64, value = dense<8> : tensor<3xi8>},"
                     "{offset = 0 : i64, value = dense<[1, 2, 3]> : tensor<3xi16>}]");
  ASSERT_TRUE(static_cast<bool>(other));
  EXPECT_NE(section->hash(), other->hash());
}

TEST_F(WeightsTest, Resources) {
  context.allowUnregisteredDialects();
  module = mlir::parseSourceString<mlir::ModuleOp>(
      "module attributes {elutq.plan = {weights_bytes = 8 : i64}, elutq.weights = ["
      "{offset = 4 : i64, value = dense_resource<w> : tensor<4xi8>}]} {}\n"
      "{-# dialect_resources: { builtin: { w: \"0x0400000001020304\" } } #-}",
      &context);
  ASSERT_TRUE(module);
  auto section = WeightsSection::fromModule(*module);
  ASSERT_TRUE(static_cast<bool>(section));
  EXPECT_EQ(bytesOf(*section), std::string("\0\0\0\0\1\2\3\4", 8));
}

TEST_F(WeightsTest, ContradictionsAreErrors) {
  EXPECT_EQ(errorOf("elutq.weights = []"),
            "the module has no memory plan (attribute elutq.plan with weights_bytes)");
  EXPECT_EQ(errorOf("elutq.plan = {weights_bytes = 8 : i64}, elutq.weights = [{offset = 6 : i64, value = dense<7> : tensor<3xi8>}]"),
            "constants of elutq.weights end at 9, behind weights_bytes (8)");
  EXPECT_EQ(errorOf("elutq.plan = {weights_bytes = 8 : i64}, elutq.weights = [{offset = 0 : i64, value = dense<7> : tensor<3xi8>},"
                    "{offset = 2 : i64, value = dense<7> : tensor<3xi8>}]"),
            "constants of elutq.weights overlap at offset 2");
  EXPECT_EQ(errorOf("elutq.plan = {weights_bytes = 8 : i64}, elutq.weights = [{offset = 0 : i64, value = dense<true> : tensor<3xi1>}]"),
            "an entry of elutq.weights is not {offset, value} with a value of whole bytes");
}
