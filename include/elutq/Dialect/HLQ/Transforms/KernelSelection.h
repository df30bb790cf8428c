//===- KernelSelection.h - From requests to attributes ----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_TRANSFORMS_KERNELSELECTION_H
#define ELUTQ_DIALECT_HLQ_TRANSFORMS_KERNELSELECTION_H

#include "elutq/Analysis/KernelCost.h"
#include "elutq/Dialect/HLQ/Transforms/Layouts.h"
#include "llvm/Support/Regex.h"

namespace elutq::hlq {

KernelAttr getKernelAttr(mlir::MLIRContext *context, KernelISA isa, const KernelChoice &choice);

/// What products are compiled for: the options of `hlq-select-kernel`, parsed.
class KernelSelector {
public:
  /// `algorithm` is auto, lut or dot; products with a node name that `wideTables` matches get entries of 16 bits.
  static mlir::FailureOr<KernelSelector> create(llvm::StringRef isa, llvm::StringRef algorithm, llvm::StringRef wideTables,
                                                llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

  KernelISA getISA() const { return isa; }
  /// None where the cost model chooses.
  std::optional<KernelAlgorithm> getAlgorithm() const { return algorithm; }
  /// The least number of bits of the entries of a product.
  int64_t getTableBits(mlir::Operation *op) const;
  LayoutAttr selectLayout(LinearOp op) const;
  LayoutAttr selectLayout(GatherOp op) const;
  /// The cost model's choice.
  KernelAttr selectKernel(LinearOp op, LayoutAttr layout) const;

private:
  KernelSelector() = default;

  KernelISA isa = KernelISA::Generic;
  std::optional<KernelAlgorithm> algorithm;
  /// None: no product has wide entries.
  std::optional<llvm::Regex> wideTables;
};

} // namespace elutq::hlq

#endif // ELUTQ_DIALECT_HLQ_TRANSFORMS_KERNELSELECTION_H
