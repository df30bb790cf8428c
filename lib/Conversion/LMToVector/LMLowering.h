//===- LMLowering.h - Shared by the lowerings of lm ops ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_LMTOVECTOR_LMLOWERING_H
#define ELUTQ_LIB_CONVERSION_LMTOVECTOR_LMLOWERING_H

#include "elutq/Dialect/LM/IR/LM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace elutq::lm {

/// Short names for the few operations that the lowerings emit.
struct Emitter {
  mlir::OpBuilder &b;
  mlir::Location loc;

  using BodyFn = llvm::function_ref<void(mlir::Value)>;
  using FoldFn = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)>;

  mlir::Value index(int64_t v) { return mlir::arith::ConstantIndexOp::create(b, loc, v); }
  mlir::Value f32(float v) { return mlir::arith::ConstantOp::create(b, loc, b.getF32FloatAttr(v)); }
  /// The value `v` as a float or a vector of floats of type `type`.
  mlir::Value splat(mlir::Type type, float v) {
    if (auto vector = llvm::dyn_cast<mlir::VectorType>(type))
      return mlir::arith::ConstantOp::create(
          b, loc, mlir::DenseElementsAttr::get(vector, b.getF32FloatAttr(v).getValue()));
    return f32(v);
  }
  mlir::Value broadcast(mlir::Type type, mlir::Value v) {
    return llvm::isa<mlir::VectorType>(type) ? mlir::vector::BroadcastOp::create(b, loc, type, v).getResult() : v;
  }
  mlir::Value dim(mlir::Value memref, int64_t d) {
    auto type = llvm::cast<mlir::MemRefType>(memref.getType());
    return type.isDynamicDim(d) ? mlir::memref::DimOp::create(b, loc, memref, d).getResult() : index(type.getDimSize(d));
  }
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return mlir::arith::SubIOp::create(b, loc, x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return mlir::arith::MulIOp::create(b, loc, x, y); }
  mlir::Value div(mlir::Value x, mlir::Value y) { return mlir::arith::DivUIOp::create(b, loc, x, y); }
  mlir::Value rem(mlir::Value x, mlir::Value y) { return mlir::arith::RemUIOp::create(b, loc, x, y); }
  mlir::Value minimum(mlir::Value x, mlir::Value y) { return mlir::arith::MinSIOp::create(b, loc, x, y); }
  mlir::Value maximum(mlir::Value x, mlir::Value y) { return mlir::arith::MaxSIOp::create(b, loc, x, y); }
  mlir::Value addf(mlir::Value x, mlir::Value y) { return mlir::arith::AddFOp::create(b, loc, x, y); }
  mlir::Value subf(mlir::Value x, mlir::Value y) { return mlir::arith::SubFOp::create(b, loc, x, y); }
  mlir::Value mulf(mlir::Value x, mlir::Value y) { return mlir::arith::MulFOp::create(b, loc, x, y); }
  mlir::Value divf(mlir::Value x, mlir::Value y) { return mlir::arith::DivFOp::create(b, loc, x, y); }
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z) { return mlir::math::FmaOp::create(b, loc, x, y, z); }
  mlir::Value exp(mlir::Value x) { return mlir::math::ExpOp::create(b, loc, x); }
  /// The larger of two numbers that are no NaN, in the form that is one instruction on every target.
  mlir::Value maxf(mlir::Value x, mlir::Value y) {
    mlir::Value greater = mlir::arith::CmpFOp::create(b, loc, mlir::arith::CmpFPredicate::OGT, x, y);
    return mlir::arith::SelectOp::create(b, loc, greater, x, y);
  }

  mlir::Value less(mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::slt, x, y);
  }
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y) {
    return mlir::arith::SelectOp::create(b, loc, condition, x, y);
  }

  /// Stack memory for `shape` floats, at the start of the function that `op` is in.
  mlir::Value emitScratch(mlir::Operation *op, llvm::ArrayRef<int64_t> shape);
  /// Loads one element or, for a vector type, neighbouring elements, extended or converted to f32.
  mlir::Value load(mlir::Type type, mlir::Value memref, mlir::ValueRange indices);
  /// Stores `value`, rounded to the element type of `memref`.
  void store(mlir::Value value, mlir::Value memref, mlir::ValueRange indices);

  /// `if condition`.
  void when(mlir::Value condition, llvm::function_ref<void()> body);
  /// `for i = lower to upper step step`.
  void loop(mlir::Value lower, mlir::Value upper, int64_t step, BodyFn body);
  void loop(mlir::Value upper, BodyFn body) { loop(index(0), upper, 1, body); }
  /// The same with values carried from one iteration to the next.
  llvm::SmallVector<mlir::Value> fold(mlir::Value lower, mlir::Value upper, int64_t step, mlir::ValueRange inits,
                                      FoldFn body);
  /// Calls `body` on the chunks of a row of `size` elements: vectors of 16, then single elements.
  void forEachChunk(int64_t size, mlir::Type elementType,
                    llvm::function_ref<void(mlir::Value offset, mlir::Type type)> body);
};

/// Number of f32 lanes of every vector that the lowerings use.
constexpr int64_t kLanes = 16;

/// Adds patterns that lower lm.attention and lm.attention_parts to scalar loops.
void populateAttentionToLoopsPatterns(mlir::RewritePatternSet &patterns);
/// Adds patterns that lower lm.attention and lm.attention_parts to vectors where their shapes allow; `accumulators` vectors
/// of sums are kept in registers.
void populateAttentionToVectorPatterns(mlir::RewritePatternSet &patterns, int64_t accumulators, mlir::PatternBenefit benefit);
/// Adds patterns that lower lm.merge_parts, to vectors or else to scalar loops.
void populateMergePartsPatterns(mlir::RewritePatternSet &patterns, bool vectors);
/// Adds patterns that lower lm.cache_append and lm.gather, to vectors or else to scalar loops.
void populateCopyPatterns(mlir::RewritePatternSet &patterns, bool vectors);

} // namespace elutq::lm

#endif // ELUTQ_LIB_CONVERSION_LMTOVECTOR_LMLOWERING_H
