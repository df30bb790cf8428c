//===- GraphSummary.h - What the compiler met in a model ---------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_GRAPHSUMMARY_H
#define ELUTQ_LIB_COMPILER_GRAPHSUMMARY_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"

#include <map>
#include <string>
#include <vector>

namespace elutq {

/// A function that models consist of, such as attention or a norm, where the graph has it as the operators that compute it.
struct WrittenOut {
  std::string pattern;
  /// The node that stands for it: Softmax, the mean of squares, the Concat of the rotated halves, Erf, Tanh or Sigmoid.
  std::string node;
  bool operator<(const WrittenOut &other) const { return std::tie(pattern, node) < std::tie(other.pattern, other.node); }
};

struct GraphSummary {
  /// How many nodes of each operator there are.
  std::map<std::string, unsigned> operators;
  /// What the compiler took for one operation, and what it computes as the operators say.
  std::vector<WrittenOut> recognized, writtenOut;
};

/// Counts the nodes of an imported module.
std::map<std::string, unsigned> countOperators(mlir::ModuleOp module);

/// Finds attention, norms, rotary embeddings, GELU, SiLU and their gated forms among the nodes of an imported module, in their order.
/// Only looks: what it says is for people.
std::vector<WrittenOut> findWrittenOut(mlir::ModuleOp module);

/// Those of `before` that are in `after`, too, and those that are not.
void compare(llvm::ArrayRef<WrittenOut> before, llvm::ArrayRef<WrittenOut> after, GraphSummary &summary);

void printSummary(const GraphSummary &summary, llvm::raw_ostream &os);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_GRAPHSUMMARY_H
