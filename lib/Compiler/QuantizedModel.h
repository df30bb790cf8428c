//===- QuantizedModel.h - Write the quantized model as ONNX ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_QUANTIZEDMODEL_H
#define ELUTQ_LIB_COMPILER_QUANTIZEDMODEL_H

#include "elutq/Compiler/Options.h"

namespace elutq {

/// Writes `options.input` to `options.output` with its matrices in HLQ form, by the rules of `hlq-quantize`.
llvm::Error writeQuantizedModel(const CompileOptions &options);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_QUANTIZEDMODEL_H
