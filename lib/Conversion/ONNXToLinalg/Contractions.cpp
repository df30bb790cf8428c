//===- Contractions.cpp - Sums of products over named dimensions ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "Scalars.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace elutq::normalize {

/// `result = sum over the dimensions that it lacks of the product of inputs`; `maps` tell each one's dimensions, the result's last.
static Value contract(OpBuilder &builder, Location loc, ArrayRef<Value> inputs, ArrayRef<AffineMap> maps, RankedTensorType type) {
  Value init = fill(builder, loc, type, 0);
  SmallVector<utils::IteratorType> loops(maps[0].getNumDims(), utils::IteratorType::reduction);
  for (AffineExpr expr : maps.back().getResults())
    loops[cast<AffineDimExpr>(expr).getPosition()] = utils::IteratorType::parallel;
  return linalg::GenericOp::create(builder, loc, type, inputs, init, maps, loops,
                                   [&](OpBuilder &nested, Location l, ValueRange args) {
                                     Value next = applyScalar(nested, l, args, type.getElementType(), [&](ScalarBuilder &b, ValueRange v) {
                                       Value term;
                                       for (auto [factor, arg] : llvm::zip(v.drop_back(), args)) {
                                         Value wide = convert(b, factor, arg.getType(), type.getElementType());
                                         term = term ? product(b, {term, wide}) : wide;
                                       }
                                       return sum(b, {v.back(), term});
                                     });
                                     linalg::YieldOp::create(nested, l, next);
                                   })
      .getResult(0);
}

Value multiplyMatrices(OpBuilder &builder, Location loc, Value lhs, Value rhs, RankedTensorType type) {
  auto lhsType = cast<RankedTensorType>(lhs.getType()), rhsType = cast<RankedTensorType>(rhs.getType());
  // A vector is a row on the left, a column on the right, and that dimension is none of the result's.
  SmallVector<int64_t> shape(type.getShape());
  if (rhsType.getRank() == 1)
    shape.push_back(1);
  if (lhsType.getRank() == 1)
    shape.insert(shape.end() - 1, 1);
  if (lhsType.getRank() == 1)
    lhs = reshape(builder, loc, lhs, {1, lhsType.getDimSize(0)});
  if (rhsType.getRank() == 1)
    rhs = reshape(builder, loc, rhs, {rhsType.getDimSize(0), 1});
  int64_t rank = shape.size();
  MLIRContext *context = builder.getContext();
  auto dim = [&](int64_t i) { return getAffineDimExpr(i, context); };
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  for (bool isLeft : {true, false}) {
    Value input = isLeft ? lhs : rhs;
    auto inputType = cast<RankedTensorType>(input.getType());
    SmallVector<AffineExpr> exprs;
    SmallVector<int64_t> kept;
    int64_t inputRank = inputType.getRank();
    for (int64_t i = 0; i < inputRank - 2; ++i) {
      int64_t own = i + rank - inputRank;
      if (inputType.getDimSize(i) == 1 && shape[own] != 1)
        continue;
      kept.push_back(inputType.getDimSize(i));
      exprs.push_back(dim(own));
    }
    llvm::append_range(kept, inputType.getShape().take_back(2));
    exprs.push_back(isLeft ? dim(rank - 2) : dim(rank));
    exprs.push_back(isLeft ? dim(rank) : dim(rank - 1));
    inputs.push_back(reshape(builder, loc, input, kept));
    maps.push_back(AffineMap::get(rank + 1, 0, exprs, context));
  }
  SmallVector<AffineExpr> result;
  for (int64_t i = 0; i < rank; ++i)
    result.push_back(dim(i));
  maps.push_back(AffineMap::get(rank + 1, 0, result, context));
  // Sums of half precision would lose a digit with every few terms.
  Type element = type.getElementType(), wide = isNarrowFloat(element) ? Type(builder.getF32Type()) : element;
  Value sums = contract(builder, loc, inputs, maps, RankedTensorType::get(shape, wide));
  if (wide != element)
    sums = elementwiseScalars(builder, loc, sums, RankedTensorType::get(shape, element),
                              [&](ScalarBuilder &b, ValueRange args) { return convert(b, args[0], wide, element); });
  return reshape(builder, loc, sums, type.getShape());
}

namespace {

/// Products that linalg's named ops do not have: of integers, of vectors.
struct GeneralMatMulPattern : OpRewritePattern<onnx::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::MatMulOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    rewriter.replaceOp(op, multiplyMatrices(rewriter, op.getLoc(), op.getA(), op.getB(), cast<RankedTensorType>(op.getY().getType())));
    return success();
  }
};

