//===- SelectKernel.cpp - Choose kernels and layouts ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/Transforms/KernelSelection.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"

namespace elutq::hlq {
#define GEN_PASS_DEF_SELECTKERNELPASS
#include "elutq/Dialect/HLQ/Transforms/Passes.h.inc"
} // namespace elutq::hlq

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

namespace {

struct SelectKernel : elutq::hlq::impl::SelectKernelPassBase<SelectKernel> {
  using SelectKernelPassBase::SelectKernelPassBase;

  void runOnOperation() override {
    FailureOr<KernelSelector> selector =
        KernelSelector::create(isa, algorithm, wideTables, [&] { return getOperation()->emitError(); });
    if (failed(selector))
      return signalPassFailure();
    getOperation()->walk([&](Operation *op) {
      auto linear = dyn_cast<LinearOp>(op);
      auto gather = dyn_cast<GatherOp>(op);
      if (!linear && !gather)
        return;
      auto layout = op->getAttrOfType<LayoutAttr>(layoutAttrName);
      if (!layout) {
        layout = linear ? selector->selectLayout(linear) : selector->selectLayout(gather);
        op->setAttr(layoutAttrName, layout);
      }
      if (linear && !op->hasAttr(kernelAttrName)) {
        op->setAttr(kernelAttrName, selector->selectKernel(linear, layout));
        ++numKernels;
      }
    });
  }
};

} // namespace
