//===- ONNXDialect.cpp - The onnx dialect -----------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/ONNX/IR/ONNX.h"

#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;

#include "elutq/Dialect/ONNX/IR/ONNXOpsDialect.cpp.inc"

namespace elutq::onnx {

void ONNXDialect::initialize() { registerONNXDialectOperations(this); }

DenseResourceElementsHandle
ONNXDialect::getOrCreateBlob(StringRef name, StringRef source, llvm::function_ref<AsmResourceBlob()> create) {
  std::string key = (name + StringRef("\0", 1) + source).str();
  llvm::sys::SmartScopedLock<true> lock(blobMutex);
  if (auto known = blobs.find(key); known != blobs.end())
    return known->second;
  auto &manager = DenseResourceElementsHandle::getManagerInterface(getContext());
  DenseResourceElementsHandle handle = manager.insert(name, create());
  blobs.try_emplace(key, handle);
  return handle;
}

} // namespace elutq::onnx
