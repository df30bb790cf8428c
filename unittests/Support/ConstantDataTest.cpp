//===- ConstantDataTest.cpp - Tests of reading constants ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Support/ConstantData.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace elutq;

namespace {

struct ConstantDataTest : testing::Test {
  MLIRContext context;
  Builder builder{&context};
};

TEST_F(ConstantDataTest, Dense) {
  auto type = RankedTensorType::get({2, 2}, builder.getF32Type());
  std::optional<ConstantData> data = getConstantData(DenseElementsAttr::get<float>(type, {1, 2, 3, 4}));
  ASSERT_TRUE(data);
  EXPECT_FALSE(data->isSplat);
  EXPECT_EQ(data->bytes.size(), 16u);
  EXPECT_TRUE(data->getKey().empty());
}

TEST_F(ConstantDataTest, SplatIsExpanded) {
  auto type = RankedTensorType::get({3}, builder.getI8Type());
  std::optional<ConstantData> data = getConstantData(DenseElementsAttr::get<int8_t>(type, 7));
  ASSERT_TRUE(data);
  EXPECT_TRUE(data->isSplat);
  SmallVector<char> storage;
  EXPECT_EQ(expandSplat(*data, storage), ArrayRef<char>({7, 7, 7}));
}

TEST_F(ConstantDataTest, Resource) {
  SpillBuffer buffer = llvm::cantFail(SpillBuffer::create(4));
  buffer.getData()[2] = 5;
  auto type = RankedTensorType::get({4}, builder.getI8Type());
  std::optional<ConstantData> data = getConstantData(createResourceAttr(type, "model.weight", std::move(buffer)));
  ASSERT_TRUE(data);
  EXPECT_EQ(data->getKey(), "model.weight");
  EXPECT_EQ(data->bytes, ArrayRef<char>({0, 0, 5, 0}));
}

// A resource whose bytes do not fit its type is no constant: it must not be read beyond its end.
TEST_F(ConstantDataTest, ResourceOfWrongSize) {
  auto type = RankedTensorType::get({5}, builder.getI8Type());
  SpillBuffer buffer = llvm::cantFail(SpillBuffer::create(4));
  EXPECT_FALSE(getConstantData(createResourceAttr(type, "short", std::move(buffer))));
}

TEST_F(ConstantDataTest, NotWholeBytes) {
  auto type = RankedTensorType::get({3}, builder.getI1Type());
  EXPECT_FALSE(getConstantData(DenseElementsAttr::get(type, ArrayRef<bool>({true, false, true}))));
}

TEST_F(ConstantDataTest, NotAnElementsAttribute) { EXPECT_FALSE(getConstantData(builder.getUnitAttr())); }

} // namespace
