//===- VectorizeElementwise.cpp - Elementwise ops and reductions ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "VectorizeLinalg.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace elutq;

namespace {

/// Emits an op as loops whose innermost runs over `lane`, 16 iterations at a time.
struct Elementwise {
  RewriterBase &b;
  Location loc;
  linalg::LinalgOp op;
  /// The vectorized loop.
  unsigned lane = 0;
  /// The op that combines partial results where `lane` is a reduction.
  Operation *combiner = nullptr;
  SmallVector<AffineMap> maps;
  SmallVector<Value> bounds, ivs;

  Elementwise(RewriterBase &b, linalg::LinalgOp op)
      : b(b), loc(op.getLoc()), op(op), maps(op.getIndexingMapsArray()) {}

  AffineExpr laneExpr() { return getAffineDimExpr(lane, op.getContext()); }
  /// Whether the elements of operand `i` differ between lanes.
  bool varies(unsigned i) { return maps[i].isFunctionOfDim(lane); }
  /// Whether the elements of operand `i` in neighbouring lanes are neighbours in memory.
  bool isContiguous(unsigned i) {
    if (maps[i].getNumResults() == 0 || !hasUnitStride(op->getOperand(i)))
      return false;
    for (AffineExpr expr : maps[i].getResults().drop_back())
      if (expr.isFunctionOfDim(lane))
        return false;
    AffineExpr rest = maps[i].getResults().back() - laneExpr();
    return !simplifyAffineExpr(rest, maps[i].getNumDims(), 0).isFunctionOfDim(lane);
  }

  LogicalResult match() {
    unsigned loops = op.getNumLoops(), inits = op.getNumDpsInits();
    if (loops == 0 || inits == 0)
      return failure();
    // The body has to work lane by lane.
    for (Value operand : op->getOperands()) {
      auto type = dyn_cast<MemRefType>(operand.getType());
      if (type ? !type.getElementType().isIntOrFloat() || (type.getElementTypeBitWidth() < 8 && !isBits(type))
               : !operand.getType().isIntOrIndexOrFloat())
        return failure();
    }
    for (Operation &nested : op.getBlock()->without_terminator())
      if (!isa<linalg::IndexOp, arith::ConstantOp>(nested) && !OpTrait::hasElementwiseMappableTraits(&nested))
        return failure();
    SmallVector<unsigned> reductions;
    op.getReductionDims(reductions);
    return success(succeeded(matchReduction(reductions)) || succeeded(matchParallel()));
  }

  /// One reduction loop, along which all operands that it moves are contiguous.
  LogicalResult matchReduction(ArrayRef<unsigned> reductions) {
    if (reductions.size() != 1 || op.getNumDpsInits() != 1)
      return failure();
    lane = reductions.front();
    for (unsigned i = 0; i < op.getNumDpsInputs(); ++i)
      if (varies(i) && !isContiguous(i))
        return failure();
    SmallVector<Operation *> combiners;
    if (!mlir::matchReduction(op.getRegionOutputArgs(), 0, combiners) || combiners.size() != 1)
      return failure();
    combiner = combiners.front();
    if (!arith::getNeutralElement(combiner) || combiner->getNumOperands() != 2)
      return failure();
    return success();
  }

  /// A parallel loop along which all results are contiguous.
  LogicalResult matchParallel() {
    combiner = nullptr;
    AffineMap map = maps[op.getNumDpsInputs()];
    if (map.getNumResults() == 0)
      return failure();
    auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
    if (!last)
      return failure();
    lane = last.getPosition();
    if (op.getIteratorTypesArray()[lane] != utils::IteratorType::parallel)
      return failure();
    for (unsigned i = op.getNumDpsInputs(); i < op->getNumOperands(); ++i)
      if (!varies(i) || !isContiguous(i))
        return failure();
    return success();
  }

  static bool isBits(MemRefType type) { return type.getElementType().isInteger(1); }

  /// Bits in memory are bytes, in vectors they are not: the same memory as bytes. Both types are the same once they are descriptors of the
  /// llvm dialect, so that the cast goes away.
  Value asBytes(Value memref) {
    auto type = cast<MemRefType>(memref.getType());
    auto bytes = MemRefType::get(type.getShape(), b.getI8Type(), type.getLayout(), type.getMemorySpace());
    return UnrealizedConversionCastOp::create(b, loc, bytes, memref).getResult(0);
  }

