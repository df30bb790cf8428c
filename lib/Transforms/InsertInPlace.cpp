//===- InsertInPlace.cpp - Compute a part where it is inserted ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/SubsetOpInterface.h"

namespace elutq {
#define GEN_PASS_DEF_INSERTINPLACEPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

/// The operand whose buffer `value` takes over, or null.
OpOperand *getDestination(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return nullptr;
  if (auto op = dyn_cast<DestinationStyleOpInterface>(result.getOwner()))
    return op.getTiedOpOperand(result);
  if (auto loop = dyn_cast<LoopLikeOpInterface>(result.getOwner()))
    return loop.getTiedLoopInit(result);
  return nullptr;
}

/// The use of an empty tensor that `source` overwrites. Null where a value in between is used elsewhere as well: to write it into
/// another tensor might cost a copy.
OpOperand *findEmpty(Value source) {
  while (source.hasOneUse()) {
    OpOperand *destination = getDestination(source);
    if (!destination || destination->get().getType() != source.getType())
      return nullptr;
    source = destination->get();
    if (source.getDefiningOp<tensor::EmptyOp>())
      return destination;
  }
  return nullptr;
}

struct InsertInPlace : elutq::impl::InsertInPlacePassBase<InsertInPlace> {
  using InsertInPlacePassBase::InsertInPlacePassBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](SubsetInsertionOpInterface op) {
      OpOperand *use = findEmpty(op.getSourceOperand().get());
      if (!use)
        return;
      auto empty = use->get().getDefiningOp<tensor::EmptyOp>();
      Value slice = bufferization::buildSubsetExtraction(rewriter, op, empty, use->getOwner());
      if (!slice || slice.getType() != empty.getType())
        return;
      use->set(slice);
      if (empty->use_empty())
        rewriter.eraseOp(empty);
      ++numParts;
    });
  }
};

} // namespace
