//===- KernelSelection.cpp - From requests to attributes ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/Transforms/KernelSelection.h"
#include "NodeNames.h"

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

KernelAttr hlq::getKernelAttr(MLIRContext *context, KernelISA isa, const KernelChoice &choice) {
  return KernelAttr::get(context, StringAttr::get(context, StringRef(toString(isa))),
                         StringAttr::get(context, StringRef(toString(choice.algorithm))), choice.mTile, choice.nTile,
                         choice.tableBits);
}

FailureOr<KernelSelector> KernelSelector::create(StringRef isa, StringRef algorithm, StringRef wideTables,
                                                 function_ref<InFlightDiagnostic()> emitError) {
  KernelSelector selector;
  std::optional<KernelISA> parsed = parseKernelISA(isa);
  if (!parsed)
    return emitError() << "expected isa to be avx512amx, avx512vbmi, avx512bw, avx2, neon, neon_dotprod or generic, but got '" << isa << "'";
  selector.isa = *parsed;
  selector.algorithm = parseKernelAlgorithm(algorithm);
  if (!selector.algorithm && algorithm != "auto")
    return emitError() << "expected algorithm to be auto, lut or dot, but got '" << algorithm << "'";
  if (wideTables.empty())
    return selector;
  selector.wideTables.emplace(wideTables);
  std::string reason;
  if (!selector.wideTables->isValid(reason))
    return emitError() << "expected wide-tables to be a regular expression, but got '" << wideTables << "': " << reason;
  return selector;
}

int64_t KernelSelector::getTableBits(Operation *op) const {
  bool isWide = false;
  if (wideTables)
    forEachName(op->getLoc(), [&](StringRef name) { isWide |= wideTables->match(name); });
  return isWide ? 16 : 8;
}

/// The layout of the planes and parameters that `op`, a `hlq.linear` or `hlq.gather`, reads.
template <typename OpTy>
static LayoutAttr selectLayoutOf(OpTy op, KernelISA isa) {
  auto scales = cast<ShapedType>(op.getScales().getType());
  quantize::PackedLayout layout = getLayout(isa, op.getBits(), op.getGroupSize());
  Params params = Params::HLQ;
  if (!op.getZeros())
    params = Params::Symmetric;
  else if (cast<ShapedType>(op.getZeros().getType()).getElementType().isInteger(8))
    params = Params::Compact;
  else if (scales.getDimSize(2) != layout.bits)
    params = Params::Uniform;
  return LayoutAttr::get(op.getContext(), static_cast<Lane>(layout.lane), layout.rows, layout.bits, layout.groupSize,
                         params, scales.getElementType(), op.getZeroPoint().value_or(0));
}

LayoutAttr KernelSelector::selectLayout(LinearOp op) const { return selectLayoutOf(op, isa); }
LayoutAttr KernelSelector::selectLayout(GatherOp op) const { return selectLayoutOf(op, isa); }

KernelAttr KernelSelector::selectKernel(LinearOp op, LayoutAttr layout) const {
  int64_t m = cast<ShapedType>(op.getInput().getType()).getDimSize(0);
  // Without a static number of rows nothing is known but that one row must be fast.
  ProductShape shape{ShapedType::isDynamic(m) ? 1 : m, op.getNumRows(), op.getNumGroups()};
  return getKernelAttr(op.getContext(), isa, chooseKernel(isa, getPackedLayout(layout), shape, getTableBits(op), algorithm));
}
