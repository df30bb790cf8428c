//===- HLQToLoops.cpp - hlq ops as scalar loops --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/HLQToLoops.h"
#include "../HLQLowering.h"
#include "elutq/Conversion/Passes.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace elutq {
#define GEN_PASS_DEF_CONVERTHLQTOLOOPSPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq::hlq;

namespace {

/// Reads planes and parameters of packed weights, one at a time.
struct PackedReader : LoopEmitter {
  PackedReader(OpBuilder &builder, Location loc, Value packed, LayoutAttr layout)
      : LoopEmitter{builder, loc}, packed(packed), layout(layout), unit(layout) {}

  /// Where group `group` is: its unit, and which group of the unit it is.
  void setGroup(Value group) {
    unitOffset = mul(div(group, unit.groupsPerUnit), unit.unitBytes);
    groupInUnit = unit.groupsPerUnit == 1 ? index(0) : rem(group, unit.groupsPerUnit);
  }

  /// Four bits of plane `plane` of row `row` as i32; `subgroup` counts the fours of columns in the group.
  Value readNibble(Value block, Value row, int64_t plane, Value subgroup) {
    Value position = add(mul(groupInUnit, layout.getGroupSize() / 4), subgroup);
    Value step, half, byteInStep;
    if (layout.getLane() == Lane::Dword) {
      Value chunk = div(position, 4);
      step = div(chunk, 2);
      half = rem(chunk, 2);
      byteInStep = add(mul(row, 4), rem(position, 4));
    } else {
      step = div(position, 2);
      half = rem(position, 2);
      byteInStep = row;
    }
    Value offset = add(add(add(unitOffset, mul(step, unit.vectorBytes)), byteInStep), plane * unit.planeBytes);
    Value byte = arith::ExtUIOp::create(b, loc, b.getI32Type(), load(packed, {block, offset}));
    Value shift = arith::IndexCastOp::create(b, loc, b.getI32Type(), mul(half, 4));
    return arith::AndIOp::create(b, loc, arith::ShRUIOp::create(b, loc, byte, shift), i32(15));
  }

  /// The code of column `column` of the group, in row `row`, as i32.
  Value readCode(Value block, Value row, Value column) {
    Value step = div(column, unit.stepColumns), byteInStep = add(mul(row, 4), rem(column, 4));
    Value offset = add(add(unitOffset, mul(step, unit.vectorBytes)), byteInStep);
    return arith::ExtUIOp::create(b, loc, b.getI32Type(), load(packed, {block, offset}));
  }

  /// Parameter `number` of the group (scales, then the zero) of row `row` as f32.
  Value readParam(Value block, Value row, int64_t number) {
    Value offset = add(add(unitOffset, mul(groupInUnit, unit.groupParamBytes)), mul(row, unit.paramBytes));
    offset = add(offset, unit.planesBytes + number * unit.rows * unit.paramBytes);
    IntegerType bitsType = b.getIntegerType(8 * unit.paramBytes);
    Value bits;
    for (int64_t i = 0; i < unit.paramBytes; ++i) {
      Value byte = arith::ExtUIOp::create(b, loc, bitsType, load(packed, {block, add(offset, i)}));
      Value shift = arith::ConstantIntOp::create(b, loc, bitsType, 8 * i);
      Value part = arith::ShLIOp::create(b, loc, byte, shift);
      bits = bits ? arith::OrIOp::create(b, loc, bits, part).getResult() : part;
    }
    Value param = arith::BitcastOp::create(b, loc, layout.getParamType(), bits);
    return layout.getParamType().isF32() ? param : arith::ExtFOp::create(b, loc, b.getF32Type(), param).getResult();
  }

  /// Byte `number` of compact parameters, the ratios of the planes and the code without bits, as i32.
  Value readRatio(Value block, Value row, int64_t number) {
    Value offset = add(add(unitOffset, mul(groupInUnit, unit.groupParamBytes)), row);
    offset = add(offset, unit.planesBytes + unit.ratioBytes + number * unit.rows);
    return arith::ExtUIOp::create(b, loc, b.getI32Type(), load(packed, {block, offset}));
  }

  /// The stored scales of the group, then the zero if there is one.
  SmallVector<Value> readParams(Value block, Value row) {
    SmallVector<Value> params;
    for (int64_t i = 0, e = layout.getScalesPerGroup() + layout.hasZero(); i < e; ++i)
      params.push_back(readParam(block, row, i));
    return params;
  }

