//===- ModelReader.cpp - Read ONNX files ------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/Twine.h"

#include "onnx/defs/parser.h"

#include <climits>
#include <google/protobuf/stubs/logging.h>

using namespace llvm;

namespace elutq {

//===----------------------------------------------------------------------===//
// Protobuf without the weights
//===----------------------------------------------------------------------===//
//
// Protobuf would copy every weight to the heap. So large raw data are cut out of the message before it is parsed, and
// remembered as parts of the mapped file.

namespace {
/// Walks over the fields of a serialized message.
class FieldReader {
public:
  explicit FieldReader(ArrayRef<char> message) : rest(message) {}

  struct Field {
    unsigned number;
    bool isLengthDelimited;
    ArrayRef<char> whole, payload;
    uint64_t varint;
  };

  bool atEnd() const { return rest.empty(); }

  /// Returns false if the message is malformed.
  bool next(Field &field) {
    ArrayRef<char> start = rest;
    uint64_t tag;
    if (!readVarint(tag))
      return false;
    field.number = tag >> 3;
    field.isLengthDelimited = false;
    field.varint = 0;
    uint64_t size = 0;
    switch (tag & 7) {
    case 0:
      if (!readVarint(field.varint))
        return false;
      break;
    case 1:
      size = 8;
      break;
    case 2:
      field.isLengthDelimited = true;
      if (!readVarint(size))
        return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return false;
    }
    if (size > rest.size())
      return false;
    field.payload = rest.take_front(size);
    rest = rest.drop_front(size);
    field.whole = start.drop_back(rest.size());
    return true;
  }

private:
  bool readVarint(uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest.empty())
        return false;
      uint8_t byte = rest.front();
      rest = rest.drop_front();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  }

  ArrayRef<char> rest;
};
} // namespace

static void appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

/// Copies `message` to `out`. `rewrite` may replace length-delimited fields: it appends the new payload to its second
/// argument and returns true, or returns false to keep the field. Returns false if anything is malformed.
static bool rewriteMessage(ArrayRef<char> message, std::string &out, unsigned number,
                           function_ref<bool(ArrayRef<char>, std::string &)> rewrite) {
  FieldReader reader(message);
  FieldReader::Field field;
  while (!reader.atEnd()) {
    if (!reader.next(field))
      return false;
    if (field.number != number || !field.isLengthDelimited) {
      out.append(field.whole.data(), field.whole.size());
      continue;
    }
    std::string payload;
    if (!rewrite(field.payload, payload))
      return false;
    appendVarint(out, number << 3 | 2);
    appendVarint(out, payload.size());
    out += payload;
  }
  return true;
}

/// The raw data that may stay in the file. Shape inference reads integers, so only large integer tensors do.
static bool isWeight(int64_t elementType, size_t size) {
  switch (elementType) {
  case ::onnx::TensorProto::INT32:
  case ::onnx::TensorProto::INT64:
    return size >= (1 << 20);
  default:
    return size >= 4096;
  }
}

/// Copies a serialized TensorProto but for its raw data, if they are large.
static bool stripTensor(ArrayRef<char> tensor, std::string &out, StringMap<ArrayRef<char>> &mappedData) {
  StringRef name;
  int64_t elementType = 0;
  ArrayRef<char> data;
  FieldReader::Field field;
  for (FieldReader reader(tensor); !reader.atEnd();) {
    if (!reader.next(field))
      return false;
    if (field.number == ::onnx::TensorProto::kNameFieldNumber)
      name = StringRef(field.payload.data(), field.payload.size());
    else if (field.number == ::onnx::TensorProto::kDataTypeFieldNumber)
      elementType = field.varint;
    else if (field.number == ::onnx::TensorProto::kRawDataFieldNumber)
      data = field.payload;
  }
  bool stays = isWeight(elementType, data.size());
  for (FieldReader reader(tensor); !reader.atEnd();) {
    reader.next(field);
    if (!stays || field.number != ::onnx::TensorProto::kRawDataFieldNumber)
      out.append(field.whole.data(), field.whole.size());
  }
  if (stays)
    mappedData[name] = data;
  return true;
}

