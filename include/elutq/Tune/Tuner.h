//===- Tuner.h - Choose kernels by timing them ------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TUNE_TUNER_H
#define ELUTQ_TUNE_TUNER_H

#include "elutq/Dialect/HLQ/Transforms/KernelSelection.h"
#include "elutq/Tune/Product.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"

namespace elutq::tune {

/// A kernel and the microseconds of one product on this machine.
struct TimedKernel {
  KernelChoice choice;
  double time;
};

/// Times the kernels of `listKernels` for a product, weights from memory, on `threads` threads. The first one is the cost
/// model's. Of a large matrix only as many rows are multiplied as say something about all; times are for those.
llvm::Expected<std::vector<TimedKernel>> timeKernels(const ProductOptions &options, const cpu::TargetInfo &target, int threads);

/// What timing said about a product of a model, in microseconds.
struct TunedProduct {
  /// The cost model's choice, and the one that the product got.
  hlq::KernelAttr model, kernel;
  double modelTime, time;
};

using TunedProducts = llvm::DenseMap<mlir::Operation *, TunedProduct>;

/// Writes `hlq.kernel` on each `hlq.linear` of `module` that has none: the fastest kernel on this machine, with as many
/// threads as the runtime takes by default. Equal products are timed once, and `progress` is called for each such product.
/// Products that read one activation keep one algorithm and row tile, and so share its tables.
llvm::Expected<TunedProducts> tuneKernels(mlir::ModuleOp module, const hlq::KernelSelector &selector,
                                          const cpu::TargetInfo &target,
                                          llvm::function_ref<void(const ProductOptions &, llvm::ArrayRef<TimedKernel>)> progress);

} // namespace elutq::tune

#endif // ELUTQ_TUNE_TUNER_H
