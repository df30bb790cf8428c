//===- ExportHLQ.h - HLQ matrices in ONNX models ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_ONNX_EXPORTHLQ_H
#define ELUTQ_TARGET_ONNX_EXPORTHLQ_H

#include "elutq/Quantize/Solver.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace elutq {

/// A float matrix of a model that linear layers or embeddings use: `w[n, k]`, in whatever order it is stored.
struct FloatMatrix {
  enum class Type { F32, F16, BF16 };

  /// The name of the initializer, and those of the nodes that use it.
  llvm::StringRef name;
  std::vector<std::string> nodes;
  /// Whether rows are looked up by index, and whether activations are multiplied by it. A tied embedding has both.
  bool isGathered = false, isMultiplied = false;
  Type type = Type::F32;
  int64_t n = 0, k = 0;
  /// In elements.
  int64_t rowStride = 0, colStride = 0;
  llvm::ArrayRef<char> data;
};

/// The same in HLQ form, as `hlq.linear` describes it: planes `[bits][n][G * groupSize / 8]`, scales `[n][G][bits]` and
/// zeros `[n][G]`, both f16 or both f32. With 8 bits codes `[n][G * groupSize]` and scales `[n][G]`. Compact parameters have scales `[n][G]` and
/// bytes as zeros, `[n][G][bits + 1]`.
struct HLQMatrix {
  int64_t bits = 0, groupSize = 0;
  bool hasHalfParameters = true, isCompact = false;
  std::vector<char> planes, scales, zeros;
};

/// Fits `matrix` by its values alone, with `options.bits` bits in groups of `options.groupSize`. An error names the matrix.
llvm::Expected<HLQMatrix> fitMatrix(const FloatMatrix &matrix, const quantize::FitOptions &options);

/// Returns a matrix in HLQ form, or nothing to leave it as it is.
using QuantizeMatrixFn = llvm::function_ref<llvm::Expected<std::optional<HLQMatrix>>(const FloatMatrix &)>;

/// Writes the model at `inputPath` to `outputPath` with its matrices in HLQ form, as far as `quantize` returns one: MatMul
/// and Gemm become `ai.elutq::HLQMatMul`, Gather `ai.elutq::HLQGather`. Both have function bodies of standard operators
/// in the model, so that any ONNX runtime can run it. Codes of 8 bits are one plane `[1][n][G * groupSize]`. Tensors go
/// to `outputPath` + ".data".
///
/// One matrix is in memory at a time. `finish` is called behind the last one; after an error of it nothing is written.
llvm::Error exportHLQONNX(
    llvm::StringRef inputPath, llvm::StringRef outputPath, QuantizeMatrixFn quantize,
    llvm::function_ref<llvm::Error()> finish = [] { return llvm::Error::success(); });

/// Registers `--onnx-to-hlq-onnx` with mlir-translate-like tools: quantizes by the weights alone.
void registerExportHLQTranslation();

} // namespace elutq

#endif // ELUTQ_TARGET_ONNX_EXPORTHLQ_H
