//===- OperatorTable.cpp - The operators of the onnx dialect ----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "OperatorTable.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

#include <vector>

using namespace llvm;

namespace elutq {

namespace {
/// One line of ONNXSchemas.inc. A table of lines compiles to data; building each operator by code would take far longer.
struct Line {
  enum class Kind { Operator, Input, Output, Attribute } kind;
  const char *first, *second, *third;
  int number;
  bool flag;
};
} // namespace

static std::vector<OperatorInfo> readTable() {
  using Option = OperatorInfo::Option;
  using AttributeKind = OperatorInfo::AttributeKind;
  static constexpr Line lines[] = {
#define ONNX_OPERATOR(DOMAIN, NAME, VERSION, OPERATION) {Line::Kind::Operator, DOMAIN, NAME, OPERATION, VERSION, false},
#define ONNX_INPUT(NAME, OPTION) {Line::Kind::Input, NAME, "", "", static_cast<int>(Option::OPTION), false},
#define ONNX_OUTPUT(NAME, OPTION) {Line::Kind::Output, NAME, "", "", static_cast<int>(Option::OPTION), false},
#define ONNX_ATTRIBUTE(NAME, IDENTIFIER, KIND, REQUIRED)                                                               \
  {Line::Kind::Attribute, NAME, IDENTIFIER, "", static_cast<int>(AttributeKind::KIND), REQUIRED},
#include "elutq/Dialect/ONNX/IR/ONNXSchemas.inc"
#undef ONNX_OPERATOR
#undef ONNX_INPUT
#undef ONNX_OUTPUT
#undef ONNX_ATTRIBUTE
  };
  std::vector<OperatorInfo> operators;
  for (const Line &line : lines) {
    switch (line.kind) {
    case Line::Kind::Operator:
      operators.push_back({line.first, line.second, line.number, line.third, {}, {}, {}});
      break;
    case Line::Kind::Input:
      operators.back().inputs.push_back({line.first, static_cast<Option>(line.number)});
      break;
    case Line::Kind::Output:
      operators.back().outputs.push_back({line.first, static_cast<Option>(line.number)});
      break;
    case Line::Kind::Attribute:
      operators.back().attributes.push_back(
          {line.first, line.second, static_cast<AttributeKind>(line.number), line.flag});
      break;
    }
  }
  return operators;
}

const OperatorInfo::Attribute *OperatorInfo::findAttribute(StringRef attribute) const {
  const auto *found = find_if(attributes, [&](const Attribute &candidate) { return candidate.name == attribute; });
  return found == attributes.end() ? nullptr : found;
}

static std::string getKey(StringRef domain, StringRef name) { return (Twine(domain) + "::" + name).str(); }

::onnx::AttributeProto::AttributeType getProtoType(OperatorInfo::AttributeKind kind) {
  switch (kind) {
  case OperatorInfo::AttributeKind::Int:
    return ::onnx::AttributeProto::INT;
  case OperatorInfo::AttributeKind::Float:
    return ::onnx::AttributeProto::FLOAT;
  case OperatorInfo::AttributeKind::String:
    return ::onnx::AttributeProto::STRING;
  case OperatorInfo::AttributeKind::Tensor:
    return ::onnx::AttributeProto::TENSOR;
  case OperatorInfo::AttributeKind::Ints:
    return ::onnx::AttributeProto::INTS;
  case OperatorInfo::AttributeKind::Floats:
    return ::onnx::AttributeProto::FLOATS;
  case OperatorInfo::AttributeKind::Strings:
    return ::onnx::AttributeProto::STRINGS;
  }
  return ::onnx::AttributeProto::UNDEFINED;
}

ArrayRef<OperatorInfo> getOperators() {
  static const std::vector<OperatorInfo> operators = readTable();
  return operators;
}

const OperatorInfo *findOperator(StringRef domain, StringRef name) {
  static const StringMap<const OperatorInfo *> byName = [] {
    StringMap<const OperatorInfo *> map;
    for (const OperatorInfo &info : getOperators())
      map.try_emplace(getKey(info.domain, info.name), &info);
    return map;
  }();
  return byName.lookup(getKey(domain, name));
}

} // namespace elutq
