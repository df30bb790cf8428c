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

//===----------------------------------------------------------------------===//
// build_lut
//===----------------------------------------------------------------------===//

struct LowerBuildLut : OpRewritePattern<BuildLutOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(BuildLutOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    LoopEmitter e{rewriter, op.getLoc()};
    Value tables = op.getInits()[0], scales = op.getInits()[1], sums = op.getInits()[2];
    int64_t mTile = cast<MemRefType>(tables.getType()).getDimSize(2);
    int64_t tableGroups = cast<MemRefType>(scales.getType()).getDimSize(1);
    int64_t columns = op.getTableGroup(), tableBits = getTableBits(tables);
    Value zero = e.f32(0);

    e.loop(e.dim(tables, 0), [&](Value block) {
      e.loop(0, mTile, [&](Value i) {
        Value row = e.add(e.mul(block, mTile), i);
        e.loop(0, tableGroups, [&](Value u) {
          Value first = e.mul(u, columns);
          Value greatest = e.loop(0, columns / 4, zero, [&](Value s, ValueRange greatest) -> SmallVector<Value> {
            return e.loop(0, 16, greatest, [&](Value entry, ValueRange greatest) -> SmallVector<Value> {
              Value t = math::AbsFOp::create(e.b, e.loc, emitEntry(e, op.getInput(), row, e.add(first, e.mul(s, 4)), entry));
              Value isGreater = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OGT, t, greatest[0]);
              return {arith::SelectOp::create(e.b, e.loc, isGreater, t, greatest[0])};
            });
          })[0];
          Value scale = arith::DivFOp::create(e.b, e.loc, greatest, e.f32(getTableLimit(tableBits)));
          Value isLarge =
              arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OGE, scale, e.f32(kLeastTableScale));
          scale = arith::SelectOp::create(e.b, e.loc, isLarge, scale, zero);
          Value inverse = arith::DivFOp::create(e.b, e.loc, e.f32(1), scale);
          inverse = arith::SelectOp::create(e.b, e.loc, isLarge, inverse, zero);
          e.store(scale, scales, {block, u, i});
          e.store(emitSum(e, op.getInput(), row, first, columns), sums, {block, u, i});

          e.loop(0, columns / 4, [&](Value s) {
            Value column = e.add(first, e.mul(s, 4));
            e.loop(0, 16, [&](Value entry) {
              Value t = emitEntry(e, op.getInput(), row, column, entry);
              t = math::RoundEvenOp::create(e.b, e.loc, arith::MulFOp::create(e.b, e.loc, t, inverse));
              t = arith::FPToSIOp::create(e.b, e.loc, e.b.getI32Type(), t);
              SmallVector<Value> bytes{t};
              if (tableBits == 16)
                bytes.insert(bytes.begin(), arith::ShRSIOp::create(e.b, e.loc, e.add(t, e.i32(128)), e.i32(8)));
              Value place = e.add(e.mul(e.rem(s, 4), 16), entry);
              for (auto [part, byte] : llvm::enumerate(bytes)) {
                if (getLane(op) == Lane::Byte)
                  byte = e.add(byte, e.i32(128));
                byte = arith::TruncIOp::create(e.b, e.loc, e.b.getI8Type(), byte);
                e.store(byte, tables, {block, e.div(column, 16), i, e.add(place, 64 * part)});
              }
            });
          });
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }

  /// `input[row, column]`, 0 outside.
  static Value emitInput(LoopEmitter &e, Value input, Value row, Value column) {
    auto isBelow = [&](Value value, int64_t dim) -> Value {
      return arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ult, value, e.dim(input, dim));
    };
    Value isInside = arith::AndIOp::create(e.b, e.loc, isBelow(row, 0), isBelow(column, 1));
    auto ifOp = scf::IfOp::create(
        e.b, e.loc, isInside,
        [&](OpBuilder &b, Location loc) {
          scf::YieldOp::create(b, loc, memref::LoadOp::create(b, loc, input, ValueRange{row, column}).getResult());
        },
        [&](OpBuilder &b, Location loc) {
          scf::YieldOp::create(b, loc,
                               arith::ConstantFloatOp::create(b, loc, b.getF32Type(), APFloat(0.0f)).getResult());
        });
    return ifOp.getResult(0);
  }

  /// `t(entry)` of the four activations from `column` on.
  static Value emitEntry(LoopEmitter &e, Value input, Value row, Value column, Value entry) {
    Value bits = arith::IndexCastOp::create(e.b, e.loc, e.b.getI32Type(), entry), t;
    for (int64_t q = 0; q < 4; ++q) {
      Value bit = arith::TruncIOp::create(e.b, e.loc, e.b.getI1Type(),
                                          arith::ShRUIOp::create(e.b, e.loc, bits, e.i32(q)));
      Value sign = arith::SelectOp::create(e.b, e.loc, bit, e.f32(0.5f), e.f32(-0.5f));
      Value x = emitInput(e, input, row, e.add(column, q));
      t = q == 0 ? arith::MulFOp::create(e.b, e.loc, x, sign).getResult() : e.fma(x, sign, t);
    }
    return t;
  }

  /// The sum of a table group by 16 lanes, which are then added in a tree.
  static Value emitSum(LoopEmitter &e, Value input, Value row, Value first, int64_t columns) {
    SmallVector<Value> lanes(16, e.f32(0));
    lanes = e.loop(0, columns / 16, lanes, [&](Value c, ValueRange lanes) {
      SmallVector<Value> next;
      for (auto [l, lane] : llvm::enumerate(lanes)) {
        Value x = emitInput(e, input, row, e.add(e.add(first, e.mul(c, 16)), l));
        next.push_back(arith::AddFOp::create(e.b, e.loc, lane, x));
      }
      return next;
    });
    for (size_t half = 8; half > 0; half /= 2)
      for (size_t l = 0; l < half; ++l)
        lanes[l] = arith::AddFOp::create(e.b, e.loc, lanes[l], lanes[l + half]);
    return lanes[0];
  }
};

//===----------------------------------------------------------------------===//
// lut_matmul
//===----------------------------------------------------------------------===//

/// One element of the product: the fold over groups of the op description.
struct ProductEmitter : PackedReader {
  ProductEmitter(OpBuilder &builder, LutMatmulOp op)
      : PackedReader(builder, op.getLoc(), op.getPacked(), op.getLayout()), op(op),
        tableGroups(layout.getGroupSize() / op.getTableGroup()) {}

  Value emit(Value mBlock, Value mRow, Value nBlock, Value nRow) {
    int64_t columns = cast<MemRefType>(op.getScales().getType()).getDimSize(1) * op.getTableGroup();
    return loop(0, columns / layout.getGroupSize(), f32(0), [&](Value group, ValueRange y) -> SmallVector<Value> {
      setGroup(group);
      return {emitGroup(mBlock, mRow, nBlock, nRow, group, y[0])};
    })[0];
  }

  Value emitGroup(Value mBlock, Value mRow, Value nBlock, Value nRow, Value group, Value y) {
    SmallVector<Value> params = readParams(nBlock, nRow);
    Value firstTableGroup = mul(group, tableGroups);
    auto emitPartial = [&](ArrayRef<int64_t> planes) {
      return loop(0, tableGroups, f32(0), [&](Value u, ValueRange p) -> SmallVector<Value> {
        Value sum;
        for (int64_t plane : planes) {
          Value acc = emitTableSum(mBlock, mRow, nBlock, nRow, group, u, plane);
          if (planes.size() > 1)
            acc = arith::ShLIOp::create(b, loc, acc, i32(plane));
          sum = sum ? add(sum, acc) : acc;
        }
        Value scale = load(op.getScales(), {mBlock, add(firstTableGroup, u), mRow});
        return {fma(scale, arith::SIToFPOp::create(b, loc, b.getF32Type(), sum), p[0])};
      })[0];
    };

    Value scaleSum = params[0];
    auto planes = llvm::to_vector(llvm::seq<int64_t>(layout.getBits()));
    if (layout.getParams() == Params::HLQ) {
      for (int64_t plane : planes) {
        y = fma(params[plane], emitPartial(plane), y);
        if (plane > 0)
          scaleSum = arith::AddFOp::create(b, loc, scaleSum, params[plane]);
      }
    } else {
      y = fma(params[0], emitPartial(planes), y);
    }

    double half = getHalfScaleSum(layout);
    Value zc = layout.hasZero()
                   ? fma(scaleSum, f32(half), params.back())
                   : arith::MulFOp::create(b, loc, scaleSum, f32(half - layout.getZeroPoint())).getResult();
    Value sum = load(op.getSums(), {mBlock, firstTableGroup, mRow});
    sum = loop(1, tableGroups, sum, [&](Value u, ValueRange sum) -> SmallVector<Value> {
      Value next = load(op.getSums(), {mBlock, add(firstTableGroup, u), mRow});
      return {arith::AddFOp::create(b, loc, sum[0], next)};
    })[0];
    return fma(zc, sum, y);
  }

  /// `acc(m, n, j, u)`: the entries that the nibbles of one plane select in table group `u` of the group.
  Value emitTableSum(Value mBlock, Value mRow, Value nBlock, Value nRow, Value group, Value u, int64_t plane) {
    int64_t subgroups = op.getTableGroup() / 4;
    return loop(0, subgroups, i32(0), [&](Value s, ValueRange acc) -> SmallVector<Value> {
      Value inGroup = add(mul(u, subgroups), s);
      Value nibble = readNibble(nBlock, nRow, plane, inGroup);
      Value position = add(mul(group, layout.getGroupSize() / 4), inGroup);
      Value entry = add(mul(rem(position, 4), 16), arith::IndexCastOp::create(b, loc, b.getIndexType(), nibble));
      Value value = readEntry(mBlock, div(position, 4), mRow, entry);
      if (op.getKernel().getTableBits() == 16) {
        Value low = readEntry(mBlock, div(position, 4), mRow, add(entry, 64));
        value = add(arith::ShLIOp::create(b, loc, value, i32(8)), low);
      }
      return {add(acc[0], value)};
    })[0];
  }

  /// A byte of an entry as i32.
  Value readEntry(Value mBlock, Value chunk, Value mRow, Value entry) {
    Value byte = load(op.getTables(), {mBlock, chunk, mRow, entry});
    if (layout.getLane() == Lane::Dword)
      return arith::ExtSIOp::create(b, loc, b.getI32Type(), byte);
    return arith::SubIOp::create(b, loc, arith::ExtUIOp::create(b, loc, b.getI32Type(), byte), i32(128));
  }

  LutMatmulOp op;
  int64_t tableGroups;
};

struct LowerLutMatmul : OpRewritePattern<LutMatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LutMatmulOp op, PatternRewriter &rewriter) const override {
    if (!hasMemRefOperands(op))
      return rewriter.notifyMatchFailure(op, "expected memref operands");
    ProductEmitter e(rewriter, op);
    int64_t mTile = op.getKernel().getMTile(), rows = op.getLayout().getRows();
    e.loop(e.dim(op.getTables(), 0), [&](Value mBlock) {
      e.loop(0, mTile, [&](Value mRow) {
        e.loop(e.dim(op.getPacked(), 0), [&](Value nBlock) {
          e.loop(0, rows, [&](Value nRow) {
            Value y = e.emit(mBlock, mRow, nBlock, nRow);
            e.store(y, op.getInit(), {e.add(e.mul(mBlock, mTile), mRow), e.add(e.mul(nBlock, rows), nRow)});
          });
        });
      });
    });
    rewriter.eraseOp(op);
    return success();
  }
};

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
        Value w = layout.hasZero()
                      ? params.back()
                      : arith::MulFOp::create(e.b, e.loc, params[0], e.f32(-layout.getZeroPoint())).getResult();
        for (int64_t j = 0; j < layout.getBits(); ++j) {
          Value nibble = e.readNibble(block, row, j, e.div(inGroup, 4));
          Value bit = arith::AndIOp::create(e.b, e.loc, arith::ShRUIOp::create(e.b, e.loc, nibble, shift), e.i32(1));
          bit = arith::SIToFPOp::create(e.b, e.loc, e.b.getF32Type(), bit);
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
    getOperation()->walk([&](Operation *op) { numLowered += isa<BuildLutOp, LutMatmulOp, PackedGatherOp>(op); });
    RewritePatternSet patterns(&getContext());
    populateHLQToLoopsPatterns(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    if (failed(verifyLowered<BuildLutOp, LutMatmulOp, PackedGatherOp>(getOperation(), "memref operands")))
      signalPassFailure();
  }
};

} // namespace

void elutq::hlq::populateHLQToLoopsPatterns(RewritePatternSet &patterns, PatternBenefit benefit) {
  patterns.add<LowerBuildLut, LowerLutMatmul, LowerPackedGather>(patterns.getContext(), benefit);
}