  /// The element of operand `i` at `ivs`, or those of 16 lanes from there.
  Value load(unsigned i, bool vector) {
    Value operand = op->getOperand(i);
    auto type = dyn_cast<MemRefType>(operand.getType());
    if (!type)
      return operand;
    if (!vector || !varies(i))
      return memref::LoadOp::create(b, loc, operand, applyMap(b, loc, maps[i], ivs));
    auto lanes = VectorType::get({kLanes}, type.getElementType());
    if (isContiguous(i) && isBits(type)) {
      auto bytes = VectorType::get({kLanes}, b.getI8Type());
      Value loaded = vector::LoadOp::create(b, loc, bytes, asBytes(operand), applyMap(b, loc, maps[i], ivs));
      Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(bytes));
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, loaded, zero);
    }
    if (isContiguous(i))
      return vector::LoadOp::create(b, loc, lanes, operand, applyMap(b, loc, maps[i], ivs));
    SmallVector<Value> elements, point = ivs;
    for (int64_t i0 = 0; i0 < kLanes; ++i0) {
      point[lane] = arith::AddIOp::create(b, loc, ivs[lane], arith::ConstantIndexOp::create(b, loc, i0));
      elements.push_back(memref::LoadOp::create(b, loc, operand, applyMap(b, loc, maps[i], point)));
    }
    return vector::FromElementsOp::create(b, loc, lanes, elements);
  }

  Value broadcast(Value value) {
    if (isa<VectorType>(value.getType()))
      return value;
    return vector::BroadcastOp::create(b, loc, VectorType::get({kLanes}, value.getType()), value);
  }

  /// What stands for a value of the body.
  using Values = DenseMap<Value, Value>;

  /// Clones into `values` the ops of the body whose operands are known and, if `vector`, the rest on vectors. Ops that are
  /// the same in all lanes stay scalar, so that they can be computed before the loop.
  void emitBody(Values &values, bool uniformOnly, bool vector) {
    for (Operation &nested : op.getBlock()->without_terminator()) {
      if (llvm::all_of(nested.getResults(), [&](Value result) { return values.count(result); }))
        continue;
      if (auto indexOp = dyn_cast<linalg::IndexOp>(nested)) {
        if (indexOp.getDim() != lane) {
          values[indexOp] = ivs[indexOp.getDim()];
        } else if (!uniformOnly) {
          Value index = ivs[lane];
          if (vector) {
            Value lanes = vector::StepOp::create(b, loc, VectorType::get({kLanes}, b.getIndexType()));
            index = arith::AddIOp::create(b, loc, broadcast(index), lanes);
          }
          values[indexOp] = index;
        }
        continue;
      }
      SmallVector<Value> operands;
      bool known = true, uniform = true;
      for (Value operand : nested.getOperands()) {
        Value value = values.lookup(operand);
        if (!value && operand.getParentBlock() != op.getBlock())
          value = operand;
        known &= value != nullptr;
        uniform &= value && !isa<VectorType>(value.getType());
        operands.push_back(value);
      }
      if (!known)
        continue;
      if (!uniform)
        for (Value &operand : operands)
          operand = broadcast(operand);
      Operation *clone = b.clone(nested);
      if (!uniform)
        for (Value result : clone->getResults())
          result.setType(VectorType::get({kLanes}, result.getType()));
      clone->setOperands(operands);
      for (auto [old, result] : llvm::zip_equal(nested.getResults(), clone->getResults()))
        values[old] = result;
    }
  }

  /// Loads the operands of the body that `uniform` says are the same or not the same in all lanes.
  void loadOperands(Values &values, bool uniform, bool vector) {
    for (auto [i, argument] : llvm::enumerate(op.getBlock()->getArguments())) {
      bool isAccumulator = combiner && static_cast<int64_t>(i) >= op.getNumDpsInputs();
      if (!argument.use_empty() && !isAccumulator && varies(i) != uniform)
        values[argument] = load(i, vector);
    }
  }

  void emit() {
    bounds = loopBounds(b, op);
    ivs.assign(bounds.size(), Value());
    SmallVector<unsigned> order;
    op.getParallelDims(order);
    op.getReductionDims(order);
    SmallVector<unsigned> outer, inner;
    for (unsigned dim : order)
      if (dim != lane)
        (op.getIteratorTypesArray()[dim] == utils::IteratorType::parallel ? outer : inner).push_back(dim);
    emitOuter(outer, inner);
  }

  void emitOuter(ArrayRef<unsigned> outer, ArrayRef<unsigned> inner) {
    if (!outer.empty()) {
      emitLoop(b, loc, zero(), bounds[outer.front()], 1, [&](Value iv) {
        ivs[outer.front()] = iv;
        emitOuter(outer.drop_front(), inner);
      });
      return;
    }
    if (combiner)
      return emitReduction();
    Value whole = roundDown(b, loc, bounds[lane], kLanes);
    Values uniform;
    // With loops inside, nothing but the reduction itself is known out here.
    if (inner.empty())
      emitUniform(uniform);
    for (bool vector : {true, false})
      emitLoop(b, loc, vector ? zero() : whole, vector ? whole : bounds[lane], vector ? kLanes : 1, [&](Value iv) {
        ivs[lane] = iv;
        emitInner(inner, uniform, vector);
      });
  }

  void emitUniform(Values &values) {
    loadOperands(values, /*uniform=*/true, /*vector=*/false);
    emitBody(values, /*uniformOnly=*/true, /*vector=*/false);
  }

  void emitInner(ArrayRef<unsigned> inner, const Values &uniform, bool vector) {
    if (!inner.empty()) {
      emitLoop(b, loc, zero(), bounds[inner.front()], 1, [&](Value iv) {
        ivs[inner.front()] = iv;
        emitInner(inner.drop_front(), uniform, vector);
      });
      return;
    }
    Values values = uniform;
    if (uniform.empty())
      loadOperands(values, /*uniform=*/true, vector);
    loadOperands(values, /*uniform=*/false, vector);
    emitBody(values, /*uniformOnly=*/false, vector);
    for (auto [i, yielded] : llvm::enumerate(op.getBlock()->getTerminator()->getOperands())) {
      unsigned operand = op.getNumDpsInputs() + i;
      Value value = valueOf(values, yielded), memref = op->getOperand(operand);
      SmallVector<Value> place = applyMap(b, loc, maps[operand], ivs);
      if (vector && isBits(cast<MemRefType>(memref.getType()))) {
        Value bytes = arith::ExtUIOp::create(b, loc, VectorType::get({kLanes}, b.getI8Type()), broadcast(value));
        vector::StoreOp::create(b, loc, bytes, asBytes(memref), place);
      } else if (vector)
        vector::StoreOp::create(b, loc, broadcast(value), memref, place);
      else
        memref::StoreOp::create(b, loc, value, memref, place);
    }
  }

  void emitReduction() {
    unsigned init = op.getNumDpsInputs();
    Value accumulator = op.getBlock()->getArgument(init), yielded = op.getBlock()->getTerminator()->getOperand(0);
    Value whole = roundDown(b, loc, bounds[lane], kLanes);
    SmallVector<Value> place = applyMap(b, loc, maps[init], zeroLane());
    Value old = memref::LoadOp::create(b, loc, op->getOperand(init), place);
    Values uniform;
    emitUniform(uniform);
    auto step = [&](bool vector) {
      return [&, vector](Value iv, ValueRange partial) {
        ivs[lane] = iv;
        Values values = uniform;
        loadOperands(values, /*uniform=*/false, vector);
        values[accumulator] = partial[0];
        emitBody(values, /*uniformOnly=*/false, vector);
        Value next = valueOf(values, yielded);
        return SmallVector<Value>{vector ? broadcast(next) : next};
      };
    };
    auto combine = [&](Value x, Value y) -> Value {
      Operation *clone = b.clone(*combiner);
      clone->setOperands({x, y});
      clone->getResult(0).setType(x.getType());
      return clone->getResult(0);
    };
    Value result = old;
    if (!isEqualConstantIntOrValue(zero(), whole)) {
      Value neutral = broadcast(arith::ConstantOp::create(b, loc, *arith::getNeutralElement(combiner)));
      Value lanes = emitFold(b, loc, zero(), whole, kLanes, neutral, step(/*vector=*/true))[0];
      result = combine(old, reduceLanes(b, loc, lanes, combine));
    }
    result = emitFold(b, loc, whole, bounds[lane], 1, result, step(/*vector=*/false))[0];
    memref::StoreOp::create(b, loc, result, op->getOperand(init), place);
  }

  Value zero() { return arith::ConstantIndexOp::create(b, loc, 0); }
  SmallVector<Value> zeroLane() {
    SmallVector<Value> point = ivs;
    point[lane] = zero();
    return point;
  }
  Value valueOf(const Values &values, Value yielded) {
    Value value = values.lookup(yielded);
    return value ? value : yielded;
  }
};

} // namespace

LogicalResult elutq::vectorizeElementwise(RewriterBase &rewriter, linalg::LinalgOp op) {
  Elementwise elementwise(rewriter, op);
  if (failed(elementwise.match()))
    return failure();
  elementwise.emit();
  rewriter.eraseOp(op);
  return success();
}
