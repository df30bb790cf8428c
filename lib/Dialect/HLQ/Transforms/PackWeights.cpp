//===- PackWeights.cpp - Evaluate hlq.pack of constants -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/Transforms/Layouts.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "elutq/Support/ConstantData.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"

namespace elutq::hlq {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "elutq/Dialect/HLQ/Transforms/Passes.h.inc"
} // namespace elutq::hlq

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

/// The name of a packed matrix: that of its planes, `KEY.planes`, or one of its own.
static std::string getPackedKey(const ConstantData &planes) {
  StringRef key = planes.getKey();
  key.consume_back(".planes");
  return ((key.empty() ? "weight" : key) + ".packed").str();
}

namespace {

struct PackWeights : elutq::hlq::impl::PackWeightsPassBase<PackWeights> {
  using PackWeightsPassBase::PackWeightsPassBase;

  void runOnOperation() override {
    packedConstants.clear();
    SmallVector<PackOp> packs;
    getOperation().walk([&](PackOp op) { packs.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (PackOp op : packs)
      if (failed(evaluate(rewriter, op)))
        return signalPassFailure();
  }

private:
  /// Replaces `op` by a constant if its operands are constants.
  LogicalResult evaluate(RewriterBase &rewriter, PackOp op) {
    std::optional<ConstantData> planes = getConstantData(op.getPlanes()), scales = getConstantData(op.getScales());
    std::optional<ConstantData> zeros = getConstantData(op.getZeros());
    if (!planes || !scales || (op.getZeros() && !zeros))
      return success();

    Attribute key = ArrayAttr::get(&getContext(), {planes->attribute, scales->attribute,
                                                   zeros ? Attribute(zeros->attribute) : rewriter.getUnitAttr(),
                                                   op.getLayout()});
    TypedAttr &packed = packedConstants[key];
    if (!packed && failed(pack(op, *planes, *scales, zeros, packed)))
      return failure();
    rewriter.setInsertionPoint(op);
    SmallVector<Value> operands(op->getOperands());
    rewriter.replaceOpWithNewOp<arith::ConstantOp>(op, packed);
    for (Value operand : operands)
      if (operand.use_empty())
        rewriter.eraseOp(operand.getDefiningOp());
    return success();
  }

  LogicalResult pack(PackOp op, const ConstantData &planes, const ConstantData &scales,
                     const std::optional<ConstantData> &zeros, TypedAttr &packed) {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    llvm::Expected<SpillBuffer> buffer = SpillBuffer::create(type.getNumElements());
    if (!buffer)
      return op.emitError(llvm::toString(buffer.takeError()));

    SmallVector<char> planeStorage, scaleStorage, zeroStorage;
    ArrayRef<char> planeBytes = expandSplat(planes, planeStorage), scaleBytes = expandSplat(scales, scaleStorage);
    ArrayRef<char> zeroBytes = zeros ? expandSplat(*zeros, zeroStorage) : ArrayRef<char>();
    quantize::pack(getPackedLayout(op.getLayout()), op.getNumRows(), op.getNumGroups(),
                   reinterpret_cast<const uint8_t *>(planeBytes.data()), scaleBytes.data(),
                   zeros ? zeroBytes.data() : nullptr, buffer->getDataAs<uint8_t>(), threads);
    for (ArrayRef<char> bytes : {planeBytes, scaleBytes, zeroBytes, ArrayRef<char>(buffer->getData())})
      releasePages(bytes);

    ++numPacked;
    packedBytes += type.getNumElements();
    packed = createResourceAttr(type, getPackedKey(planes), std::move(*buffer));
    return success();
  }

  /// The constants packed so far, by operands and layout.
  DenseMap<Attribute, TypedAttr> packedConstants;
};

} // namespace
