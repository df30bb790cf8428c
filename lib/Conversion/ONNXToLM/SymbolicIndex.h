//===- SymbolicIndex.h - What integer subgraphs of a model compute -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Exporters compute masks and lengths from the shapes of their inputs. This evaluates such subgraphs symbolically: integers are
// affine in the number of past positions, the position of the query row and the index of the key; booleans are conjunctions
// of inequalities between them.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_ONNXTOLM_SYMBOLICINDEX_H
#define ELUTQ_LIB_CONVERSION_ONNXTOLM_SYMBOLICINDEX_H

#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace elutq::normalize {

/// `constant + past * P + query * q + key * k`: P past positions, the query row at position q (P <= q < P + M), and key index k.
struct Affine {
  int64_t constant = 0, past = 0, query = 0, key = 0;

  bool isConstant() const { return past == 0 && query == 0 && key == 0; }
  Affine operator+(const Affine &other) const;
  Affine operator*(int64_t factor) const;
  Affine operator-(const Affine &other) const { return *this + other * -1; }
  bool operator==(const Affine &other) const;
};

/// Numbers of a float mask from here on hide a key.
inline constexpr double kHidden = -1e4;

/// The symbolic value of a tensor.
struct Symbolic {
  /// The elements of a vector of lengths; one element stands for the whole tensor.
  llvm::SmallVector<Affine, 4> elements;
  bool isVector = false;
  /// Booleans, and masks of floats that are 0 where the boolean is true and very negative elsewhere: every inequality `form >= 0` must hold;
  /// `elements` is unused. Never true where `isFalse`.
  bool isBool = false, isFalse = false;
  llvm::SmallVector<Affine, 4> conditions;
  /// The dimensions along which q and k run, or -1.
  int64_t queryAxis = -1, keyAxis = -1;

  /// Whether all elements are the same.
  bool isUniform() const { return !isVector && queryAxis < 0 && keyAxis < 0; }
};

/// The parts that the inputs of the model play.
struct InputRoles {
  mlir::Value positionIds;
  mlir::Value attentionMask;
  /// Past keys and values, and the dimension that counts positions.
  llvm::DenseMap<mlir::Value, int64_t> pastAxis;
  /// Inputs of one number: the position of the first new row, and how many positions there are with the new ones.
  llvm::DenseSet<mlir::Value> starts, lengths;
  /// Positions of caches of fixed size, or 0.
  int64_t slots = 0;
  /// Rows of the graph.
  int64_t rows = 0;
};

/// Evaluates values, with memory. `std::nullopt` where a value is none of these forms; `getFailure` is the op at fault.
class SymbolicEvaluator {
public:
  explicit SymbolicEvaluator(const InputRoles &roles) : roles(roles) {}

  std::optional<Symbolic> evaluate(mlir::Value value);

  /// The size of a dimension.
  std::optional<Affine> evaluateSize(mlir::Value value, int64_t dim);

  /// The first op that could not be evaluated.
  mlir::Operation *getFailure() const { return failure; }

private:
  std::optional<Symbolic> compute(mlir::Value value);
  std::optional<Symbolic> computeOp(mlir::Operation *op);
  std::optional<Symbolic> computeBinary(mlir::Operation *op);
  std::optional<Symbolic> computeCompare(mlir::Operation *op);
  std::optional<Symbolic> computeLogic(mlir::Operation *op);
  std::optional<Symbolic> computeRange(mlir::Operation *op);
  std::optional<Symbolic> computeShapeOf(mlir::Operation *op);
  std::optional<Symbolic> computeReshape(mlir::Operation *op);
  std::optional<Symbolic> computeVectorOp(mlir::Operation *op);
  std::optional<Symbolic> computeSelect(mlir::Operation *op);
  std::optional<double> getMaskNumber(mlir::Value value);
  std::optional<Symbolic> computeSizes(onnx::WhereOp where);
  std::optional<Symbolic> computeSizeOf(mlir::Value data, mlir::Value indices);
  std::optional<Symbolic> computeConstantOfShape(onnx::ConstantOfShapeOp op);
  std::optional<Symbolic> computeMask(mlir::Operation *op);
  std::optional<Symbolic> computeTriangle(onnx::TriluOp op);
  std::optional<Symbolic> computeMaskedBy(onnx::MulOp op);
  std::optional<Symbolic> computeOverwritten(onnx::ScatterNDOp op);
  std::optional<Symbolic> computeChosen(onnx::WhereOp op);
  std::optional<double> evaluateNumber(mlir::Value value);
  bool isNeverZero(mlir::Value value);
  std::optional<Affine> evaluateSliceSize(onnx::SliceOp op, int64_t dim);
  std::optional<Affine> evaluateLength(onnx::RangeOp op);
  std::optional<Affine> evaluateRest(onnx::ReshapeOp op, int64_t dim);
  std::optional<Symbolic> computeSliceOfKeys(onnx::SliceOp op, const Symbolic &data);
  void mergeAxes(mlir::Operation *op, const Symbolic &lhs, const Symbolic &rhs, Symbolic &result);

  const InputRoles &roles;
  llvm::DenseMap<mlir::Value, std::optional<Symbolic>> known;
  mlir::Operation *failure = nullptr;
};

/// A causal mask: key k is visible to the query at position q where k <= q, and k > q - window if window > 0.
struct CausalMask {
  bool isCausal = false;
  int64_t window = 0;
};

/// Understands a boolean mask `[..., M, T]` (or a float one that is 0 where visible and very negative elsewhere).
std::optional<CausalMask> matchMask(SymbolicEvaluator &evaluator, mlir::Value mask, int64_t rows);

} // namespace elutq::normalize

#endif // ELUTQ_LIB_CONVERSION_ONNXTOLM_SYMBOLICINDEX_H
