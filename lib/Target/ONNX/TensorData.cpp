//===- TensorData.cpp - The bytes of ONNX tensors ---------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TensorData.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"

#include <limits>
#include <set>

using namespace llvm;
using namespace mlir;
using ::onnx::TensorProto;

namespace elutq {

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Expected<Type> getElementType(MLIRContext *context, int32_t dataType, const Twine &what) {
  Builder builder(context);
  auto getUnsigned = [&](unsigned width) { return IntegerType::get(context, width, IntegerType::Unsigned); };
  switch (dataType) {
  case TensorProto::FLOAT:
    return builder.getF32Type();
  case TensorProto::FLOAT16:
    return builder.getF16Type();
  case TensorProto::BFLOAT16:
    return builder.getBF16Type();
  case TensorProto::DOUBLE:
    return builder.getF64Type();
  case TensorProto::BOOL:
    return builder.getI1Type();
  case TensorProto::INT8:
    return builder.getI8Type();
  case TensorProto::INT16:
    return builder.getI16Type();
  case TensorProto::INT32:
    return builder.getI32Type();
  case TensorProto::INT64:
    return builder.getI64Type();
  case TensorProto::UINT8:
    return getUnsigned(8);
  case TensorProto::UINT16:
    return getUnsigned(16);
  case TensorProto::UINT32:
    return getUnsigned(32);
  case TensorProto::UINT64:
    return getUnsigned(64);
  case TensorProto::INT2:
    return builder.getIntegerType(2);
  case TensorProto::INT4:
    return builder.getIntegerType(4);
  case TensorProto::UINT2:
    return getUnsigned(2);
  case TensorProto::UINT4:
    return getUnsigned(4);
  case TensorProto::FLOAT4E2M1:
    return Float4E2M1FNType::get(context);
  case TensorProto::FLOAT8E8M0:
    return Float8E8M0FNUType::get(context);
  case TensorProto::FLOAT8E4M3FN:
    return Float8E4M3FNType::get(context);
  case TensorProto::FLOAT8E4M3FNUZ:
    return Float8E4M3FNUZType::get(context);
  case TensorProto::FLOAT8E5M2:
    return Float8E5M2Type::get(context);
  case TensorProto::FLOAT8E5M2FNUZ:
    return Float8E5M2FNUZType::get(context);
  default:
    break;
  }
  std::string name = TensorProto::DataType_IsValid(dataType)
                         ? TensorProto::DataType_Name(static_cast<TensorProto::DataType>(dataType))
                         : std::to_string(dataType);
  return createStringError(what + " has element type " + name +
                           ", but supported are bool, integers and floats");
}

/// Bytes per element in ONNX's raw data and in dense resources; elements of less than a byte are packed.
static uint64_t getElementBytes(Type type) { return divideCeil(type.getIntOrFloatBitWidth(), 8); }

static uint64_t getNumBytes(RankedTensorType type) {
  unsigned width = type.getElementTypeBitWidth();
  return isNarrow(type.getElementType()) ? divideCeil(type.getNumElements(), 8 / width) : getElementBytes(type.getElementType()) * type.getNumElements();
}

Expected<RankedTensorType> getTensorType(MLIRContext *context, const TensorProto &tensor, const Twine &what) {
  auto elementType = getElementType(context, tensor.data_type(), what);
  if (!elementType)
    return elementType.takeError();
  uint64_t bytes = getElementBytes(*elementType);
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return createStringError(what + " has the negative dimension " + Twine(dim));
    bool overflow = false;
    bytes = SaturatingMultiply<uint64_t>(bytes, dim, &overflow);
    if (overflow || bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return createStringError(what + " has more elements than can be counted");
  }
  return RankedTensorType::get(ArrayRef(tensor.dims().data(), tensor.dims().size()), *elementType);
}

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

std::vector<std::string> getExternalFiles(const Model &model) {
  std::set<std::string> paths;
  for (const TensorProto &tensor : model.proto.graph().initializer())
    for (const auto &entry : tensor.external_data()) {
      SmallString<256> path = sys::path::parent_path(model.path);
      sys::path::append(path, entry.value());
      if (entry.key() == "location")
        paths.insert(path.str().str());
    }
  return std::vector<std::string>(paths.begin(), paths.end());
}

Expected<std::shared_ptr<const MappedFile>> TensorReader::openExternal(StringRef location, const Twine &what) {
  auto known = files.find(location);
  if (known != files.end())
    return known->second;
  if (location.empty() || location.contains('\0') || sys::path::is_absolute(location) ||
      is_contained(make_range(sys::path::begin(location), sys::path::end(location)), ".."))
    return createStringError(what + ": the location of its external data must be a path below the model's folder, but is '" +
                             location + "'");
  StringRef folder = sys::path::parent_path(model.path);
  SmallString<256> path(folder.empty() ? "." : folder), realFolder, realPath;
  if (std::error_code code = sys::fs::real_path(path, realFolder))
    return createStringError("cannot find the folder of '" + model.path + "': " + code.message());
  sys::path::append(path, location);
  if (std::error_code code = sys::fs::real_path(path, realPath))
    return createStringError(what + ": cannot open its external data '" + location + "': " + code.message());
  // A link must not lead out of the folder either.
  if (!realFolder.ends_with("/"))
    realFolder += '/';
  if (!realPath.str().starts_with(realFolder))
    return createStringError(what + ": its external data '" + location + "' lie outside of the model's folder");
  auto file = MappedFile::open(realPath);
  if (!file)
    return createStringError(what + ": " + toString(file.takeError()));
  files[location] = *file;
  return *file;
}

Expected<TensorBytes> TensorReader::readExternal(const TensorProto &tensor, uint64_t size, const Twine &what) {
  StringRef location;
  uint64_t offset = 0, length = size;
  for (const auto &entry : tensor.external_data()) {
    StringRef key = entry.key(), value = entry.value();
    if (key == "location")
      location = value;
    else if ((key == "offset" && value.getAsInteger(10, offset)) || (key == "length" && value.getAsInteger(10, length)))
      return createStringError(what + ": expected " + key + " of its external data to be a number, but got '" + value + "'");
  }
  if (length != size)
    return createStringError(what + ": expected " + Twine(size) + " bytes of external data, but its length is " +
                             Twine(length));
  auto file = openExternal(location, what);
  if (!file)
    return file.takeError();
  ArrayRef<char> bytes = (*file)->getBytes();
  if (offset > bytes.size() || size > bytes.size() - offset)
    return createStringError(what + ": its external data '" + location + "' end at byte " + Twine(bytes.size()) +
                             ", but bytes " + Twine(offset) + " to " + Twine(SaturatingAdd(offset, size)) +
                             " are needed");
  return TensorBytes{bytes.slice(offset, size), *file,
                     ((*file)->getIdentity() + ":" + Twine(offset) + ":" + Twine(size)).str()};
}

Error TensorReader::loadShapeTensors(Model &model) {
  constexpr uint64_t maxBytes = 1 << 16;
  TensorReader reader(model);
  for (TensorProto &tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    bool isInteger = tensor.data_type() == TensorProto::INT64 || tensor.data_type() == TensorProto::INT32;
    if (!isInteger || tensor.data_location() != TensorProto::EXTERNAL)
      continue;
    uint64_t size = tensor.data_type() == TensorProto::INT64 ? 8 : 4;
    for (int64_t dim : tensor.dims())
      size = SaturatingMultiply<uint64_t>(size, dim < 0 ? maxBytes + 1 : dim);
    if (size > maxBytes)
      continue;
    auto data = reader.readExternal(tensor, size, "initializer '" + Twine(tensor.name()) + "'");
    if (!data)
      return data.takeError();
    tensor.set_raw_data(data->bytes.data(), data->bytes.size());
    tensor.clear_external_data();
    tensor.set_data_location(TensorProto::DEFAULT);
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Typed fields
//===----------------------------------------------------------------------===//

/// Converts a repeated field to elements of type T. Returns false if a value does not fit.
template <typename T, typename Field>
static bool appendElements(const Field &field, std::string &out) {
  out.reserve(field.size() * sizeof(T));
  for (auto value : field) {
    T element = static_cast<T>(value);
    if (static_cast<decltype(value)>(element) != value && value == value)
      return false;
    out.append(reinterpret_cast<const char *>(&element), sizeof(T));
  }
  return true;
}

/// The elements of a tensor without raw data. Returns false if one does not fit its type.
static bool convertTypedData(const TensorProto &tensor, std::string &out) {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    return appendElements<float>(tensor.float_data(), out);
  case TensorProto::DOUBLE:
    return appendElements<double>(tensor.double_data(), out);
  case TensorProto::INT64:
    return appendElements<int64_t>(tensor.int64_data(), out);
  case TensorProto::UINT64:
    return appendElements<uint64_t>(tensor.uint64_data(), out);
  case TensorProto::UINT32:
    return appendElements<uint32_t>(tensor.uint64_data(), out);
  case TensorProto::INT32:
    return appendElements<int32_t>(tensor.int32_data(), out);
  case TensorProto::INT16:
    return appendElements<int16_t>(tensor.int32_data(), out);
  case TensorProto::INT8:
    return appendElements<int8_t>(tensor.int32_data(), out);
  case TensorProto::BOOL:
  case TensorProto::UINT8:
  case TensorProto::INT2: // A byte of packed elements in each number.
  case TensorProto::INT4:
  case TensorProto::UINT2:
  case TensorProto::UINT4:
  case TensorProto::FLOAT4E2M1:
  case TensorProto::FLOAT8E8M0: // The bits of an element.
  case TensorProto::FLOAT8E4M3FN:
  case TensorProto::FLOAT8E4M3FNUZ:
  case TensorProto::FLOAT8E5M2:
  case TensorProto::FLOAT8E5M2FNUZ:
    return appendElements<uint8_t>(tensor.int32_data(), out);
  default: // UINT16, and the bit patterns of FLOAT16 and BFLOAT16
    return appendElements<uint16_t>(tensor.int32_data(), out);
  }
}

//===----------------------------------------------------------------------===//
// All tensors
//===----------------------------------------------------------------------===//

Expected<TensorBytes> TensorReader::read(const TensorProto &tensor, RankedTensorType type, const Twine &what) {
  uint64_t elementBytes = getElementBytes(type.getElementType());
  uint64_t size = getNumBytes(type);
  TensorBytes result;
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    auto external = readExternal(tensor, size, what);
    if (!external)
      return external.takeError();
    result = std::move(*external);
  } else if (auto mapped = model.mappedData.find(tensor.name()); mapped != model.mappedData.end() && !tensor.has_raw_data()) {
    result = {mapped->second, model.file,
              (model.file->getIdentity() + ":" + Twine(mapped->second.data() - model.file->getBytes().data())).str()};
  } else {
    auto copy = std::make_shared<std::string>();
    if (tensor.has_raw_data())
      *copy = tensor.raw_data();
    else if (!convertTypedData(tensor, *copy))
      return createStringError(what + " holds a value that does not fit its type");
    // A name does not tell them: what follows from the shapes of an import has other values in the next one.
    XXH128_hash_t hash = xxh3_128bits(ArrayRef(reinterpret_cast<const uint8_t *>(copy->data()), copy->size()));
    result = {ArrayRef(copy->data(), copy->size()), copy, (Twine(hash.high64) + ":" + Twine(hash.low64) + ":" + Twine(copy->size())).str()};
  }
  if (result.bytes.size() != size)
    return createStringError(what + ": expected " + Twine(size) + " bytes of data for its shape, but got " +
                             Twine(result.bytes.size()));
  // Nothing obliges a writer to align its data; readers do rely on it.
  if (reinterpret_cast<uintptr_t>(result.bytes.data()) % elementBytes != 0) {
    auto copy = std::make_shared<std::string>(result.bytes.data(), result.bytes.size());
    result.bytes = ArrayRef(copy->data(), copy->size());
    result.owner = copy;
  }
  return result;
}

} // namespace elutq
