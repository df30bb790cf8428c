//===- VectorizeContraction.cpp - Products of f32 matrices on vectors -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Each element of the result is computed by the same operations in the same order, whichever tile of rows or columns it is in:
// with B[K, N] one fma per k in ascending order, with B[N, K] 16 partial sums, a tree, and the rest of K one by one.
//
//===----------------------------------------------------------------------===//

#include "VectorizeLinalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace elutq;

namespace {

struct Contraction {
  RewriterBase &b;
  Location loc;
  linalg::LinalgOp op;
  Value lhs, rhs, result;
  AffineMap lhsMap, rhsMap, resultMap;
  std::optional<unsigned> m;
  unsigned n, k;
  SmallVector<Value> bounds, ivs;
  VectorType vector;

  Contraction(RewriterBase &b, linalg::LinalgOp op)
      : b(b), loc(op.getLoc()), op(op), vector(VectorType::get({kLanes}, b.getF32Type())) {}

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  Value offset(Value base, int64_t value) {
    return value == 0 ? base : arith::AddIOp::create(b, loc, base, index(value)).getResult();
  }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, loc, x, y, z); }

  /// The indices of an operand where the loops stand at `ivs`, row `row`, column `column` and `depth`.
  SmallVector<Value> at(AffineMap map, Value row, Value column, Value depth) {
    SmallVector<Value> point = ivs;
    if (m)
      point[*m] = row;
    point[n] = column;
    point[k] = depth;
    return applyMap(b, loc, map, point);
  }
  Value loadScalar(Value memref, ValueRange indices) { return memref::LoadOp::create(b, loc, memref, indices); }
  Value loadVector(Value memref, ValueRange indices) { return vector::LoadOp::create(b, loc, vector, memref, indices); }

  LogicalResult match() {
    if (!linalg::isaContractionOpInterface(op) || op.getNumDpsInputs() != 2)
      return failure();
    FailureOr<linalg::ContractionDimensions> dims = linalg::inferContractionDims(op);
    if (failed(dims) || dims->m.size() > 1 || dims->n.size() != 1 || dims->k.size() != 1)
      return failure();
    for (Value operand : op->getOperands())
      if (!cast<ShapedType>(operand.getType()).getElementType().isF32())
        return failure();
    if (!dims->m.empty())
      m = dims->m.front();
    n = dims->n.front();
    k = dims->k.front();
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    lhsMap = maps[0], rhsMap = maps[1], resultMap = maps[2];
    lhs = op.getDpsInputs()[0], rhs = op.getDpsInputs()[1], result = op.getDpsInits()[0];
    return success(hasUnitStride(lhs) && hasUnitStride(rhs) && hasUnitStride(result) && isLast(lhsMap, k) &&
                   isLast(resultMap, n) && (isLast(rhsMap, n) || isLast(rhsMap, k)));
  }
  static bool isLast(AffineMap map, unsigned dim) {
    return map.getNumResults() > 0 && map.getResults().back() == getAffineDimExpr(dim, map.getContext());
  }

  void emit() {
    bounds = loopBounds(b, op);
    ivs.assign(bounds.size(), Value());
    emitBatch(0);
  }

  /// Loops over batch dimensions, then the matrices.
  void emitBatch(unsigned dim) {
    if (dim == bounds.size()) {
      if (isLast(rhsMap, n))
        emitColumns();
      else
        emitDots();
      return;
    }
    if (dim == n || dim == k || (m && dim == *m))
      return emitBatch(dim + 1);
    emitLoop(b, loc, index(0), bounds[dim], 1, [&](Value iv) {
      ivs[dim] = iv;
      emitBatch(dim + 1);
    });
  }

  /// Calls `body(row, rows)` on tiles of 4 rows, then on single rows.
  void forEachRowTile(function_ref<void(Value, int64_t)> body) {
    if (!m)
      return body(index(0), 1);
    constexpr int64_t kRows = 4;
    Value tiled = roundDown(b, loc, bounds[*m], kRows);
    emitLoop(b, loc, index(0), tiled, kRows, [&](Value row) { body(row, kRows); });
    emitLoop(b, loc, tiled, bounds[*m], 1, [&](Value row) { body(row, 1); });
  }

  /// B[K, N]: tiles of up to 4 rows by 4 vectors of columns, all of K at a time.
  void emitColumns() {
    constexpr int64_t kWide = 4 * kLanes;
    Value wide = roundDown(b, loc, bounds[n], kWide), narrow = roundDown(b, loc, bounds[n], kLanes);
    auto tile = [&](Value column, int64_t vectors) {
      forEachRowTile([&](Value row, int64_t rows) {
        // 4 rows by 2 vectors fill 16 registers of 256 bits; a single row takes all 4 vectors.
        int64_t step = rows == 1 ? vectors : std::min<int64_t>(vectors, 2);
        for (int64_t first = 0; first < vectors; first += step)
          emitTile(row, rows, offset(column, first * kLanes), step);
      });
    };
    emitLoop(b, loc, index(0), wide, kWide, [&](Value column) { tile(column, 4); });
    emitLoop(b, loc, wide, narrow, kLanes, [&](Value column) { tile(column, 1); });
    emitLoop(b, loc, narrow, bounds[n], 1, [&](Value column) {
      forEachRowTile([&](Value row, int64_t rows) { emitTile(row, rows, column, 0); });
    });
  }

  /// A tile of B[K, N]; 0 `vectors` is a single column.
  void emitTile(Value row, int64_t rows, Value column, int64_t vectors) {
    int64_t columns = std::max<int64_t>(vectors, 1);
    Value zero = index(0);
    SmallVector<SmallVector<Value>> places;
    SmallVector<Value> sums;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) {
        places.push_back(at(resultMap, offset(row, r), offset(column, c * kLanes), zero));
        sums.push_back(vectors ? loadVector(result, places.back()) : loadScalar(result, places.back()));
      }
    sums = emitFold(b, loc, zero, bounds[k], 1, sums, [&](Value depth, ValueRange partial) {
      SmallVector<Value> weights, next;
      for (int64_t c = 0; c < columns; ++c) {
        SmallVector<Value> place = at(rhsMap, row, offset(column, c * kLanes), depth);
        weights.push_back(vectors ? loadVector(rhs, place) : loadScalar(rhs, place));
      }
      for (int64_t r = 0; r < rows; ++r) {
        Value x = loadScalar(lhs, at(lhsMap, offset(row, r), column, depth));
        if (vectors)
          x = vector::BroadcastOp::create(b, loc, vector, x);
        for (int64_t c = 0; c < columns; ++c)
          next.push_back(fma(x, weights[c], partial[r * columns + c]));
      }
      return next;
    });
    for (auto [sum, place] : llvm::zip_equal(sums, places)) {
      if (vectors)
        vector::StoreOp::create(b, loc, sum, result, place);
      else
        memref::StoreOp::create(b, loc, sum, result, place);
    }
  }

  /// B[N, K]: 4 columns at a time, a row of B stays in the cache for all rows of A.
  void emitDots() {
    constexpr int64_t kColumns = 4;
    Value tiled = roundDown(b, loc, bounds[n], kColumns);
    Value rows = m ? bounds[*m] : index(1);
    auto tile = [&](Value column, int64_t columns) {
      emitLoop(b, loc, index(0), rows, 1, [&](Value row) { emitDotTile(row, column, columns); });
    };
    emitLoop(b, loc, index(0), tiled, kColumns, [&](Value column) { tile(column, kColumns); });
    emitLoop(b, loc, tiled, bounds[n], 1, [&](Value column) { tile(column, 1); });
  }

  void emitDotTile(Value row, Value column, int64_t columns) {
    Value zero = index(0), whole = roundDown(b, loc, bounds[k], kLanes);
    Value zeros = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, 0.0f));
    SmallVector<Value> sums(columns, zeros);
    sums = emitFold(b, loc, zero, whole, kLanes, sums, [&](Value depth, ValueRange partial) {
      Value x = loadVector(lhs, at(lhsMap, row, column, depth));
      SmallVector<Value> next;
      for (int64_t c = 0; c < columns; ++c)
        next.push_back(fma(x, loadVector(rhs, at(rhsMap, row, offset(column, c), depth)), partial[c]));
      return next;
    });
    auto add = [&](Value x, Value y) -> Value { return arith::AddFOp::create(b, loc, x, y); };
    for (Value &sum : sums)
      sum = reduceLanes(b, loc, sum, add);
    sums = emitFold(b, loc, whole, bounds[k], 1, sums, [&](Value depth, ValueRange partial) {
      Value x = loadScalar(lhs, at(lhsMap, row, column, depth));
      SmallVector<Value> next;
      for (int64_t c = 0; c < columns; ++c)
        next.push_back(fma(x, loadScalar(rhs, at(rhsMap, row, offset(column, c), depth)), partial[c]));
      return next;
    });
    for (int64_t c = 0; c < columns; ++c) {
      SmallVector<Value> place = at(resultMap, row, offset(column, c), zero);
      memref::StoreOp::create(b, loc, add(loadScalar(result, place), sums[c]), result, place);
    }
  }
};

} // namespace

LogicalResult elutq::vectorizeContraction(RewriterBase &rewriter, linalg::LinalgOp op) {
  Contraction contraction(rewriter, op);
  if (failed(contraction.match()))
    return failure();
  contraction.emit();
  rewriter.eraseOp(op);
  return success();
}
