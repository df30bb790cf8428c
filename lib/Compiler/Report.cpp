//===- Report.cpp - Which kernel computes which node ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Compiler/Report.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "mlir/IR/Location.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace elutq;

/// The first name in a location, which is the node's.
static std::string nodeName(Location loc) {
  std::string name;
  loc->walk([&](Location part) {
    if (auto named = dyn_cast<NameLoc>(part)) {
      name = named.getName().str();
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return name.empty() ? "(unnamed)" : name;
}

std::string elutq::formatKernel(hlq::KernelAttr kernel) {
  return (kernel.getAlgorithm().getValue() + " m" + Twine(kernel.getMTile()) + "n" + Twine(kernel.getNTile()) + "t" +
          Twine(kernel.getTableBits()))
      .str();
}

std::string elutq::formatTuning(const tune::TunedProduct &product) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.1f us", product.time);
  if (product.kernel != product.model)
    os << " (model: " << formatKernel(product.model) << llvm::format(", %.1f us)", product.modelTime);
  return text;
}

std::vector<ReportRow> elutq::collectReport(ModuleOp module, const tune::TunedProducts &tuned) {
  std::vector<ReportRow> rows;
  auto describe = [&](auto op, int64_t k) {
    auto layout = op->template getAttrOfType<hlq::LayoutAttr>(hlq::layoutAttrName);
    auto kernel = op->template getAttrOfType<hlq::KernelAttr>(hlq::kernelAttrName);
    ReportRow row;
    if (auto function = op->template getParentOfType<FunctionOpInterface>())
      row.entry = function.getName().str();
    row.node = nodeName(op->getLoc());
    row.kernel = kernel ? kernel.getIsa().str() + " " + formatKernel(kernel) : "gather";
    if (auto known = tuned.find(op); known != tuned.end())
      row.tuned = formatTuning(known->second);
    if (kernel)
      row.arithmetic = (kernel.getAlgorithm().getValue() + Twine(kernel.getTableBits())).str();
    row.n = op.getNumRows();
    row.k = k;
    row.bits = op.getBits();
    row.groupSize = op.getGroupSize();
    if (Attribute planes; matchPattern(op.getPlanes(), m_Constant(&planes)))
      row.weights = {planes.getAsOpaquePointer(), layout ? Attribute(layout).getAsOpaquePointer() : nullptr};
    if (layout) {
      llvm::raw_string_ostream(row.params) << hlq::stringifyParams(layout.getParams()) << ' ' << layout.getParamType();
      row.bytes = (row.n + layout.getRows() - 1) / layout.getRows() * layout.getRowBlockBytes(op.getNumGroups());
    }
    rows.push_back(std::move(row));
  };
  module.walk([&](Operation *op) {
    if (auto linear = dyn_cast<hlq::LinearOp>(op))
      describe(linear, cast<ShapedType>(linear.getInput().getType()).getDimSize(1));
    else if (auto gather = dyn_cast<hlq::GatherOp>(op))
      describe(gather, cast<ShapedType>(gather.getInit().getType()).getDimSize(1));
  });
  return rows;
}

bool elutq::isConsistent(llvm::ArrayRef<ReportRow> rows) {
  // By node, the arithmetic of the first entry that has it.
  llvm::StringMap<std::string> arithmetic;
  return llvm::all_of(rows, [&](const ReportRow &row) {
    return row.arithmetic.empty() || arithmetic.try_emplace(row.node, row.arithmetic).first->second == row.arithmetic;
  });
}

int64_t elutq::weightBytes(llvm::ArrayRef<ReportRow> rows, llvm::StringRef entry) {
  int64_t bytes = 0;
  for (const ReportRow &row : rows)
    if (row.entry == entry && row.kernel != "gather")
      bytes += row.bytes;
  return bytes;
}

StoredWeights elutq::countStoredWeights(llvm::ArrayRef<ReportRow> rows) {
  llvm::DenseSet<std::pair<const void *, const void *>> met;
  StoredWeights stored;
  for (const ReportRow &row : rows)
    if (row.bytes && met.insert(row.weights).second) {
      stored.weights += row.n * row.k;
      stored.bytes += row.bytes;
    }
  return stored;
}

void elutq::printReport(llvm::ArrayRef<ReportRow> rows, const ScalarOps *scalarOps, llvm::raw_ostream &os) {
  size_t width = 4;
  for (const ReportRow &row : rows)
    width = std::max(width, row.node.size());
  auto name = [&](StringRef text) -> llvm::raw_ostream & { return os << llvm::left_justify(text, width + 2); };
  os << llvm::left_justify("entry", 9);
  bool wasTuned = llvm::any_of(rows, [](const ReportRow &row) { return !row.tuned.empty(); });
  name("node") << "       N        K  bits  group  params         kernel                       bytes"
               << (wasTuned ? "  tuned\n" : "\n");
  for (const ReportRow &row : rows) {
    os << llvm::left_justify(row.entry, 9);
    name(row.node) << llvm::format("%8lld %8lld %5lld %6lld  ", static_cast<long long>(row.n),
                                   static_cast<long long>(row.k), static_cast<long long>(row.bits),
                                   static_cast<long long>(row.groupSize))
                   << llvm::left_justify(row.params, 15) << llvm::left_justify(row.kernel, 22)
                   << llvm::format("%12lld", static_cast<long long>(row.bytes))
                   << (row.tuned.empty() ? "" : "  ") << row.tuned << "\n";
  }
  if (!scalarOps)
    return;
  os << (scalarOps->empty() ? "all linalg ops are vectorized\n" : "scalar, layers that share their code counted once:\n");
  for (const auto &[op, count] : *scalarOps)
    os << llvm::format("%6u  ", count) << op.first << "  " << op.second << "\n";
}
