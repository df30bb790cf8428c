//===- PlaneMatmul.cpp - hlq.code_matmul of planes as loops over vectors --===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ProductEmitter.h"
#include "elutq/Conversion/HLQToVector.h"
#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace elutq::hlq;

namespace {

/// For each row block of weights and each pass over its units: makes codes of the planes in a buffer that stays in the
/// first-level cache, then multiplies them by all rows of activations, 16 rows of weights at a time: by `hlq.dot`, or by tiles (AMX), which
/// take 64 columns and up to 16 rows of activations at once. The integers are the same.
struct PlaneMatmulEmitter : ProductEmitter<CodeMatmulOp> {
  PlaneMatmulEmitter(OpBuilder &builder, CodeMatmulOp op, int64_t codeBytes)
      : ProductEmitter(builder, op, codeBytes, op.getLayout().getRows() * getCodeFormat(op).getWidth() / 8),
        format(getCodeFormat(op)), dwordsPerChunk(16 / format.getPerDword()), blockPieces(pieces),
        passChunks(unitsPerPass * unit.unitColumns / 16), usesTiles(op.getKernel().usesTiles(layout)),
        codeParts(usesTiles && format.words ? 2 : 1) {
    pieces = 1;
    readsOnce = true;
  }

  static bool canEmit(CodeMatmulOp op) { return !op.getLayout().hasCodes(); }
  static constexpr StringRef kRequirement = "expected planes";

  /// The form of codes: that of the entries, but that tiles, which take the bytes of words apart, take compact codes as the bytes that they are.
  static EntryFormat getCodeFormat(CodeMatmulOp op) {
    EntryFormat format = EntryFormat::get(op);
    format.words &= !(op.getLayout().isCompact() && op.getKernel().usesTiles(op.getLayout()));
    return format;
  }

  void emit() override {
    codes = allocate({codeParts * passChunks, dwordsPerChunk, 4 * unit.rows}, b.getI8Type());
    // Of words there are sums of the products of high bytes, of a high and a low one, and of low ones.
    if (usesTiles)
      tileSums = allocate({getNumTileSums() * mTile, kFloatLanes}, b.getI32Type());
    params = allocate({unitsPerPass * unit.groupsPerUnit, layout.isCompact() ? 1 : 2, unit.rows}, b.getF32Type());
    // The entries of a pass, of all rows of activations, stay in the second-level cache for all row blocks.
    forEachPass([&](Value firstUnit, Value endUnit) {
      passUnit = firstUnit;
      loop(dim(op.getPacked(), 0), [&](Value nb) {
        nBlock = nb;
        loop(firstUnit, endUnit, 1, {}, [&](Value u, ValueRange) -> SmallVector<Value> {
          setUnit(u);
          for (int64_t group = 0; group < unit.groupsPerUnit; ++group)
            expandGroup(group);
          return {};
        });
        loop(dim(op->getOperand(0), 0), [&](Value mb) {
          mBlock = mb;
          if (blockPieces == 1) {
            pieceRow = index(0);
            return emitTile(firstUnit, endUnit);
          }
          loop(0, blockPieces, [&](Value number) {
            pieceRow = mul(number, kFloatLanes);
            emitTile(firstUnit, endUnit);
          });
        });
      });
    });
  }

protected:
  Value getPieceRow(int64_t) override { return pieceRow; }

  /// The same place of the next row block: what follows in this one belongs to a later pass. It comes while this one is multiplied.
  SmallVector<Value> getPlaceAhead(Value offset) override { return {add(nBlock, 1), offset}; }

  SmallVector<Value> emitSums(int64_t group, SmallVector<Value> &y) override {
    Value number = getPassGroup(group);
    addScaled(y, loadVector(getFloats(), params, {number, index(0), pieceRow}),
              emitPartial(group, /*sets=*/1, [&](const TableGroup &u) { return emitIntegers(u); }));
    if (layout.isCompact())
      return {};
    return {loadVector(getFloats(), params, {number, index(1), pieceRow})};
  }

private:
  //===--------------------------------------------------------------------===//
  // Products
  //===--------------------------------------------------------------------===//

