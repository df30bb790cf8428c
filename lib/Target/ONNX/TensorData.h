//===- TensorData.h - The bytes of ONNX tensors -----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_TENSORDATA_H
#define ELUTQ_LIB_TARGET_ONNX_TENSORDATA_H

#include "Model.h"

#include "mlir/IR/BuiltinTypes.h"

namespace elutq {

/// The element type of an ONNX data type, or an error that names `what`. Signed integers are signless here.
llvm::Expected<mlir::Type> getElementType(mlir::MLIRContext *context, int32_t dataType, const llvm::Twine &what);

/// Whether elements have less than a byte. Those of constants are packed in resources.
inline bool isNarrow(mlir::Type type) { return type.isIntOrFloat() && type.getIntOrFloatBitWidth() < 8 && !type.isInteger(1); }

/// The shape of a tensor, after checks that its elements can be counted.
llvm::Expected<mlir::RankedTensorType> getTensorType(mlir::MLIRContext *context, const ::onnx::TensorProto &tensor,
                                                     const llvm::Twine &what);

/// Bytes in the layout of MLIR's dense resources, and what keeps them alive.
struct TensorBytes {
  llvm::ArrayRef<char> bytes;
  /// The file, or the buffer that `bytes` were copied to.
  std::shared_ptr<const void> owner;
  /// Tells these bytes from others, e.g. file, offset and length.
  std::string source;
};

/// The paths of the files that initializers say their data are in, each once and in order.
std::vector<std::string> getExternalFiles(const Model &model);

/// Finds the bytes of tensors, in external files, too, which are mapped once each.
class TensorReader {
public:
  explicit TensorReader(const Model &model) : model(model) {}

  /// Returns the bytes of `tensor`; their number is that of `type`. `what` names the tensor in errors.
  llvm::Expected<TensorBytes> read(const ::onnx::TensorProto &tensor, mlir::RankedTensorType type,
                                   const llvm::Twine &what);

  /// Moves the data of small external integer tensors into the model, as shapes are computed from them.
  static llvm::Error loadShapeTensors(Model &model);

private:
  llvm::Expected<TensorBytes> readExternal(const ::onnx::TensorProto &tensor, uint64_t size, const llvm::Twine &what);
  llvm::Expected<std::shared_ptr<const MappedFile>> openExternal(llvm::StringRef location, const llvm::Twine &what);

  const Model &model;
  llvm::StringMap<std::shared_ptr<const MappedFile>> files;
};

} // namespace elutq

#endif // ELUTQ_LIB_TARGET_ONNX_TENSORDATA_H
