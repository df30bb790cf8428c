//===- SelectKernel.cpp - Choose kernels and layouts ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Analysis/KernelCost.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "Layouts.h"
#include "NodeNames.h"
#include "llvm/Support/Regex.h"

namespace elutq::hlq {
#define GEN_PASS_DEF_SELECTKERNELPASS
#include "elutq/Dialect/HLQ/Transforms/Passes.h.inc"
} // namespace elutq::hlq

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

/// The layout of the planes and parameters that `op`, a `hlq.linear` or `hlq.gather`, reads.
template <typename OpTy>
static LayoutAttr selectLayout(OpTy op, KernelISA isa) {
  auto scales = cast<ShapedType>(op.getScales().getType());
  quantize::PackedLayout layout = getLayout(isa, op.getBits(), op.getGroupSize());
  Params params = Params::HLQ;
  if (!op.getZeros())
    params = Params::Symmetric;
  else if (scales.getDimSize(2) != layout.bits)
    params = Params::Uniform;
  return LayoutAttr::get(op.getContext(), static_cast<Lane>(layout.lane), layout.rows, layout.bits, layout.groupSize,
                         params, scales.getElementType(), op.getZeroPoint().value_or(0));
}

static KernelAttr selectKernel(LinearOp op, LayoutAttr layout, KernelISA isa, int64_t tableBits,
                               std::optional<KernelAlgorithm> algorithm) {
  MLIRContext *context = op.getContext();
  int64_t m = cast<ShapedType>(op.getInput().getType()).getDimSize(0);
  // Without a static number of rows nothing is known but that one row must be fast.
  ProductShape shape{ShapedType::isDynamic(m) ? 1 : m, op.getNumRows(), op.getNumGroups()};
  KernelChoice choice = chooseKernel(isa, getPackedLayout(layout), shape, tableBits, algorithm);
  return KernelAttr::get(context, StringAttr::get(context, StringRef(toString(isa))),
                         StringAttr::get(context, StringRef(toString(choice.algorithm))), choice.mTile, choice.nTile,
                         choice.tableBits);
}

namespace {

struct SelectKernel : elutq::hlq::impl::SelectKernelPassBase<SelectKernel> {
  using SelectKernelPassBase::SelectKernelPassBase;

  void runOnOperation() override {
    std::optional<KernelISA> parsed = parseKernelISA(isa);
    if (!parsed) {
      getOperation()->emitError("expected isa to be avx512vbmi, avx512bw, avx2, neon, neon_dotprod or generic, but got '")
          << StringRef(isa) << "'";
      return signalPassFailure();
    }
    std::optional<KernelAlgorithm> forced = parseKernelAlgorithm(algorithm);
    if (!forced && algorithm != "auto") {
      getOperation()->emitError("expected algorithm to be auto, lut or dot, but got '") << StringRef(algorithm) << "'";
      return signalPassFailure();
    }
    llvm::Regex wide(wideTables);
    std::string reason;
    if (!wideTables.empty() && !wide.isValid(reason)) {
      getOperation()->emitError("expected wide-tables to be a regular expression, but got '")
          << StringRef(wideTables) << "': " << reason;
      return signalPassFailure();
    }
    auto selectTableBits = [&](Operation *op) -> int64_t {
      bool isWide = false;
      if (!wideTables.empty())
        forEachName(op->getLoc(), [&](StringRef name) { isWide |= wide.match(name); });
      return isWide ? 16 : 8;
    };
    getOperation()->walk([&](Operation *op) {
      auto linear = dyn_cast<LinearOp>(op);
      auto gather = dyn_cast<GatherOp>(op);
      if (!linear && !gather)
        return;
      auto layout = op->getAttrOfType<LayoutAttr>(layoutAttrName);
      if (!layout) {
        layout = linear ? selectLayout(linear, *parsed) : selectLayout(gather, *parsed);
        op->setAttr(layoutAttrName, layout);
      }
      if (linear && !op->hasAttr(kernelAttrName)) {
        op->setAttr(kernelAttrName, selectKernel(linear, layout, *parsed, selectTableBits(op), forced));
        ++numKernels;
      }
    });
  }
};

} // namespace