  /// `acc(m, n, u)` of 16 rows of weights.
  SmallVector<Value> emitIntegers(const TableGroup &u) {
    if (usesTiles)
      return emitTiles(u);
    VectorType wordsType = getInts(kFloatLanes, 32);
    VectorType codesType = getInts(kFloatLanes * format.getCodesPerDword(), format.getWidth());
    SmallVector<Value> sums;
    for (int64_t m = 0; m < mTile; ++m)
      sums.push_back(broadcast(load(op.getOffsets(), {mBlock, u.number, index(m)})));
    auto body = [&](int64_t chunk, Value loopChunk, Value, SmallVector<Value> &sums) {
      Value place = add(getPassChunk(), chunk), entriesChunk = add(unitChunk, chunk);
      if (loopChunk) {
        place = add(place, loopChunk);
        entriesChunk = add(entriesChunk, loopChunk);
      }
      auto emitDword = [&](Value dword, SmallVector<Value> &sums) {
        Value code = loadVector(getInts(64, 8), codes, {place, dword, mul(pieceRow, 4)});
        for (auto [m, sum] : llvm::enumerate(sums)) {
          Value entries = loadVector(getInts(4, 8), op.getEntries(), {mBlock, entriesChunk, index(m), mul(dword, 4)});
          sum = DotOp::create(b, loc, wordsType, sum, bitcast(codesType, code), bitcast(codesType, repeat(entries)));
        }
      };
      if (!addsProducts()) {
        sums = loopOver(dwordsPerChunk, sums, emitDword);
        return;
      }
      for (int64_t dword = 0; dword < dwordsPerChunk; ++dword)
        emitDword(index(dword), sums);
    };
    return emitChunks(u, /*maxBlock=*/1, sums, body);
  }

  /// Sums of tiles: one for each place value of a product of bytes.
  int64_t getNumTileSums() const { return tableParts + codeParts - 1; }

  /// The same by tiles, whose codes have a sign and therefore need no offset. Words are split into bytes, a signed high
  /// and an unsigned low one.
  SmallVector<Value> emitTiles(const TableGroup &u) {
    int64_t columns = op.getTileColumns();
    auto getTile = [&](int64_t rows, int64_t bytes, unsigned width) {
      return amx::TileType::get({rows, bytes * 8 / width}, b.getIntegerType(width));
    };
    SmallVector<Value> sums;
    for (int64_t i = 0; i < getNumTileSums(); ++i)
      sums.push_back(amx::TileZeroOp::create(b, loc, getTile(mTile, 64, 32)));
    Value place = add(getPassChunk(), u.chunk);
    if (u.loopChunk)
      place = add(place, u.loopChunk);
    for (int64_t column = 0; column < tableGroup; column += columns) {
      // Each tile is loaded where it is used first, so that at most six of AMX's eight registers hold one: LLVM may fail to spill them.
      SmallVector<Value> codesOfPart;
      for (int64_t e = 0; e < tableParts; ++e) {
        SmallVector<Value> entry = {mBlock, u.number, index(0), index(e * tableGroup + column)};
        Value entries = amx::TileLoadOp::create(b, loc, getTile(mTile, columns, 8), op.getEntries(), entry);
        for (int64_t c = 0; c < codeParts; ++c) {
          if (e == 0) {
            SmallVector<Value> code = {add(place, c * passChunks + column / 16), index(0), index(0)};
            codesOfPart.push_back(amx::TileLoadOp::create(b, loc, getTile(columns / 4, 64, 8), codes, code));
          }
          sums[e + c] = amx::TileMulIOp::create(b, loc, sums[e + c].getType(), entries, codesOfPart[c], sums[e + c],
                                                /*isZextLhs=*/e == 1, /*isZextRhs=*/c == 1);
        }
      }
    }
    for (auto [number, sum] : llvm::enumerate(sums))
      amx::TileStoreOp::create(b, loc, tileSums, ValueRange{index(number * mTile), index(0)}, sum);
    VectorType wordsType = getInts(kFloatLanes, 32);
    SmallVector<Value> result;
    for (int64_t m = 0; m < mTile; ++m) {
      Value total;
      for (int64_t number = 0, e = sums.size(); number < e; ++number) {
        Value sum = loadVector(wordsType, tileSums, {index(number * mTile + m), index(0)});
        if (int64_t shift = 8 * (e - 1 - number))
          sum = shiftLeft(sum, splat(wordsType, shift));
        total = total ? add(total, sum) : sum;
      }
      result.push_back(total);
    }
    return result;
  }

