//===- OperatorTable.h - The operators of the onnx dialect ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_OPERATORTABLE_H
#define ELUTQ_LIB_TARGET_ONNX_OPERATORTABLE_H

#include "Protobuf.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace elutq {

/// An ONNX operator as python/tools/gen_onnx_ods.py saw it, in its newest version.
struct OperatorInfo {
  enum class Option { Single, Optional, Variadic };
  enum class AttributeKind { Int, Float, String, Tensor, Ints, Floats, Strings };

  struct Value {
    llvm::StringRef name;
    Option option;
  };
  struct Attribute {
    /// ONNX's name and the one in the dialect.
    llvm::StringRef name, identifier;
    AttributeKind kind;
    bool required;
  };

  llvm::StringRef domain, name;
  int version;
  /// The name of the operation, e.g. `onnx.MatMul`.
  llvm::StringRef operation;
  llvm::SmallVector<Value, 4> inputs, outputs;
  llvm::SmallVector<Attribute, 4> attributes;

  const Attribute *findAttribute(llvm::StringRef attribute) const;
};

/// ONNX's own name for a kind of attribute.
::onnx::AttributeProto::AttributeType getProtoType(OperatorInfo::AttributeKind kind);

llvm::ArrayRef<OperatorInfo> getOperators();

/// Returns null if the dialect has no such operator.
const OperatorInfo *findOperator(llvm::StringRef domain, llvm::StringRef name);

} // namespace elutq

#endif // ELUTQ_LIB_TARGET_ONNX_OPERATORTABLE_H
