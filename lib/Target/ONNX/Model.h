//===- Model.h - ONNX models in memory --------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// What the ONNX library does for the importer. It throws; the functions below are compiled with exceptions, in a library
// of their own, and let none through.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_MODEL_H
#define ELUTQ_LIB_TARGET_ONNX_MODEL_H

#include "Protobuf.h"
#include "elutq/Support/MappedFile.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>
#include <vector>

namespace elutq {

/// A model file, and what is known about it.
struct Model {
  std::string path;
  std::shared_ptr<const MappedFile> file;
  ::onnx::ModelProto proto;
  /// The raw data of large initializers by name: they stay in `file`, and `proto` lacks them.
  llvm::StringMap<llvm::ArrayRef<char>> mappedData;

  /// The version of the domain ai.onnx that the model asks for.
  int getOpset() const;
};

/// The domains of this project's and of ONNX Runtime's operators.
inline constexpr llvm::StringLiteral kElutqDomain = "ai.elutq";
inline constexpr llvm::StringLiteral kContribDomain = "com.microsoft";

/// Reads the file at `path`: protobuf, or ONNX's text syntax if the name ends in .onnxtxt.
llvm::Expected<std::unique_ptr<Model>> readModel(llvm::StringRef path);

/// Gives operators the one domain that the operator table knows them by.
void canonicalizeDomains(::onnx::ModelProto &model);

/// Inlines the model-local functions, but for those of the domain ai.elutq.
llvm::Error inlineFunctions(::onnx::ModelProto &model);

/// Checks that names are unique, that every value is defined before it is used, and that each node agrees with the schema
/// of its operator, where it is known.
llvm::Error checkStructure(const Model &model);

/// Lists all operators that have none in the onnx dialect.
llvm::Error checkOperators(const Model &model);

/// Why the onnx dialect has no operation for a node, by the first result that has a name.
using Refusals = llvm::StringMap<std::string>;

/// Adds the nodes whose operator, in the version of the model's opset, has none in the onnx dialect.
void findUnsupported(const Model &model, Refusals &refusals);

/// The first result of a node that has a name.
llvm::StringRef getFirstResult(const ::onnx::NodeProto &node);

/// What an error says, without the name of the node that comes first.
std::string getReason(llvm::Error error, const ::onnx::NodeProto &node);

/// Both of these.
llvm::Error checkGraph(const Model &model);

/// Gives symbolic dimensions of inputs and outputs the values in `bindings`.
llvm::Error bindDimensions(::onnx::ModelProto &model, const llvm::StringMap<int64_t> &bindings);

/// Adds the types of all values to the graph's `value_info`, which must be free of stale ones.
llvm::Error inferShapes(::onnx::ModelProto &model);

/// Rewrites nodes of old operator versions to the newest one: attributes that are operands now, operators renamed.
/// Needs the types that inferShapes() found. What cannot be rewritten is added to `refusals`, or an error without them.
llvm::Error modernizeOperators(Model &model, Refusals *refusals);

/// Replaces the nodes whose operator ONNX defines as a function of others, but for those that `isLowered` (domain, name), by
/// that function. Needs the types that inferShapes() found. Returns whether there were any.
llvm::Expected<bool> expandOperators(Model &model, llvm::function_ref<bool(llvm::StringRef, llvm::StringRef)> isLowered);

/// Replaces each If whose condition is an initializer by the branch that it takes, each Loop whose number of turns is known and each
/// Scan (since opset 9) along a known dimension by as many copies of its body. Needs the types that inferShapes() found. Returns
/// whether there were any.
bool inlineControlFlow(Model &model);

/// Appends to `learned` the types of values that have no known shape, but elementwise users with one. Returns whether there were any.
bool inferOperandShapes(const Model &model, std::vector<::onnx::ValueInfoProto> &learned);

/// Makes the values of Constant nodes initializers.
void moveConstants(Model &model);

/// Makes the values that `constants` name initializers; the nodes that computed them go.
void replaceByInitializers(Model &model, llvm::ArrayRef<::onnx::TensorProto> constants);

/// The ONNX library's messages have several lines.
std::string makeOneLine(llvm::StringRef text);

/// A name for error messages: that of the node, or of its first result.
std::string describeNode(const ::onnx::NodeProto &node);

/// "MatMul" or "com.microsoft::MatMulNBits".
std::string describeOperator(const ::onnx::NodeProto &node);

} // namespace elutq

#endif // ELUTQ_LIB_TARGET_ONNX_MODEL_H