  /// Whether one instruction multiplies and adds.
  bool addsProducts() {
    StringRef isa = op.getKernel().getIsa();
    return isa == "avx512vbmi" || (isa == "neon_dotprod" && !format.words);
  }

  /// Where the unit's codes start, in chunks of the pass.
  Value getPassChunk() { return mul(getPassUnit(), unit.unitColumns / 16); }
  Value getPassGroup(int64_t group) { return add(mul(getPassUnit(), unit.groupsPerUnit), group); }
  Value getPassUnit() { return b.createOrFold<arith::SubIOp>(loc, unitNumber, passUnit); }

  //===--------------------------------------------------------------------===//
  // Codes
  //===--------------------------------------------------------------------===//

  /// The code of zero: `hlq.dot` takes codes without a sign, which the offsets make up for.
  int64_t getCodeCentre() const { return usesTiles ? 0 : format.getCentre(); }

  /// What the codes of a group are made of: vectors in the form of codes, all rows.
  struct Steps {
    /// The codes without and with the first plane's bit alone, and what the bits of the others add.
    Value start, withFirst;
    SmallVector<Value> ofPlane;
  };

  void expandGroup(int64_t group) {
    Steps steps = emitSteps(group);
    int64_t groupChunks = layout.getGroupSize() / 16, firstChunk = group * groupChunks;
    int64_t chunksPerStep = std::max<int64_t>(unit.stepColumns / 16, 1);
    if (groupChunks < chunksPerStep)
      return expandStep(steps, index(0), firstChunk, 1);
    loop(0, groupChunks / chunksPerStep, [&](Value i) { expandStep(steps, mul(i, chunksPerStep), 0, chunksPerStep); });
  }

  /// Stores `d` and, if there is one, `zc` of all rows of a group, and returns its steps.
  Steps emitSteps(int64_t group) {
    VectorType wordsType = getInts(kFloatLanes, 32);
    SmallVector<SmallVector<Value>> steps(layout.getBits());
    SmallVector<Value> starts;
    for (int64_t piece = 0; piece < blockPieces; ++piece) {
      SmallVector<Value> ofPlane;
      Value row = index(piece * kFloatLanes), number = getPassGroup(group);
      Value scale = emitSteps(group, piece, ofPlane), total = ofPlane[0];
      storeVector(scale, params, {number, index(0), row});
      for (auto [all, step] : llvm::zip_equal(steps, ofPlane))
        all.push_back(step);
      if (layout.isCompact()) {
        Value code = widen(loadRatio(group, layout.getBits(), piece));
        starts.push_back(add(code, splat(wordsType, getCodeCentre() - kCodeCentre)));
        continue;
      }
      for (Value step : ArrayRef(ofPlane).drop_front())
        total = add(total, step);
      Value half = arith::ShRSIOp::create(b, loc, total, splat(wordsType, 1));
      Value centred = emitCentred(group, piece, scale, arith::SIToFPOp::create(b, loc, getFloats(), half));
      storeVector(centred, params, {number, index(1), row});
      starts.push_back(arith::SubIOp::create(b, loc, splat(wordsType, getCodeCentre()), half));
    }
    Steps result{toCodes(starts), Value(), {}};
    result.withFirst = add(result.start, toCodes(steps[0]));
    for (ArrayRef<Value> plane : ArrayRef(steps).drop_front())
      result.ofPlane.push_back(toCodes(plane));
    return result;
  }

