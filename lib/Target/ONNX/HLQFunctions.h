//===- HLQFunctions.h - HLQ operators in standard ONNX ----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_HLQFUNCTIONS_H
#define ELUTQ_LIB_TARGET_ONNX_HLQFUNCTIONS_H

#include "Protobuf.h"
#include "llvm/Support/Error.h"

namespace elutq {

/// The functions of ai.elutq as text, which the Python package reads, too.
extern const char kHLQFunctions[];

/// Adds the functions of the domain ai.elutq to `model`: what HLQMatMul and HLQGather mean, in operators of the opset that
/// the model asks for.
llvm::Error addHLQFunctions(::onnx::ModelProto &model, int opset);

} // namespace elutq

#endif // ELUTQ_LIB_TARGET_ONNX_HLQFUNCTIONS_H