  Value packed;
  LayoutAttr layout;
  UnitLayout unit;
  Value unitOffset, groupInUnit;
};

/// The place of a column's entry in its chunk.
static Value emitPlace(LoopEmitter &e, const EntryFormat &format, Value column) {
  Value inChunk = e.rem(column, 16);
  if (!format.transposed)
    return inChunk;
  int64_t dwords = 16 / format.getPerDword();
  return e.add(e.mul(e.rem(inChunk, dwords), format.getPerDword()), e.div(inChunk, dwords));
}

/// Where byte `part`, the low one being 0, of the `parts` bytes of a column's entry lies.
static SmallVector<Value> emitEntryByte(LoopEmitter &e, const EntryFormat &format, Value block, Value row, Value column,
                                        int64_t part, int64_t parts) {
  Value place = emitPlace(e, format, column);
  if (format.words && !format.byRow)
    return {block, e.div(column, 16), row, e.add(e.mul(place, 2), part)};
  int64_t columns = format.byRow ? format.tableGroup : 16;
  if (format.byRow)
    place = e.add(e.mul(e.div(e.rem(column, columns), 16), 16), place);
  // High bytes come before all low ones.
  return {block, e.div(column, columns), row, e.add(place, columns * (parts - 1 - part))};
}

//===----------------------------------------------------------------------===//
// build_lut and quantize_rows
//===----------------------------------------------------------------------===//

/// Emits what both ops do to a row of activations.
template <typename OpTy>
struct ActivationEmitter : LoopEmitter {
  ActivationEmitter(OpBuilder &builder, OpTy op)
      : LoopEmitter{builder, op.getLoc()}, op(op), entries(op.getInits()[0]), scales(op.getInits()[1]),
        sums(op.getInits()[2]), columns(op.getTableGroup()), tableBits(getTableBits(op)) {}

  /// Runs `body` for each table group of each row: its block, its number in the block, the row, the table group.
  void forEachTableGroup(function_ref<void(Value block, Value i, Value row, Value u)> body) {
    int64_t mTile = cast<MemRefType>(entries.getType()).getDimSize(2);
    int64_t tableGroups = cast<MemRefType>(scales.getType()).getDimSize(1);
    loop(dim(entries, 0), [&](Value block) {
      loop(0, mTile, [&](Value i) {
        Value row = add(mul(block, mTile), i);
        loop(0, tableGroups, [&](Value u) { body(block, i, row, u); });
      });
    });
  }

  /// The activation, 0 outside.
  Value emitInput(Value row, Value column) {
    auto isBelow = [&](Value value, int64_t number) -> Value {
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, value, dim(op.getInput(), number));
    };
    Value isInside = arith::AndIOp::create(b, loc, isBelow(row, 0), isBelow(column, 1));
    auto ifOp = scf::IfOp::create(
        b, loc, isInside,
        [&](OpBuilder &b, Location loc) {
          Value x = memref::LoadOp::create(b, loc, op.getInput(), ValueRange{row, column});
          scf::YieldOp::create(b, loc, x);
        },
        [&](OpBuilder &b, Location loc) {
          scf::YieldOp::create(b, loc,
                               arith::ConstantFloatOp::create(b, loc, b.getF32Type(), APFloat(0.0f)).getResult());
        });
    return ifOp.getResult(0);
  }

