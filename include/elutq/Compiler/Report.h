//===- Report.h - Which kernel computes which node ---------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_COMPILER_REPORT_H
#define ELUTQ_COMPILER_REPORT_H

#include "elutq/Tune/Tuner.h"
#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <utility>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace elutq {

/// One product or gather of an entry point after `hlq-select-kernel`.
struct ReportRow {
  std::string entry, node, kernel;
  /// What decides about the bits of a product: algorithm and width of the entries; empty for gathers.
  std::string arithmetic;
  /// What a group stores besides its bits, as in `#hlq.layout`: `hlq f16`, `uniform f32`, `symmetric f32`.
  std::string params;
  int64_t n = 0, k = 0, bits = 0, groupSize = 0;
  /// Of the packed weights.
  int64_t bytes = 0;
  /// The planes and the layout that they are packed to: rows with equal ones read the same bytes.
  std::pair<const void *, const void *> weights;
  /// What timing said: empty for what was not timed.
  std::string tuned;
};

/// Algorithm, tiles and entries in a few letters.
std::string formatKernel(hlq::KernelAttr kernel);

/// The times of the cost model's kernel and of the fastest one, with the former's name where they differ.
std::string formatTuning(const tune::TunedProduct &product);

/// What the attributes on the products of a module say, and what timing said about those in `tuned`.
std::vector<ReportRow> collectReport(mlir::ModuleOp module, const tune::TunedProducts &tuned);

/// Bytes of packed weights that one call of `entry` reads.
int64_t weightBytes(llvm::ArrayRef<ReportRow> rows, llvm::StringRef entry);

/// What all entry points together read: elements of matrices, and the bytes of planes, scales, zeros and padding that hold them.
struct StoredWeights {
  int64_t weights = 0, bytes = 0;
};
StoredWeights countStoredWeights(llvm::ArrayRef<ReportRow> rows);

/// Whether all entry points compute each product with the same arithmetic, and so give the same bits.
bool isConsistent(llvm::ArrayRef<ReportRow> rows);

/// How many ops of a kind and node are left to scalar loops, in code that equal layers share.
using ScalarOps = std::map<std::pair<std::string, std::string>, unsigned>;

/// `scalarOps`: null where the code is scalar as a whole, or none is made.
void printReport(llvm::ArrayRef<ReportRow> rows, const ScalarOps *scalarOps, llvm::raw_ostream &os);

} // namespace elutq

#endif // ELUTQ_COMPILER_REPORT_H