  /// `d` of 16 rows; adds `r_j` to `steps`.
  Value emitSteps(int64_t group, int64_t piece, SmallVector<Value> &steps) {
    VectorType wordsType = getInts(kFloatLanes, 32);
    if (layout.getParams() != Params::HLQ) {
      for (int64_t plane = 0; plane < layout.getBits(); ++plane)
        steps.push_back(layout.isCompact() ? widen(loadRatio(group, plane, piece)) : splat(wordsType, 1 << plane));
      return loadParam(group, 0, piece);
    }
    SmallVector<Value> scales;
    Value sum;
    for (int64_t plane = 0; plane < layout.getBits(); ++plane) {
      scales.push_back(loadParam(group, plane, piece));
      Value magnitude = math::AbsFOp::create(b, loc, scales.back());
      sum = sum ? addF(sum, magnitude) : magnitude;
    }
    Value range = splat(format.getRange()), zero = splat(0.0f);
    Value isLarge = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, sum, splat(kLeastScaleSum));
    Value inverse = arith::SelectOp::create(b, loc, isLarge, arith::DivFOp::create(b, loc, range, sum), zero);
    for (Value scale : scales)
      steps.push_back(
          arith::FPToSIOp::create(b, loc, wordsType, math::RoundEvenOp::create(b, loc, mulF(scale, inverse))));
    return arith::SelectOp::create(b, loc, isLarge, mulF(sum, splat(1 / format.getRange())), zero);
  }

  /// One number per row, `rows` 16 at a time, as codes: in every code of a row's 32 bits, or, with byte lanes, once.
  Value toCodes(ArrayRef<Value> rows) {
    int64_t width = format.getWidth();
    if (layout.getLane() == Lane::Dword) {
      int64_t count = kFloatLanes * format.getCodesPerDword();
      SmallVector<int64_t> lowest;
      for (int64_t i = 0; i < count; ++i)
        lowest.push_back(i - i % format.getCodesPerDword());
      Value numbers = bitcast(getInts(count, width), rows[0]);
      return vector::ShuffleOp::create(b, loc, numbers, numbers, lowest);
    }
    Value all = splat(getInts(unit.rows, width), 0);
    for (auto [piece, numbers] : llvm::enumerate(rows)) {
      Value part = arith::TruncIOp::create(b, loc, getInts(kFloatLanes, width), numbers);
      all = blockPieces == 1
                ? part
                : vector::InsertStridedSliceOp::create(b, loc, part, all, piece * kFloatLanes, 1).getResult();
    }
    return all;
  }

  /// Codes of `count` chunks from `loopChunk + chunk` of the unit on, which lie in one step of dword lanes or two steps of
  /// byte lanes.
  void expandStep(const Steps &steps, Value loopChunk, int64_t chunk, int64_t count) {
    Value place = add(add(getPassChunk(), loopChunk), chunk);
    if (layout.getLane() == Lane::Dword) {
      SmallVector<Value> planes = loadPlanes(0, mul(div(loopChunk, 2), unit.vectorBytes));
      // The bits of 16 columns are the low or the high four of every byte.
      for (int64_t c = 0; c < count; ++c) {
        auto emitDword = [&](int64_t dword) {
          return emitCodes(steps, planes, 4 * ((chunk + c) % 2) + dword % 4 + 8 * (dword / 4));
        };
        for (int64_t dword = 0; dword < dwordsPerChunk; ++dword) {
          SmallVector<Value> parts{emitDword(dword)};
          if (usesTiles && format.words)
            parts = splitWords(parts[0], emitDword(dword + 4));
          for (auto [part, code] : llvm::enumerate(parts))
            storeCodes(code, {add(place, part * passChunks + c), index(dword), index(0)});
        }
      }
      return;
    }
    for (int64_t step = 0; step < 2; ++step) {
      SmallVector<Value> planes = loadPlanes(step, mul(mul(loopChunk, 2), unit.vectorBytes));
      for (int64_t column = 0; column < 8; column += format.getCodesPerDword()) {
        SmallVector<Value> columns;
        for (int64_t i = 0; i < format.getCodesPerDword(); ++i)
          columns.push_back(emitCodes(steps, planes, column + i));
        storeCodes(interleave(columns), {place, index((8 * step + column) / format.getCodesPerDword()), index(0)});
      }
    }
  }

