//===- PackedGather.cpp - hlq.packed_gather over vectors -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "VectorEmitter.h"
#include "elutq/Conversion/HLQToVector.h"

using namespace mlir;
using namespace elutq::hlq;

namespace {

/// Sixteen columns of one row at a time: a group is a whole number of them.
struct PackedGatherEmitter : VectorEmitter {
  PackedGatherEmitter(OpBuilder &builder, PackedGatherOp op)
      : VectorEmitter(builder, op.getLoc()), op(op), layout(op.getLayout()), unit(layout) {}

  void emit() {
    int64_t columns = cast<MemRefType>(op.getInit().getType()).getDimSize(1);
    int64_t chunks = columns / kFloatLanes, rest = columns % kFloatLanes;
    loop(dim(op.getIndices(), 0), [&](Value m) {
      Value number = arith::IndexCastOp::create(b, loc, b.getIndexType(), load(op.getIndices(), m));
      block = div(number, unit.rows);
      row = rem(number, unit.rows);
      loop(0, chunks, [&](Value chunk) { storeVector(emitChunk(chunk), op.getInit(), {m, mul(chunk, kFloatLanes)}); });
      if (rest == 0)
        return;
      Value last = emitChunk(index(chunks));
      vector::MaskedStoreOp::create(b, loc, op.getInit(), ValueRange{m, index(chunks * kFloatLanes)}, mask(rest), last);
    });
  }

private:
  Value emitChunk(Value chunk) {
    Value chunkInUnit = rem(chunk, unit.unitColumns / 16);
    Value unitOffset = mul(div(chunk, unit.unitColumns / 16), unit.unitBytes);
    SmallVector<Value> params;
    Value groupInUnit = div(chunkInUnit, layout.getGroupSize() / 16);
    Value offset = add(add(unitOffset, mul(groupInUnit, unit.groupParamBytes)), mul(row, unit.paramBytes));
    for (int64_t i = 0, e = layout.getScalesPerGroup() + layout.hasZero(); i < e; ++i)
      params.push_back(loadParam(add(offset, unit.planesBytes + i * unit.rows * unit.paramBytes)));

    if (layout.isCompact()) {
      auto loadRatio = [&](int64_t number) {
        Value place = add(add(unitOffset, mul(groupInUnit, unit.groupParamBytes)), row);
        Value byte = loadByte(add(place, unit.planesBytes + unit.ratioBytes + number * unit.rows));
        return broadcast(arith::SIToFPOp::create(b, loc, b.getF32Type(), byte));
      };
      Value code = addF(loadRatio(layout.getBits()), splat(static_cast<float>(-kCodeCentre)));
      for (int64_t j = 0; j < layout.getBits(); ++j)
        code = fma(loadRatio(j), loadBits(add(unitOffset, j * unit.planeBytes), chunkInUnit), code);
      return mulF(params[0], code);
    }
    Value w = layout.hasZero() ? params.back() : mulF(params[0], splat(static_cast<float>(-layout.getZeroPoint())));
    if (layout.hasCodes())
      return fma(params[0], loadCodes(unitOffset, chunkInUnit), w);
    for (int64_t j = 0; j < layout.getBits(); ++j) {
      Value scale = layout.getParams() == Params::HLQ ? params[j] : mulF(params[0], splat(static_cast<float>(1 << j)));
      w = fma(scale, loadBits(add(unitOffset, j * unit.planeBytes), chunkInUnit), w);
    }
    return w;
  }

  Value loadParam(Value offset) {
    Value bytes = loadVector(getInts(unit.paramBytes, 8), op.getPacked(), {block, offset});
    Value param = vector::ExtractOp::create(b, loc, bitcast(VectorType::get(1, layout.getParamType()), bytes), 0);
    if (!layout.getParamType().isF32())
      param = arith::ExtFOp::create(b, loc, b.getF32Type(), param);
    return broadcast(param);
  }

  Value loadByte(Value offset) {
    return arith::ExtUIOp::create(b, loc, b.getI32Type(), load(op.getPacked(), {block, offset}));
  }

  /// The codes of a chunk as floats: four columns of each step.
  Value loadCodes(Value unitOffset, Value chunk) {
    int64_t steps = 16 / unit.stepColumns;
    Value first = add(add(unitOffset, mul(chunk, steps * unit.vectorBytes)), mul(row, unit.stepColumns));
    Value codes = splat(getInts(kFloatLanes, 8), 0);
    for (int64_t step = 0; step < steps; ++step) {
      Value offset = add(first, step * unit.vectorBytes);
      Value bytes = loadVector(getInts(unit.stepColumns, 8), op.getPacked(), {block, offset});
      codes = vector::InsertStridedSliceOp::create(b, loc, bytes, codes, step * unit.stepColumns, 1);
    }
    return arith::UIToFPOp::create(b, loc, getFloats(), codes);
  }

  /// The bits of a chunk of one plane as floats. `where[i]` is the bit of column `i` in the word that holds the chunk.
  Value loadBits(Value plane, Value chunk) {
    Value word;
    SmallVector<int32_t> where;
    if (layout.getLane() == Lane::Dword) {
      Value offset = add(add(plane, mul(div(chunk, 2), unit.vectorBytes)), mul(row, 4));
      Value bytes = loadVector(getInts(4, 8), op.getPacked(), {block, offset});
      word = vector::ExtractOp::create(b, loc, bitcast(getInts(1, 32), bytes), 0);
      Value half = arith::IndexCastOp::create(b, loc, b.getI32Type(), mul(rem(chunk, 2), 4));
      word = shiftRight(word, half);
      for (int32_t i = 0; i < 16; ++i)
        where.push_back(i / 4 * 8 + i % 4);
    } else {
      Value offset = add(add(plane, mul(chunk, 2 * unit.vectorBytes)), row);
      Value high = shiftLeft(loadByte(add(offset, unit.vectorBytes)), i32(8));
      word = arith::OrIOp::create(b, loc, loadByte(offset), high);
      for (int32_t i = 0; i < 16; ++i)
        where.push_back(i);
    }
    VectorType words = getInts(kFloatLanes, 32);
    Value shifts = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(words, ArrayRef(where)));
    Value bits = arith::AndIOp::create(b, loc, shiftRight(broadcast(word), shifts), splat(words, 1));
    return arith::SIToFPOp::create(b, loc, getFloats(), bits);
  }

  PackedGatherOp op;
  LayoutAttr layout;
  UnitLayout unit;
  /// Where the row is.
  Value block, row;
};

struct VectorizePackedGather : OpRewritePattern<PackedGatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(PackedGatherOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    PackedGatherEmitter(rewriter, op).emit();
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void elutq::hlq::populatePackedGatherToVectorPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<VectorizePackedGather>(patterns.getContext(), benefit);
}
