//===- LMLowering.cpp - Shared by the lowerings of lm ops -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LMLowering.h"

using namespace mlir;
using namespace elutq::lm;

Value Emitter::emitScratch(Operation *op, ArrayRef<int64_t> shape) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&op->getParentOfType<FunctionOpInterface>().getFunctionBody().front());
  return memref::AllocaOp::create(b, loc, MemRefType::get(shape, b.getF32Type()), b.getI64IntegerAttr(64));
}

Value Emitter::load(Type type, Value memref, ValueRange indices) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  auto vector = dyn_cast<VectorType>(type);
  Value value = vector ? vector::LoadOp::create(b, loc, vector.clone(element), memref, indices).getResult()
                       : memref::LoadOp::create(b, loc, memref, indices).getResult();
  if (element.isInteger(8))
    return arith::SIToFPOp::create(b, loc, type, value);
  return value.getType() == type ? value : arith::ExtFOp::create(b, loc, type, value).getResult();
}

void Emitter::store(Value value, Value memref, ValueRange indices) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  if (getElementTypeOrSelf(value.getType()) != element) {
    auto vector = dyn_cast<VectorType>(value.getType());
    value = arith::TruncFOp::create(b, loc, vector ? Type(vector.clone(element)) : element, value);
  }
  if (isa<VectorType>(value.getType()))
    vector::StoreOp::create(b, loc, value, memref, indices);
  else
    memref::StoreOp::create(b, loc, value, memref, indices);
}

void Emitter::when(Value condition, llvm::function_ref<void()> body) {
  auto conditional = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(conditional.thenBlock());
  body();
}

void Emitter::loop(Value lower, Value upper, int64_t step, BodyFn body) {
  auto loop = scf::ForOp::create(b, loc, lower, upper, index(step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

SmallVector<Value> Emitter::fold(Value lower, Value upper, int64_t step, ValueRange inits, FoldFn body) {
  auto loop = scf::ForOp::create(b, loc, lower, upper, index(step), inits);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(b, loc, next);
  return SmallVector<Value>(loop.getResults());
}

void Emitter::forEachChunk(int64_t size, Type elementType, llvm::function_ref<void(Value, Type)> body) {
  int64_t whole = size - size % kLanes;
  Type vector = VectorType::get({kLanes}, elementType);
  if (whole)
    loop(index(0), index(whole), kLanes, [&](Value offset) { body(offset, vector); });
  if (whole != size)
    loop(index(whole), index(size), 1, [&](Value offset) { body(offset, elementType); });
}
