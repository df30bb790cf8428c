//===- GenAIConfig.h - genai_config.json ------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_GENAICONFIG_H
#define ELUTQ_LIB_TARGET_ONNX_GENAICONFIG_H

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/Error.h"

namespace elutq {

/// Reads genai_config.json in the folder of the model at `modelPath` (written by ONNX Runtime's model builder): context
/// length, token ids, sizes, and the names of inputs and outputs. Returns null if there is none.
llvm::Expected<mlir::DictionaryAttr> readGenAIConfig(llvm::StringRef modelPath, mlir::MLIRContext *context);

} // namespace elutq

#endif // ELUTQ_LIB_TARGET_ONNX_GENAICONFIG_H