/// Each letter of the equation is a loop, and so is each dimension that `...` stands for.
struct EinsumPattern : OpRewritePattern<onnx::EinsumOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(onnx::EinsumOp op, PatternRewriter &rewriter) const override {
    if (failed(verifyStatic(rewriter, op)))
      return failure();
    std::string equation;
    llvm::copy_if(op.getEquation(), std::back_inserter(equation), [](char c) { return c != ' '; });
    auto [left, right] = StringRef(equation).split("->");
    bool isExplicit = StringRef(equation).contains("->");
    SmallVector<StringRef> terms;
    left.split(terms, ',');
    if (terms.size() != op.getInputs().size())
      return rewriter.notifyMatchFailure(op, "its equation has another number of terms than it has operands");

    // A label is a letter, or a digit for a dimension of the ellipsis, counted from its end.
    SmallVector<std::string> labels;
    std::string ellipsis, all;
    for (auto [term, input] : llvm::zip_equal(terms, op.getInputs())) {
      int64_t rank = cast<RankedTensorType>(input.getType()).getRank();
      std::optional<std::string> label = spell(term, rank - (int64_t)term.size() + 3);
      if (!label || (int64_t)label->size() != rank)
        return rewriter.notifyMatchFailure(op, "a term of its equation does not fit its operand");
      std::string digits = label->substr(0, 0);
      for (char c : *label)
        if (llvm::isDigit(c))
          digits += c;
      if (digits.size() > ellipsis.size())
        ellipsis = digits;
      all += *label;
      labels.push_back(*label);
    }
    std::string result;
    if (isExplicit) {
      std::optional<std::string> spelt = spell(right, ellipsis.size());
      if (!spelt)
        return rewriter.notifyMatchFailure(op, "its equation has an ellipsis of too many dimensions");
      result = *spelt;
    } else {
      // The ellipsis, then the letters that occur once, in alphabetical order.
      result = ellipsis;
      for (char c = 'A'; c <= 'z'; ++c)
        if (llvm::isAlpha(c) && llvm::count(all, c) == 1)
          result += c;
    }
    return rewrite(op, rewriter, labels, result);
  }

private:
  /// A term with digits in place of `...`, which stands for so many dimensions.
  static std::optional<std::string> spell(StringRef term, int64_t dimensions) {
    std::string result;
    while (!term.empty()) {
      if (!term.consume_front("...")) {
        result += term.front();
        term = term.drop_front();
        continue;
      }
      if (dimensions < 0 || dimensions > 9)
        return std::nullopt;
      for (int64_t i = dimensions - 1; i >= 0; --i)
        result += static_cast<char>('0' + i);
    }
    return result;
  }

  static LogicalResult rewrite(onnx::EinsumOp op, PatternRewriter &rewriter, ArrayRef<std::string> labels, StringRef result) {
    auto type = cast<RankedTensorType>(op.getOutput().getType());
    if (static_cast<int64_t>(result.size()) != type.getRank())
      return rewriter.notifyMatchFailure(op, "the result of its equation has another rank");
    std::string loops(result);
    for (StringRef label : labels)
      for (char c : label)
        if (loops.find(c) == std::string::npos)
          loops += c;
    SmallVector<int64_t> sizes(loops.size(), 1);
    for (auto [label, input] : llvm::zip_equal(labels, op.getInputs()))
      for (auto [c, size] : llvm::zip_equal(label, cast<RankedTensorType>(input.getType()).getShape()))
        if (int64_t &known = sizes[loops.find(c)]; size != 1 || known == 1)
          known = size;
    SmallVector<AffineMap> maps;
    SmallVector<Value> inputs;
    MLIRContext *context = rewriter.getContext();
    for (auto [label, input] : llvm::zip_equal(labels, op.getInputs())) {
      SmallVector<AffineExpr> exprs;
      SmallVector<int64_t> kept;
      for (auto [c, size] : llvm::zip_equal(label, cast<RankedTensorType>(input.getType()).getShape())) {
        size_t loop = loops.find(c);
        if (size == 1 && sizes[loop] != 1)
          continue;
        kept.push_back(size);
        exprs.push_back(getAffineDimExpr(loop, context));
      }
      inputs.push_back(reshape(rewriter, op.getLoc(), input, kept));
      maps.push_back(AffineMap::get(loops.size(), 0, exprs, context));
    }
    SmallVector<AffineExpr> outer;
    for (size_t i = 0; i < result.size(); ++i)
      outer.push_back(getAffineDimExpr(i, context));
    maps.push_back(AffineMap::get(loops.size(), 0, outer, context));
    rewriter.replaceOp(op, contract(rewriter, op.getLoc(), inputs, maps, type));
    return success();
  }
};

} // namespace

void populateContractionPatterns(RewritePatternSet &patterns) {
  // The named ops of linalg come first.
  patterns.add<GeneralMatMulPattern>(patterns.getContext(), /*benefit=*/0);
  patterns.add<EinsumPattern>(patterns.getContext());
}

} // namespace elutq::normalize
