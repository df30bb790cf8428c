//===- StepRows.cpp - What a step that fills no chunk needs ---------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "StepRows.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace elutq;

/// The number of `use`'s dimension among those of a slice that `dropped` lacks, or nothing where it is dropped.
static std::optional<RowDim> mapDim(RowDim use, const llvm::SmallBitVector &dropped, bool toSource) {
  int64_t kept = 0;
  for (int64_t dim = 0; dim < static_cast<int64_t>(dropped.size()); ++dim) {
    if ((toSource ? kept : dim) == use.dim && !dropped.test(dim))
      return RowDim{toSource ? dim : kept, use.rows};
    kept += !dropped.test(dim);
  }
  return std::nullopt;
}

/// Whether index `i` of dimension `dim` of a slice is index `i` of the whole.
static bool startsAtZero(OffsetSizeAndStrideOpInterface slice, int64_t dim) {
  return getConstantIntValue(slice.getMixedOffsets()[dim]) == 0 && getConstantIntValue(slice.getMixedStrides()[dim]) == 1;
}

/// The only dimension of `dims` with more than one index, or nothing.
static std::optional<int64_t> getOnlyDim(ArrayRef<int64_t> dims, ShapedType type) {
  std::optional<int64_t> only;
  for (int64_t dim : dims) {
    if (type.getDimSize(dim) == 1)
      continue;
    if (only)
      return std::nullopt;
    only = dim;
  }
  return only;
}

/// The dimension in which a map has the loop `loop` itself, or nothing.
static std::optional<RowDim> getRowDim(AffineMap map, RowDim loop) {
  std::optional<unsigned> position = map.getResultPosition(getAffineDimExpr(loop.dim, map.getContext()));
  return position ? std::optional(RowDim{*position, loop.rows}) : std::nullopt;
}

StepRows::StepRows(Block &entry) {
  for (auto append : entry.getOps<lm::CacheAppendOp>()) {
    if (count && count != append.getCount()) {
      count = nullptr;
      return;
    }
    count = append.getCount();
  }
  if (!count)
    return;
  for (Operation &op : llvm::reverse(entry))
    visit(&op);
}

void StepRows::visit(Operation *op) {
  // What a region takes from outside is needed as a whole.
  for (Region &region : op->getRegions())
    region.walk([&](Operation *nested) {
      for (Value operand : nested->getOperands())
        if (operand.getParentBlock() == op->getBlock())
          addUse(operand, std::nullopt);
    });
  if (op->getNumResults() > 0 && llvm::none_of(op->getResults(), [&](Value result) { return uses.contains(result); }))
    return;
  for (auto [operand, use] : llvm::zip_equal(op->getOperands(), getOperandUses(op)))
    addUse(operand, use);
}

void StepRows::addUse(Value value, Use use) {
  auto [place, isFirst] = uses.try_emplace(value, use);
  if (!isFirst && place->second != use)
    place->second = std::nullopt;
}

StepRows::Use StepRows::getResultUse(Operation *op) const {
  Use common;
  for (Value result : op->getResults()) {
    auto found = uses.find(result);
    if (found == uses.end())
      continue;
    if (!found->second || (common && *common != *found->second))
      return std::nullopt;
    common = found->second;
  }
  return common;
}

bool StepRows::isLastRow(OpFoldResult number) const {
  auto value = dyn_cast<Value>(number);
  if (!value)
    return false;
  if (auto difference = value.getDefiningOp<arith::SubIOp>())
    return difference.getLhs() == count && matchPattern(difference.getRhs(), m_One());
  auto sum = value.getDefiningOp<arith::AddIOp>();
  return sum && sum.getLhs() == count && getConstantIntValue(sum.getRhs()) == -1;
}