  Value emitGreater(Value magnitude, Value greatest) {
    Value isGreater = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, magnitude, greatest);
    return arith::SelectOp::create(b, loc, isGreater, magnitude, greatest);
  }

  /// Stores scale and sum of a table group whose greatest magnitude is known; returns the inverse of the scale.
  Value emitScale(Value block, Value i, Value row, Value u, Value greatest) {
    Value zero = f32(0);
    Value scale = arith::DivFOp::create(b, loc, greatest, f32(getTableLimit(op)));
    Value isLarge = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, scale, f32(kLeastTableScale));
    scale = arith::SelectOp::create(b, loc, isLarge, scale, zero);
    Value inverse = arith::DivFOp::create(b, loc, f32(1), scale);
    inverse = arith::SelectOp::create(b, loc, isLarge, inverse, zero);
    store(scale, scales, {block, u, i});
    store(emitSum(row, mul(u, columns)), sums, {block, u, i});
    return inverse;
  }

  /// The entry of `value` as i32.
  Value emitRounded(Value value, Value inverse) {
    Value scaled = arith::MulFOp::create(b, loc, value, inverse);
    return arith::FPToSIOp::create(b, loc, b.getI32Type(), math::RoundEvenOp::create(b, loc, scaled));
  }

  /// The bytes of an entry as i32: high ones, if any, before low ones.
  SmallVector<Value> emitBytes(Value entry) {
    SmallVector<Value> bytes{entry};
    if (tableBits == 16)
      bytes.insert(bytes.begin(), arith::ShRSIOp::create(b, loc, add(entry, i32(128)), i32(8)));
    return bytes;
  }

  void storeByte(Value byte, ValueRange indices) {
    store(arith::TruncIOp::create(b, loc, b.getI8Type(), byte), entries, indices);
  }

  /// The sum of the columns from `first` on, by 16 lanes.
  Value emitSum(Value row, Value first) {
    SmallVector<Value> lanes(16, f32(0));
    lanes = loop(0, columns / 16, lanes, [&](Value c, ValueRange lanes) {
      SmallVector<Value> next;
      for (auto [l, lane] : llvm::enumerate(lanes))
        next.push_back(arith::AddFOp::create(b, loc, lane, emitInput(row, add(add(first, mul(c, 16)), l))));
      return next;
    });
    for (size_t half = 8; half > 0; half /= 2)
      for (size_t l = 0; l < half; ++l)
        lanes[l] = arith::AddFOp::create(b, loc, lanes[l], lanes[l + half]);
    return lanes[0];
  }

  OpTy op;
  Value entries, scales, sums;
  int64_t columns, tableBits;
};

