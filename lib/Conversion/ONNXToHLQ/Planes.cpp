//===- Planes.cpp - Codes of uniform formats as bit planes ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Planes.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/QuantizedConstant.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "elutq/Support/ConstantData.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cstring>
#include <vector>

using namespace mlir;

namespace elutq::normalize {

bool isGroupSize(int64_t groupSize, int64_t columns) {
  switch (groupSize) {
  case 16:
  case 32:
  case 64:
  case 128:
  case 256:
    return true;
  default:
    return groupSize >= columns && groupSize % 32 == 0;
  }
}

/// Bit `plane` of eight codes of `bits` bits, which lie in `codes`, as a byte.
static uint8_t gatherBits(uint32_t codes, int64_t plane, int64_t bits) {
  uint32_t x = codes >> plane;
  if (bits == 1)
    return static_cast<uint8_t>(x);
  if (bits == 4) {
    x &= 0x11111111u;
    x = (x | x >> 3) & 0x03030303u;
    x = (x | x >> 6) & 0x000f000fu;
    return static_cast<uint8_t>(x | x >> 12);
  }
  x &= 0x5555u;
  x = (x | x >> 1) & 0x3333u;
  x = (x | x >> 2) & 0x0f0fu;
  return static_cast<uint8_t>(x | x >> 4);
}

static void writePlanes(const UniformMatrix &matrix, ArrayRef<char> codes, char *planes) {
  int64_t planeRowBytes = matrix.getGroups() * matrix.groupSize / 8;
  for (int64_t row = 0; row < matrix.rows; ++row)
    for (int64_t i = 0; i < planeRowBytes; ++i) {
      uint32_t eight = 0;
      int64_t offset = i * matrix.bits, available = std::clamp<int64_t>(matrix.rowBytes - offset, 0, matrix.bits);
      std::memcpy(&eight, codes.data() + row * matrix.rowBytes + offset, available);
      // Columns from `columns` on are 0 whatever the padding of the model holds.
      int64_t valid = std::clamp<int64_t>(matrix.columns - 8 * i, 0, 8);
      for (int64_t plane = 0; plane < matrix.bits; ++plane)
        planes[(plane * matrix.rows + row) * planeRowBytes + i] =
            static_cast<char>(gatherBits(eight, plane, matrix.bits) & ((1u << valid) - 1));
    }
}

/// Codes of 8 bits, columns from `columns` on 0.
static void writeCodes(const UniformMatrix &matrix, ArrayRef<char> codes, char *to) {
  int64_t rowBytes = matrix.getGroups() * matrix.groupSize;
  std::memset(to, 0, matrix.rows * rowBytes);
  for (int64_t row = 0; row < matrix.rows; ++row)
    std::memcpy(to + row * rowBytes, codes.data() + row * matrix.rowBytes, matrix.columns);
}

/// Zero points as floats, in the order of the scales.
static FailureOr<std::vector<float>> readZeroPoints(const UniformMatrix &matrix, EmitReason refuse) {
  std::optional<ConstantData> data = getConstantData(matrix.zeroPoints);
  if (!data)
    return refuse("its zero points must be constant");
  SmallVector<char> storage;
  ArrayRef<char> bytes = expandSplat(*data, storage);
  Type element = data->getType().getElementType();
  int64_t groups = matrix.getGroups(), rowBytes = (groups * matrix.bits + 7) / 8;
  bool isFloat = isa<FloatType>(element);
  int64_t expected = isFloat ? matrix.rows * groups : matrix.rows * rowBytes;
  if (data->getType().getNumElements() != expected || (!isFloat && element.getIntOrFloatBitWidth() != 8))
    return refuse("expected " + Twine(expected) + " zero points, but got " + Twine(data->getType().getNumElements()));
  std::vector<float> result(matrix.rows * groups);
  for (int64_t row = 0; row < matrix.rows; ++row)
    for (int64_t group = 0; group < groups; ++group) {
      int64_t index = row * groups + group, bit = group * matrix.bits;
      result[index] = isFloat ? readFloat(bytes.data(), element, index)
                              : static_cast<float>(static_cast<uint8_t>(bytes[row * rowBytes + bit / 8]) >> bit % 8 & ((1 << matrix.bits) - 1));
    }
  return result;
}

FailureOr<PlaneOperands> buildPlanes(OpBuilder &builder, Location loc, const UniformMatrix &matrix, EmitReason refuse) {
  if (matrix.bits != 2 && matrix.bits != 4 && matrix.bits != 1 && matrix.bits != 8)
    return refuse("weights of " + Twine(matrix.bits) + " bits are not supported; supported are 1, 2, 4 and 8");
  if (!isGroupSize(matrix.groupSize, matrix.columns))
    return refuse("a block size of " + Twine(matrix.groupSize) +
                  " is not supported; supported are 16, 32, 64, 128, 256 and one block per row, a multiple of 32");
  std::optional<ConstantData> codes = getConstantData(matrix.codes), scales = getConstantData(matrix.scales);
  if (!codes || !scales)
    return refuse("its weights and scales must be constant");
  int64_t groups = matrix.getGroups();
  if (codes->getType().getNumElements() != matrix.rows * matrix.rowBytes)
    return refuse("expected " + Twine(matrix.rows * matrix.rowBytes) + " bytes of weights, but got " + Twine(codes->getType().getNumElements()));
  if (scales->getType().getNumElements() != matrix.rows * groups)
    return refuse("expected " + Twine(matrix.rows * groups) + " scales, but got " + Twine(scales->getType().getNumElements()));

  PlaneOperands result;
  result.groupSize = builder.getI64IntegerAttr(matrix.groupSize);
  SmallVector<char> codeStorage, scaleStorage;
  ArrayRef<char> codeBytes = expandSplat(*codes, codeStorage), scaleBytes = expandSplat(*scales, scaleStorage);
  auto derive = [&](Value source, const Twine &suffix, RankedTensorType type, function_ref<void(char *)> write) -> FailureOr<Value> {
    llvm::Expected<Value> constant = deriveConstant(builder, loc, source, suffix, type, write);
    if (!constant)
      return refuse("no memory for its planes: " + Twine(llvm::toString(constant.takeError())));
    return *constant;
  };
  // The columns are part of the name: a product and an embedding that share codes may differ in what they count as padding.
  bool hasCodes = matrix.bits == 8;
  int64_t columns = groups * matrix.groupSize;
  auto planesType = hasCodes ? RankedTensorType::get({matrix.rows, columns}, builder.getI8Type())
                             : RankedTensorType::get({matrix.bits, matrix.rows, columns / 8}, builder.getI8Type());
  FailureOr<Value> planes = derive(matrix.codes, ".planes" + Twine(matrix.columns), planesType,
                                   [&](char *to) { (hasCodes ? writeCodes : writePlanes)(matrix, codeBytes, to); });
  if (failed(planes))
    return failure();
  releasePages(codes->bytes);
  result.planes = *planes;

  Type element = scales->getType().getElementType(), f32 = builder.getF32Type();
  auto scaleType = RankedTensorType::get({matrix.rows, groups, 1}, f32), zeroType = RankedTensorType::get({matrix.rows, groups}, f32);
  if (element.isF32()) {
    result.scales = reshape(builder, loc, matrix.scales, scaleType.getShape());
  } else {
    FailureOr<Value> widened = derive(matrix.scales, ".f32", scaleType, [&](char *to) {
      for (int64_t i = 0; i < scaleType.getNumElements(); ++i) {
        float number = readFloat(scaleBytes.data(), element, i);
        std::memcpy(to + 4 * i, &number, 4);
      }
    });
    if (failed(widened))
      return failure();
    result.scales = *widened;
  }

  int64_t middle = int64_t(1) << (matrix.bits - 1);
  if (isAbsent(matrix.zeroPoints)) {
    result.zeroPoint = builder.getI64IntegerAttr(middle);
    return result;
  }
  FailureOr<std::vector<float>> zeroPoints = readZeroPoints(matrix, refuse);
  if (failed(zeroPoints))
    return failure();
  // One integer for all groups needs no zeros in memory.
  float first = zeroPoints->empty() ? static_cast<float>(middle) : zeroPoints->front();
  if (llvm::all_equal(*zeroPoints) && first == static_cast<float>(static_cast<int64_t>(first)) && first >= 0) {
    result.zeroPoint = builder.getI64IntegerAttr(static_cast<int64_t>(first));
    return result;
  }
  // Matrices that share zero points may differ in scales.
  FailureOr<Value> zeros = derive(matrix.zeroPoints, ".zeros" + scales->getKey(), zeroType, [&](char *to) {
    for (int64_t i = 0; i < zeroType.getNumElements(); ++i) {
      float zero = -(*zeroPoints)[i] * readFloat(scaleBytes.data(), element, i);
      std::memcpy(to + 4 * i, &zero, 4);
    }
  });
  if (failed(zeros))
    return failure();
  result.zeros = *zeros;
  return result;
}

} // namespace elutq::normalize