SmallVector<StepRows::Use> StepRows::getOperandUses(Operation *op) {
  SmallVector<Use> all(op->getNumOperands());
  Use use = getResultUse(op);
  auto hasRows = [&](int64_t rows) { return use == RowDim{0, rows}; };
  return TypeSwitch<Operation *, SmallVector<Use>>(op)
      .Case([&](lm::CacheAppendOp op) {
        SmallVector<Use> operands = all;
        operands[0] = RowDim{0, 1};
        return operands;
      })
      .Case([&](lm::AttentionOp op) {
        if (!hasRows(1))
          return all;
        rowLoops[op] = *use;
        SmallVector<Use> operands = all;
        operands.front() = operands.back() = use;
        return operands;
      })
      .Case<hlq::LutMatmulOp, hlq::CodeMatmulOp>([&](auto op) {
        int64_t mTile = op.getKernel().getMTile();
        if (!hasRows(1))
          return all;
        rowLoops[op] = RowDim{0, mTile};
        // What holds activations comes before the weights and the init.
        SmallVector<Use> operands(op->getNumOperands(), RowDim{0, mTile});
        operands[operands.size() - 2] = std::nullopt;
        operands.back() = use;
        return operands;
      })
      .Case<hlq::BuildLutOp, hlq::QuantizeRowsOp>([&](auto op) {
        int64_t mTile = cast<ShapedType>(op.getInits()[0].getType()).getDimSize(2);
        if (!hasRows(mTile))
          return all;
        rowLoops[op] = *use;
        SmallVector<Use> operands(op->getNumOperands(), use);
        operands.front() = RowDim{0, 1};
        return operands;
      })
      .Case<hlq::PackedGatherOp, lm::GatherOp>([&](auto op) {
        SmallVector<Use> operands = all;
        if (hasRows(1))
          operands.front() = operands.back() = use;
        return operands;
      })
      .Case([&](linalg::LinalgOp op) {
        if (!op.hasPureTensorSemantics())
          return all;
        // All results that are used have to agree on the loop.
        Use loop;
        for (OpOperand &init : op.getDpsInitsMutable()) {
          auto found = uses.find(op.getTiedOpResult(&init));
          if (found == uses.end())
            continue;
          if (!found->second)
            return all;
          auto expr = dyn_cast<AffineDimExpr>(op.getMatchingIndexingMap(&init).getResult(found->second->dim));
          if (!expr || (loop && loop != RowDim{expr.getPosition(), found->second->rows}))
            return all;
          loop = RowDim{expr.getPosition(), found->second->rows};
        }
        if (!loop)
          return all;
        rowLoops[op] = *loop;
        SmallVector<Use> operands;
        for (OpOperand &operand : op->getOpOperands())
          operands.push_back(getRowDim(op.getMatchingIndexingMap(&operand), *loop));
        return operands;
      })
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp>([&](auto op) {
        SmallVector<Use> operands = all;
        if (!use)
          return operands;
        bool expands = isa<tensor::ExpandShapeOp>(op);
        ShapedType wide = expands ? op.getResultType() : op.getSrcType();
        for (auto [dim, group] : llvm::enumerate(op.getReassociationIndices())) {
          std::optional<int64_t> only = getOnlyDim(group, wide);
          if (only && use->dim == (expands ? *only : static_cast<int64_t>(dim)))
            operands.front() = RowDim{expands ? static_cast<int64_t>(dim) : *only, use->rows};
        }
        return operands;
      })
      .Case([&](tensor::ExtractSliceOp op) {
        SmallVector<Use> operands = all;
        for (auto [dim, offset] : llvm::enumerate(op.getMixedOffsets()))
          if (isLastRow(offset) && getConstantIntValue(op.getMixedSizes()[dim]) == 1)
            operands.front() = RowDim{static_cast<int64_t>(dim), 1};
        if (use && !operands.front()) {
          Use source = mapDim(*use, op.getDroppedDims(), /*toSource=*/true);
          if (source && startsAtZero(op, source->dim))
            operands.front() = source;
        }
        return operands;
      })
      .Case([&](tensor::InsertSliceOp op) {
        SmallVector<Use> operands = all;
        if (use && startsAtZero(op, use->dim)) {
          operands[0] = mapDim(*use, op.getDroppedDims(), /*toSource=*/false);
          operands[1] = use;
        } else if (use) {
          operands[1] = use;
        }
        return operands;
      })
      .Case([&](tensor::CastOp op) { return SmallVector<Use>{use}; })
      .Default([&](Operation *) { return all; });
}
