//===- ImportONNXTest.cpp - Two imports of one file -------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/ONNX/ImportONNX.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace mlir;

namespace {

/// A file that is gone at the end of the test.
class ModelFile {
public:
  /// A product with an 8x16 matrix whose elements are all `value`.
  explicit ModelFile(float value) {
    EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("model", "onnxtxt", path));
    write(value);
  }
  ~ModelFile() { llvm::sys::fs::remove(path); }

  void write(float value) {
    std::error_code code;
    llvm::raw_fd_ostream out(path, code);
    ASSERT_FALSE(code);
    out << "<ir_version: 10, opset_import: [\"\" : 23]>\n"
           "main (float[batch, 8] x) => (float[batch, 16] y)\n<float[8, 16] w = {";
    for (int i = 0; i < 128; ++i)
      out << (i == 0 ? "" : ", ") << value;
    out << "}>\n{ y = MatMul(x, w) }\n";
  }

  llvm::StringRef getPath() const { return path; }

private:
  llvm::SmallString<64> path;
};

OwningOpRef<ModuleOp> import(llvm::StringRef path, MLIRContext &context, int64_t batch) {
  elutq::ImportOptions options;
  options.dimBindings["batch"] = batch;
  auto module = elutq::importONNX(path, &context, options);
  if (!module) {
    ADD_FAILURE() << llvm::toString(module.takeError());
    return nullptr;
  }
  return std::move(*module);
}

DenseResourceElementsAttr getWeights(ModuleOp module) {
  DenseResourceElementsAttr weights;
  module.walk([&](arith::ConstantOp op) { weights = llvm::dyn_cast<DenseResourceElementsAttr>(op.getValue()); });
  return weights;
}

float getFirst(DenseResourceElementsAttr weights) {
  return *reinterpret_cast<const float *>(weights.getData().data());
}

TEST(ImportONNXTest, ImportsOfOneFileShareItsWeights) {
  ModelFile file(2.0f);
  MLIRContext context;
  auto decode = import(file.getPath(), context, 1), prefill = import(file.getPath(), context, 64);
  ASSERT_TRUE(decode && prefill);
  EXPECT_EQ(getWeights(*decode), getWeights(*prefill));
  EXPECT_EQ(getWeights(*decode).getRawHandle().getKey(), "w");
}

TEST(ImportONNXTest, ImportsOfTwoFilesDoNot) {
  ModelFile first(2.0f), second(3.0f);
  MLIRContext context;
  auto one = import(first.getPath(), context, 1), other = import(second.getPath(), context, 1);
  ASSERT_TRUE(one && other);
  EXPECT_EQ(getFirst(getWeights(*one)), 2.0f);
  EXPECT_EQ(getFirst(getWeights(*other)), 3.0f);
}

TEST(ImportONNXTest, AFileThatChangedIsReadAgain) {
  ModelFile file(2.0f);
  MLIRContext context;
  auto before = import(file.getPath(), context, 1);
  file.write(4.5f); // another size, as times may be too coarse to differ
  auto after = import(file.getPath(), context, 1);
  ASSERT_TRUE(before && after);
  EXPECT_EQ(getFirst(getWeights(*after)), 4.5f);
}

} // namespace
