//===- ONNXToLinalg.h - What the importer asks of the conversion -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_ONNXTOLINALG_H
#define ELUTQ_CONVERSION_ONNXTOLINALG_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

namespace elutq::normalize {

/// Whether convert-onnx-to-linalg has patterns of its own for an operator that ONNX also defines as a function of others.
bool isLoweredToLinalg(llvm::StringRef domain, llvm::StringRef name);

/// The value of an onnx op whose operands are small constants, or that depends on static shapes alone; else null.
mlir::ElementsAttr evaluateConstant(mlir::Operation *op);

} // namespace elutq::normalize

#endif // ELUTQ_CONVERSION_ONNXTOLINALG_H
