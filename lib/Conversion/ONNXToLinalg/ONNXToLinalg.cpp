//===- ONNXToLinalg.cpp - convert-onnx-to-linalg --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/ONNXToLinalg.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringSet.h"

namespace elutq {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

bool elutq::normalize::isLoweredToLinalg(StringRef domain, StringRef name) {
  static const llvm::StringSet<> names{
      "CastLike", "Clip", "Gelu", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Range", "Relu", "Softmax", "Softplus", "Swish"};
  return domain.empty() && names.contains(name);
}

namespace {

/// Keeps why each op was not converted, and counts those that were.
struct ReasonListener : RewriterBase::Listener {
  void notifyMatchFailure(Location loc, function_ref<void(Diagnostic &)> reasonCallback) override {
    Diagnostic diagnostic(loc, DiagnosticSeverity::Remark);
    reasonCallback(diagnostic);
    reasons[loc] = diagnostic.str();
  }
  void notifyPatternEnd(const Pattern &, LogicalResult status) override { numConverted += succeeded(status); }

  llvm::DenseMap<Location, std::string> reasons;
  int64_t numConverted = 0;
};

struct ConvertONNXToLinalgPass : elutq::impl::ConvertONNXToLinalgPassBase<ConvertONNXToLinalgPass> {
  void runOnOperation() override {
    Operation *root = getOperation();
    foldConstants(root);
    eraseUnused(root);
    RewritePatternSet patterns(&getContext());
    populateElementwisePatterns(patterns);
    populateLinearPatterns(patterns);
    populateNormalizationPatterns(patterns);
    populateReductionPatterns(patterns);
    populateShapePatterns(patterns);
    populateIndexingPatterns(patterns);
    populateScatterPatterns(patterns);
    populateContractionPatterns(patterns);
    populateQuantizationPatterns(patterns);
    populateWindowPatterns(patterns);
    populateResizePatterns(patterns);
    ReasonListener listener;
    walkAndApplyPatterns(root, std::move(patterns), &listener);
    numConverted += listener.numConverted;
    eraseUnused(root);
    if (failed(reportRemaining(root, listener)))
      signalPassFailure();
  }

private:
  static void foldConstants(Operation *root) {
    IRRewriter rewriter(root->getContext());
    SmallVector<Operation *> ops;
    root->walk([&](Operation *op) {
      if (isa_and_present<onnx::ONNXDialect>(op->getDialect()))
        ops.push_back(op);
    });
    for (Operation *op : ops)
      (void)foldConstantOp(rewriter, op);
  }

  /// Backwards, so that whole unused subgraphs go. No ONNX operator has a side effect.
  static void eraseUnused(Operation *root) {
    root->walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
      if (isOpTriviallyDead(op) || (isUnsupported(op) && op->use_empty()))
        op->erase();
    });
  }

  /// What the importer makes of an operator that the onnx dialect lacks.
  static bool isUnsupported(Operation *op) { return op->getName().getStringRef().starts_with("unsupported."); }

  /// Ops without a static shape that depend on a value without one.
  static llvm::SmallPtrSet<Operation *, 16> findConsequences(Operation *root) {
    llvm::SmallPtrSet<Operation *, 16> consequences, unknown;
    auto isUnknown = [&](Value value) {
      auto shaped = dyn_cast<ShapedType>(value.getType());
      return (shaped && !shaped.hasStaticShape()) || (value.getDefiningOp() && unknown.contains(value.getDefiningOp()));
    };
    root->walk([&](Operation *op) {
      bool depends = llvm::any_of(op->getOperands(), isUnknown);
      if (depends || failed(verifyStatic(op)))
        unknown.insert(op);
      auto reason = op->getAttrOfType<StringAttr>("reason");
      if (isUnsupported(op) ? reason && reason.empty() : depends && failed(verifyStatic(op)))
        consequences.insert(op);
    });
    return consequences;
  }

  /// One error that names all ops that could not be converted.
  static LogicalResult reportRemaining(Operation *root, const ReasonListener &listener) {
    SmallVector<Operation *> remaining;
    root->walk([&](Operation *op) {
      if (isa_and_present<onnx::ONNXDialect>(op->getDialect()) && !isa<onnx::NoneOp>(op))
        remaining.push_back(op);
      else if (isUnsupported(op))
        remaining.push_back(op);
    });
    if (remaining.empty())
      return success();
    // What depends on a value without a known shape has none either, which is no news.
    llvm::SmallPtrSet<Operation *, 16> consequences = findConsequences(root);
    if (llvm::any_of(remaining, [&](Operation *op) { return !consequences.contains(op); }))
      llvm::erase_if(remaining, [&](Operation *op) { return consequences.contains(op); });
    InFlightDiagnostic diagnostic = emitError(root->getLoc())
                                    << "cannot convert " << remaining.size() << " operation" << (remaining.size() == 1 ? "" : "s")
                                    << " of the model";
    for (Operation *op : remaining) {
      Diagnostic &note = diagnostic.attachNote(op->getLoc());
      StringRef operation = op->getName().getStringRef();
      operation.consume_front("unsupported.");
      note << "'" << operation << "'";
      if (StringRef name = getNodeName(op->getLoc()); !name.empty())
        note << " (node \"" << name << "\")";
      auto known = listener.reasons.find(op->getLoc());
      auto imported = op->getAttrOfType<StringAttr>("reason");
      note << ": "
           << (isUnsupported(op) && imported             ? imported.getValue()
               : known == listener.reasons.end() ? StringRef("this operator is not supported")
                                                 : StringRef(known->second));
    }
    return failure();
  }
};

} // namespace