  /// The planes of a step, as many bytes in a lane as a code has where a lane holds a row's columns.
  SmallVector<Value> loadPlanes(int64_t step, Value loopByte) {
    SmallVector<Value> planes;
    for (int64_t plane = 0; plane < layout.getBits(); ++plane) {
      Value bytes = loadPlane(plane, step, loopByte);
      if (layout.getLane() == Lane::Dword && format.words)
        bytes = bitcast(getInts(kFloatLanes * 2, 16), bytes);
      planes.push_back(bytes);
    }
    return planes;
  }

  /// The codes that bit `bit` of every lane of the planes makes.
  Value emitCodes(const Steps &steps, ArrayRef<Value> planes, int64_t bit) {
    auto isSet = [&](Value plane) -> Value {
      auto type = cast<VectorType>(plane.getType());
      Value selected = arith::AndIOp::create(b, loc, plane, splat(type, int64_t(1) << bit));
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, selected, splat(type, 0));
    };
    Value code = arith::SelectOp::create(b, loc, isSet(planes[0]), steps.withFirst, steps.start);
    Value zero = splat(cast<VectorType>(code.getType()), 0);
    for (auto [plane, step] : llvm::zip_equal(planes.drop_front(), steps.ofPlane))
      code = add(code, arith::SelectOp::create(b, loc, isSet(plane), step, zero).getResult());
    return code;
  }

  /// The high and the low bytes of words, those of `first` and of `second` in turns.
  SmallVector<Value> splitWords(Value first, Value second) {
    VectorType wordsType = getInts(2 * kFloatLanes, 16);
    Value eight = splat(wordsType, 8), lowByte = splat(wordsType, 0xff);
    auto join = [&](Value even, Value odd) -> Value { return arith::OrIOp::create(b, loc, even, odd); };
    auto low = [&](Value words) -> Value { return arith::AndIOp::create(b, loc, words, lowByte); };
    Value highs = join(shiftRight(first, eight), arith::AndIOp::create(b, loc, second, splat(wordsType, 0xff00)));
    return {highs, join(low(first), shiftLeft(low(second), eight))};
  }

  /// Columns `[rows]` of a row's 32 bits put side by side.
  Value interleave(ArrayRef<Value> columns) {
    Value even = columns[0], odd = columns[1];
    if (columns.size() == 4) {
      auto words = getInts(unit.rows, 16);
      even = bitcast(words, vector::InterleaveOp::create(b, loc, columns[0], columns[1]));
      odd = bitcast(words, vector::InterleaveOp::create(b, loc, columns[2], columns[3]));
    }
    return vector::InterleaveOp::create(b, loc, even, odd);
  }

  void storeCodes(Value vector, ValueRange indices) {
    storeVector(bitcast(getInts(4 * unit.rows, 8), vector), codes, indices);
  }

  EntryFormat format;
  int64_t dwordsPerChunk;
  /// Pieces of 16 rows in a row block; `pieces` counts those of a tile.
  int64_t blockPieces;
  /// Chunks of 16 columns in a pass.
  int64_t passChunks;
  bool usesTiles;
  /// Bytes of a code that tiles multiply one by one.
  int64_t codeParts;
  /// The codes of a pass `[chunks, dwords, bytes]`, where tiles multiply words those of high bytes before those of low ones; `d` and `zc` `[groups, 2, rows]`;
  /// and the integers that tiles leave.
  Value codes, params, tileSums;
  /// The first unit of the pass and the first row of the piece.
  Value passUnit, pieceRow;
};

} // namespace

void elutq::hlq::populatePlaneMatmulToVectorPatterns(RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                                     PatternBenefit benefit) {
  patterns.add<VectorizeProduct<CodeMatmulOp, PlaneMatmulEmitter>>(patterns.getContext(), options.tableBytes, benefit);
}