static bool stripModel(ArrayRef<char> message, std::string &out, StringMap<ArrayRef<char>> &mappedData) {
  return rewriteMessage(message, out, ::onnx::ModelProto::kGraphFieldNumber, [&](ArrayRef<char> graph, std::string &out) {
    return rewriteMessage(graph, out, ::onnx::GraphProto::kInitializerFieldNumber,
                          [&](ArrayRef<char> tensor, std::string &out) { return stripTensor(tensor, out, mappedData); });
  });
}

static Error parseBinary(Model &model) {
  ArrayRef<char> bytes = model.file->getBytes();
  // Protobuf's own limit; exporters write larger models with external data.
  if (bytes.size() > INT_MAX)
    return createStringError("'" + model.path + "' has " + Twine(bytes.size()) +
                             " bytes, but an ONNX file has at most 2147483647: store its tensors as external data");
  std::string stripped;
  if (bytes.empty() || !stripModel(bytes, stripped, model.mappedData) ||
      !model.proto.ParseFromArray(stripped.data(), static_cast<int>(stripped.size())))
    return createStringError("'" + model.path + "' is not an ONNX model, or is truncated: it cannot be decoded");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// The parser of the ONNX library recurses for nested brackets.
static bool nestsTooDeeply(StringRef text) {
  constexpr unsigned maxDepth = 200;
  unsigned depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i)
        i += text[i] == '\\';
    } else if (c == '(' || c == '[' || c == '{') {
      if (++depth > maxDepth)
        return true;
    } else if ((c == ')' || c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

static Error parseText(Model &model) {
  ArrayRef<char> bytes = model.file->getBytes();
  constexpr size_t maxBytes = 64 << 20;
  StringRef text(bytes.data(), bytes.size());
  if (text.size() > maxBytes)
    return createStringError("'" + model.path + "' is larger than 64 MiB, too large for ONNX's text syntax");
  if (nestsTooDeeply(text))
    return createStringError("'" + model.path + "' nests brackets too deeply");
  ::onnx::OnnxParser parser(std::string_view(text.data(), text.size()));
  ::onnx::Common::Status status = parser.Parse(model.proto);
  if (!status.IsOK())
    return createStringError("'" + model.path + "' is not ONNX text: " + status.ErrorMessage());
  if (!parser.EndOfInput())
    return createStringError("'" + model.path + "' goes on after the model");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Both
//===----------------------------------------------------------------------===//

int Model::getOpset() const {
  for (const auto &opset : proto.opset_import())
    if (opset.domain().empty() || opset.domain() == "ai.onnx")
      return static_cast<int>(opset.version());
  return 0;
}

static Error checkVersions(const Model &model) {
  constexpr int oldest = 7, newest = 28;
  if (!model.proto.has_graph())
    return createStringError("'" + model.path + "' holds no graph");
  bool hasStandardDomain = false;
  for (const auto &opset : model.proto.opset_import()) {
    if (!opset.domain().empty() && opset.domain() != "ai.onnx")
      continue;
    hasStandardDomain = true;
    if (opset.version() < oldest || opset.version() > newest)
      return createStringError("the model asks for opset " + Twine(opset.version()) + " of ai.onnx, but only " +
                               Twine(oldest) + " to " + Twine(newest) + " are supported");
  }
  if (!hasStandardDomain)
    return createStringError("the model asks for no opset of ai.onnx");
  return Error::success();
}

Expected<std::unique_ptr<Model>> readModel(StringRef path) {
  // Protobuf writes to stderr on its own; what is wrong is told by the error.
  google::protobuf::LogSilencer silence;
  auto file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  auto model = std::make_unique<Model>();
  model->path = path.str();
  model->file = *file;
  try {
    if (Error error = path.ends_with(".onnxtxt") ? parseText(*model) : parseBinary(*model))
      return error;
  } catch (const std::exception &exception) {
    return createStringError("'" + path + "' cannot be read: " + exception.what());
  }
  if (Error error = checkVersions(*model))
    return error;
  return model;
}

} // namespace elutq
