//===- HLQFolds.cpp - Folders of the hlq dialect --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace elutq::hlq;

Operation *HLQDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  return arith::ConstantOp::materialize(builder, value, type, loc);
}

/// The lanes of a constant vector; empty where `attribute` is none.
static SmallVector<APInt> getLanes(Attribute attribute) {
  auto elements = dyn_cast_if_present<DenseIntElementsAttr>(attribute);
  return elements ? llvm::to_vector(elements.getValues<APInt>()) : SmallVector<APInt>();
}

/// `acc` plus, in lane `i`, `term` of each of `count` neighbours from `count * i` on.
static OpFoldResult addNeighbours(Type type, ArrayRef<APInt> acc, size_t count,
                                  function_ref<int64_t(size_t number)> term) {
  SmallVector<APInt> sums(acc);
  for (size_t lane = 0; lane < sums.size(); ++lane)
    for (size_t number = count * lane; number < count * (lane + 1); ++number)
      sums[lane] += APInt(32, term(number), /*isSigned=*/true);
  return DenseElementsAttr::get(cast<ShapedType>(type), sums);
}

// hlq.lookup constant[constant] -> constant. An index outside the table gives an unspecified byte, and is left alone.
OpFoldResult LookupOp::fold(FoldAdaptor adaptor) {
  SmallVector<APInt> table = getLanes(adaptor.getTable()), indices = getLanes(adaptor.getIndices()), found;
  if (table.empty() || indices.empty())
    return {};
  for (const APInt &index : indices) {
    if (index.uge(table.size()))
      return {};
    found.push_back(table[index.getZExtValue()]);
  }
  return DenseElementsAttr::get(cast<ShapedType>(getType()), found);
}

// hlq.accumulate %acc, zeros -> %acc;  hlq.accumulate constant, constant -> constant
OpFoldResult AccumulateOp::fold(FoldAdaptor adaptor) {
  if (matchPattern(adaptor.getBytes(), m_Zero()))
    return getAcc();
  SmallVector<APInt> acc = getLanes(adaptor.getAcc()), bytes = getLanes(adaptor.getBytes());
  if (acc.empty() || bytes.empty())
    return {};
  return addNeighbours(getType(), acc, 4, [&](size_t byte) { return bytes[byte].getSExtValue(); });
}

// hlq.dot %acc, zeros, %entries -> %acc;  hlq.dot %acc, %codes, zeros -> %acc;  hlq.dot of constants -> constant
OpFoldResult DotOp::fold(FoldAdaptor adaptor) {
  if (matchPattern(adaptor.getCodes(), m_Zero()) || matchPattern(adaptor.getEntries(), m_Zero()))
    return getAcc();
  SmallVector<APInt> acc = getLanes(adaptor.getAcc()), codes = getLanes(adaptor.getCodes());
  SmallVector<APInt> entries = getLanes(adaptor.getEntries());
  if (acc.empty() || codes.empty() || entries.empty())
    return {};
  return addNeighbours(getType(), acc, codes.size() / acc.size(), [&](size_t i) {
    int64_t code = hasWords() ? codes[i].getSExtValue() : static_cast<int64_t>(codes[i].getZExtValue());
    return code * entries[i].getSExtValue();
  });
}