struct LowerBuildLut : OpRewritePattern<BuildLutOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(BuildLutOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    ActivationEmitter<BuildLutOp> e(rewriter, op);
    e.forEachTableGroup([&](Value block, Value i, Value row, Value u) {
      Value first = e.mul(u, e.columns);
      Value greatest = e.loop(0, e.columns / 4, e.f32(0), [&](Value s, ValueRange greatest) -> SmallVector<Value> {
        return e.loop(0, 16, greatest, [&](Value entry, ValueRange greatest) -> SmallVector<Value> {
          Value t = math::AbsFOp::create(e.b, e.loc, emitEntry(e, row, e.add(first, e.mul(s, 4)), entry));
          return {e.emitGreater(t, greatest[0])};
        });
      })[0];
      Value inverse = e.emitScale(block, i, row, u, greatest);
      e.loop(0, e.columns / 4, [&](Value s) {
        Value column = e.add(first, e.mul(s, 4));
        e.loop(0, 16, [&](Value entry) {
          Value t = e.emitRounded(emitEntry(e, row, column, entry), inverse);
          Value place = e.add(e.mul(e.rem(s, 4), 16), entry);
          for (auto [part, byte] : llvm::enumerate(e.emitBytes(t))) {
            if (getLane(op) == Lane::Byte)
              byte = e.add(byte, e.i32(128));
            e.storeByte(byte, {block, e.div(column, 16), i, e.add(place, 64 * part)});
          }
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }

  /// `t(entry)` of the four activations from `column` on.
  static Value emitEntry(ActivationEmitter<BuildLutOp> &e, Value row, Value column, Value entry) {
    Value bits = arith::IndexCastOp::create(e.b, e.loc, e.b.getI32Type(), entry), t;
    for (int64_t q = 0; q < 4; ++q) {
      Value bit = arith::TruncIOp::create(e.b, e.loc, e.b.getI1Type(),
                                          arith::ShRUIOp::create(e.b, e.loc, bits, e.i32(q)));
      Value sign = arith::SelectOp::create(e.b, e.loc, bit, e.f32(0.5f), e.f32(-0.5f));
      Value x = e.emitInput(row, e.add(column, q));
      t = q == 0 ? arith::MulFOp::create(e.b, e.loc, x, sign).getResult() : e.fma(x, sign, t);
    }
    return t;
  }
};

struct LowerQuantizeRows : OpRewritePattern<QuantizeRowsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(QuantizeRowsOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    ActivationEmitter<QuantizeRowsOp> e(rewriter, op);
    EntryFormat format = EntryFormat::get(op);
    e.forEachTableGroup([&](Value block, Value i, Value row, Value u) {
      Value first = e.mul(u, e.columns);
      Value greatest = e.loop(0, e.columns, e.f32(0), [&](Value k, ValueRange greatest) -> SmallVector<Value> {
        Value x = math::AbsFOp::create(e.b, e.loc, e.emitInput(row, e.add(first, k)));
        return {e.emitGreater(x, greatest[0])};
      })[0];
      Value inverse = e.emitScale(block, i, row, u, greatest);
      Value sum = e.loop(0, e.columns, e.i32(0), [&](Value k, ValueRange sum) -> SmallVector<Value> {
        Value column = e.add(first, k);
        Value entry = e.emitRounded(e.emitInput(row, column), inverse);
        SmallVector<Value> bytes = e.emitBytes(entry);
        if (format.words)
          bytes = {arith::ShRSIOp::create(e.b, e.loc, entry, e.i32(8)), entry};
        for (auto [number, byte] : llvm::enumerate(bytes))
          e.storeByte(byte, emitEntryByte(e, format, block, i, column, bytes.size() - 1 - number, bytes.size()));
        return {e.add(sum[0], entry)};
      })[0];
      e.store(arith::MulIOp::create(e.b, e.loc, sum, e.i32(-format.getCentre())), op.getInits()[3], {block, u, i});
    });
    rewriter.eraseOp(op);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// lut_matmul and code_matmul
//===----------------------------------------------------------------------===//

/// One element of a product: the fold over groups of the op description.
template <typename OpTy>
struct ProductEmitter : PackedReader {
  ProductEmitter(OpBuilder &builder, OpTy op)
      : PackedReader(builder, op.getLoc(), op.getPacked(), op.getLayout()), op(op),
        tableGroups(layout.getGroupSize() / op.getTableGroup()) {}
  virtual ~ProductEmitter() = default;

  /// Replaces the op by loops over all elements.
  void emit() {
    int64_t mTile = op.getKernel().getMTile(), rows = layout.getRows();
    loop(dim(op->getOperand(0), 0), [&](Value mb) {
      mBlock = mb;
      loop(0, mTile, [&](Value mr) {
        mRow = mr;
        loop(dim(op.getPacked(), 0), [&](Value nb) {
          nBlock = nb;
          loop(0, rows, [&](Value nr) {
            nRow = nr;
            store(emitElement(), op.getInit(), {add(mul(mBlock, mTile), mRow), add(mul(nBlock, rows), nRow)});
          });
        });
      });
    });
  }

protected:
  /// Adds the scaled integer sums of a group to `y`. `scaleSum`, the first scale, and `middle` become the factors of `zc`; no `middle`: no `zc`.
  virtual Value emitSums(Value group, ArrayRef<Value> params, Value y, Value &scaleSum, Value &middle) = 0;

  /// `p`: the scaled integer sums of the table groups of a group.
  Value emitPartial(Value group, function_ref<Value(Value u)> emitSum) {
    return loop(0, tableGroups, f32(0), [&](Value u, ValueRange p) -> SmallVector<Value> {
      Value sum = emitSum(u);
      Value scale = load(op.getScales(), {mBlock, getTableGroup(group, u), mRow});
      return {fma(scale, arith::SIToFPOp::create(b, loc, b.getF32Type(), sum), p[0])};
    })[0];
  }

  /// The number of table group `u` of the group among those of the matrix.
  Value getTableGroup(Value group, Value u) { return add(mul(group, tableGroups), u); }

  OpTy op;
  int64_t tableGroups;
  /// The element.
  Value mBlock, mRow, nBlock, nRow;

private:
  Value emitElement() {
    int64_t columns = cast<MemRefType>(op.getScales().getType()).getDimSize(1) * op.getTableGroup();
    return loop(0, columns / layout.getGroupSize(), f32(0), [&](Value group, ValueRange y) -> SmallVector<Value> {
      setGroup(group);
      return {emitGroup(group, y[0])};
    })[0];
  }

  Value emitGroup(Value group, Value y) {
    SmallVector<Value> params = readParams(nBlock, nRow);
    Value scaleSum = params[0], middle = f32(getCentre(layout));
    y = emitSums(group, params, y, scaleSum, middle);
    if (!middle)
      return y;
    Value zc = layout.hasZero() ? fma(scaleSum, middle, params.back())
                                : arith::MulFOp::create(
                                      b, loc, scaleSum,
                                      arith::SubFOp::create(b, loc, middle, f32(layout.getZeroPoint())).getResult())
                                      .getResult();
    Value sum = load(op.getSums(), {mBlock, mul(group, tableGroups), mRow});
    sum = loop(1, tableGroups, sum, [&](Value u, ValueRange sum) -> SmallVector<Value> {
      Value next = load(op.getSums(), {mBlock, getTableGroup(group, u), mRow});
      return {arith::AddFOp::create(b, loc, sum[0], next)};
    })[0];
    return fma(zc, sum, y);
  }
};

struct LutProductEmitter : ProductEmitter<LutMatmulOp> {
  using ProductEmitter::ProductEmitter;

  Value emitSums(Value group, ArrayRef<Value> params, Value y, Value &scaleSum, Value &middle) override {
    auto planes = llvm::to_vector(llvm::seq<int64_t>(layout.getBits()));
    SmallVector<Value> ratios;
    if (layout.isCompact())
      middle = emitMiddle(ratios);
    if (layout.getParams() != Params::HLQ)
      return fma(params[0], emitPlanes(group, planes, ratios), y);
    for (int64_t plane : planes) {
      y = fma(params[plane], emitPlanes(group, plane), y);
      if (plane > 0)
        scaleSum = arith::AddFOp::create(b, loc, scaleSum, params[plane]);
    }
    return y;
  }

private:
  /// The factor of the scale in `zc`; reads `r_j` of compact parameters.
  Value emitMiddle(SmallVector<Value> &ratios) {
    Value code = readRatio(nBlock, nRow, layout.getBits()), total = add(add(code, code), i32(-2 * kCodeCentre));
    for (int64_t plane = 0; plane < layout.getBits(); ++plane) {
      ratios.push_back(readRatio(nBlock, nRow, plane));
      total = add(total, ratios.back());
    }
    return arith::MulFOp::create(b, loc, arith::SIToFPOp::create(b, loc, b.getF32Type(), total), f32(0.5));
  }

  /// `p` of one plane, or of the sum of several, which count by `ratios`, or each twice as much as the one before.
  Value emitPlanes(Value group, ArrayRef<int64_t> planes, ArrayRef<Value> ratios = {}) {
    return emitPartial(group, [&](Value u) {
      Value sum;
      for (int64_t plane : planes) {
        Value acc = emitTableSum(group, u, plane);
        if (!ratios.empty())
          acc = arith::MulIOp::create(b, loc, acc, ratios[plane]);
        else if (planes.size() > 1)
          acc = arith::ShLIOp::create(b, loc, acc, i32(plane));
        sum = sum ? add(sum, acc) : acc;
      }
      return sum;
    });
  }

  /// `acc(m, n, j, u)`: the entries that the nibbles of one plane select in table group `u` of the group.
  Value emitTableSum(Value group, Value u, int64_t plane) {
    int64_t subgroups = op.getTableGroup() / 4;
    return loop(0, subgroups, i32(0), [&](Value s, ValueRange acc) -> SmallVector<Value> {
      Value inGroup = add(mul(u, subgroups), s);
      Value nibble = readNibble(nBlock, nRow, plane, inGroup);
      Value position = add(mul(group, layout.getGroupSize() / 4), inGroup);
      Value entry = add(mul(rem(position, 4), 16), arith::IndexCastOp::create(b, loc, b.getIndexType(), nibble));
      Value value = readEntry(div(position, 4), entry);
      if (op.getKernel().getTableBits() == 16)
        value = add(arith::ShLIOp::create(b, loc, value, i32(8)), readEntry(div(position, 4), add(entry, 64)));
      return {add(acc[0], value)};
    })[0];
  }

  /// A byte of an entry as i32.
  Value readEntry(Value chunk, Value entry) {
    Value byte = load(op.getTables(), {mBlock, chunk, mRow, entry});
    if (layout.getLane() == Lane::Dword)
      return arith::ExtSIOp::create(b, loc, b.getI32Type(), byte);
    return arith::SubIOp::create(b, loc, arith::ExtUIOp::create(b, loc, b.getI32Type(), byte), i32(128));
  }
};

struct CodeProductEmitter : ProductEmitter<CodeMatmulOp> {
  CodeProductEmitter(OpBuilder &builder, CodeMatmulOp op)
      : ProductEmitter(builder, op), format(EntryFormat::get(op)) {}

  Value emitSums(Value group, ArrayRef<Value> params, Value y, Value &scale, Value &middle) override {
    if (!layout.hasCodes())
      emitSteps(params, scale, middle);
    return fma(scale, emitPartial(group, [&](Value u) { return emitCodeSum(group, u); }), y);
  }

private:
  /// `d`, `middle`, the code without bits, and `r_j` in `steps`.
  void emitSteps(ArrayRef<Value> params, Value &scale, Value &middle) {
    steps.clear();
    if (layout.isCompact()) {
      for (int64_t plane = 0; plane < layout.getBits(); ++plane)
        steps.push_back(readRatio(nBlock, nRow, plane));
      start = add(readRatio(nBlock, nRow, layout.getBits()), i32(format.getCentre() - kCodeCentre));
      middle = Value();
      return;
    }
    Value total;
    auto addStep = [&](Value step) {
      steps.push_back(step);
      total = total ? add(total, step) : step;
    };
    if (layout.getParams() == Params::HLQ) {
      ArrayRef<Value> scales = params.take_front(layout.getBits());
      Value sum;
      for (Value s : scales) {
        Value magnitude = math::AbsFOp::create(b, loc, s);
        sum = sum ? arith::AddFOp::create(b, loc, sum, magnitude).getResult() : magnitude;
      }
      Value range = f32(format.getRange()), zero = f32(0);
      Value isLarge = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, sum, f32(kLeastScaleSum));
      Value step = arith::MulFOp::create(b, loc, sum, f32(1 / format.getRange()));
      scale = arith::SelectOp::create(b, loc, isLarge, step, zero);
      Value inverse = arith::SelectOp::create(b, loc, isLarge, arith::DivFOp::create(b, loc, range, sum), zero);
      for (Value s : scales)
        addStep(arith::FPToSIOp::create(
            b, loc, b.getI32Type(),
            math::RoundEvenOp::create(b, loc, arith::MulFOp::create(b, loc, s, inverse).getResult())));
    } else {
      for (int64_t plane = 0; plane < layout.getBits(); ++plane)
        addStep(i32(1 << plane));
    }
    Value half = arith::ShRSIOp::create(b, loc, total, i32(1));
    middle = arith::SIToFPOp::create(b, loc, b.getF32Type(), half);
    start = arith::SubIOp::create(b, loc, i32(format.getCentre()), half);
  }

  /// The code of a column of the group as i32.
  Value emitCode(Value column) {
    if (layout.hasCodes())
      return readCode(nBlock, nRow, column);
    Value code = start, shift = arith::IndexCastOp::create(b, loc, b.getI32Type(), rem(column, 4));
    for (auto [plane, step] : llvm::enumerate(steps)) {
      Value bits = arith::ShRUIOp::create(b, loc, readNibble(nBlock, nRow, plane, div(column, 4)), shift);
      Value bit = arith::AndIOp::create(b, loc, bits, i32(1));
      code = add(code, arith::MulIOp::create(b, loc, bit, step));
    }
    return code;
  }

  /// `acc(m, n, u)`: the products of codes and entries of table group `u` of the group.
  Value emitCodeSum(Value group, Value u) {
    Value offset = load(op.getOffsets(), {mBlock, getTableGroup(group, u), mRow});
    return loop(0, op.getTableGroup(), offset, [&](Value k, ValueRange acc) -> SmallVector<Value> {
      Value inGroup = add(mul(u, op.getTableGroup()), k);
      Value column = add(mul(group, layout.getGroupSize()), inGroup);
      return {add(acc[0], arith::MulIOp::create(b, loc, emitCode(inGroup), readEntry(column)))};
    })[0];
  }

  /// An entry as i32.
  Value readEntry(Value column) {
    int64_t parts = op.getKernel().getTableBits() / 8;
    auto readByte = [&](int64_t part) {
      return load(op.getEntries(), emitEntryByte(*this, format, mBlock, mRow, column, part, parts));
    };
    if (parts == 1)
      return arith::ExtSIOp::create(b, loc, b.getI32Type(), readByte(0));
    Value high = readByte(1), low = readByte(0);
    high = arith::ShLIOp::create(b, loc, arith::ExtSIOp::create(b, loc, b.getI32Type(), high), i32(8));
    if (format.words)
      return add(high, arith::ExtUIOp::create(b, loc, b.getI32Type(), low));
    return add(high, arith::ExtSIOp::create(b, loc, b.getI32Type(), low));
  }

  EntryFormat format;
  /// Of the group: `r_j`, and the code without bits.
  SmallVector<Value> steps;
  Value start;
};

template <typename OpTy, typename EmitterTy>
struct LowerProduct : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    EmitterTy(rewriter, op).emit();
    rewriter.eraseOp(op);
    return success();
  }
};

using LowerLutMatmul = LowerProduct<LutMatmulOp, LutProductEmitter>;
using LowerCodeMatmul = LowerProduct<CodeMatmulOp, CodeProductEmitter>;

//===----------------------------------------------------------------------===//
// packed_gather
//===----------------------------------------------------------------------===//

struct LowerPackedGather : OpRewritePattern<PackedGatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(PackedGatherOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    LayoutAttr layout = op.getLayout();
    PackedReader e(rewriter, op.getLoc(), op.getPacked(), layout);
    int64_t columns = cast<MemRefType>(op.getInit().getType()).getDimSize(1);
    e.loop(e.dim(op.getIndices(), 0), [&](Value m) {
      Value row = arith::IndexCastOp::create(e.b, e.loc, e.b.getIndexType(), e.load(op.getIndices(), m));
      Value block = e.div(row, layout.getRows());
      row = e.rem(row, layout.getRows());
      e.loop(0, columns, [&](Value column) {
        e.setGroup(e.div(column, layout.getGroupSize()));
        SmallVector<Value> params = e.readParams(block, row);
        Value inGroup = e.rem(column, layout.getGroupSize());
        Value shift = arith::IndexCastOp::create(e.b, e.loc, e.b.getI32Type(), e.rem(inGroup, 4));
        auto readBit = [&](int64_t plane) -> Value {
          Value nibble = e.readNibble(block, row, plane, e.div(inGroup, 4));
          return arith::AndIOp::create(e.b, e.loc, arith::ShRUIOp::create(e.b, e.loc, nibble, shift), e.i32(1));
        };
        if (layout.isCompact()) {
          Value code = e.add(e.readRatio(block, row, layout.getBits()), e.i32(-kCodeCentre));
          for (int64_t j = 0; j < layout.getBits(); ++j)
            code = e.add(code, arith::MulIOp::create(e.b, e.loc, readBit(j), e.readRatio(block, row, j)));
          Value number = arith::SIToFPOp::create(e.b, e.loc, e.b.getF32Type(), code);
          e.store(arith::MulFOp::create(e.b, e.loc, params[0], number), op.getInit(), {m, column});
          return;
        }
        Value w = layout.hasZero()
                      ? params.back()
                      : arith::MulFOp::create(e.b, e.loc, params[0], e.f32(-layout.getZeroPoint())).getResult();
        if (layout.hasCodes()) {
          Value code = arith::SIToFPOp::create(e.b, e.loc, e.b.getF32Type(), e.readCode(block, row, inGroup));
          e.store(e.fma(params[0], code, w), op.getInit(), {m, column});
          return;
        }
        for (int64_t j = 0; j < layout.getBits(); ++j) {
          Value bit = arith::SIToFPOp::create(e.b, e.loc, e.b.getF32Type(), readBit(j));
          Value scale = layout.getParams() == Params::HLQ
                            ? params[j]
                            : arith::MulFOp::create(e.b, e.loc, params[0], e.f32(1 << j)).getResult();
          w = e.fma(scale, bit, w);
        }
        e.store(w, op.getInit(), {m, column});
      });
    });
    rewriter.eraseOp(op);
    return success();
  }
};

struct ConvertHLQToLoopsPass : elutq::impl::ConvertHLQToLoopsPassBase<ConvertHLQToLoopsPass> {
  void runOnOperation() override {
    getOperation()->walk([&](Operation *op) { numLowered += isa_and_nonnull<HLQDialect>(op->getDialect()); });
    RewritePatternSet patterns(&getContext());
    populateHLQToLoopsPatterns(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    if (failed(verifyLowered<BuildLutOp, LutMatmulOp, QuantizeRowsOp, CodeMatmulOp, PackedGatherOp>(
            getOperation(), "memref operands")))
      signalPassFailure();
  }
};

} // namespace

void elutq::hlq::populateHLQToLoopsPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<LowerBuildLut, LowerLutMatmul, LowerQuantizeRows, LowerCodeMatmul, LowerPackedGather>(
      patterns.getContext(), benefit);
}
