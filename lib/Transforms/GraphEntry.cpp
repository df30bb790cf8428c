//===- GraphEntry.cpp - A graph as an entry like a language model's -------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace elutq {
#define GEN_PASS_DEF_GRAPHENTRYPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct GraphEntry : elutq::impl::GraphEntryPassBase<GraphEntry> {
  using GraphEntryPassBase::GraphEntryPassBase;

  void runOnOperation() override {
    auto graph = getOperation().lookupSymbol<func::FuncOp>("main_graph");
    if (!graph || graph.isExternal() || !graph.getBody().hasOneBlock()) {
      getOperation()->emitError("expected a function main_graph with one block");
      return signalPassFailure();
    }
    for (Type type : llvm::concat<const Type>(graph.getArgumentTypes(), graph.getResultTypes()))
      if (auto tensor = dyn_cast<RankedTensorType>(type); !tensor || !tensor.hasStaticShape()) {
        graph.emitError("expected tensors of static shape, but got ") << type;
        return signalPassFailure();
      }
    numOutputs += graph.getNumResults();
    addArguments(graph);
    graph.setName(entry);
    graph->setAttr("elutq.graph", UnitAttr::get(&getContext()));
  }

private:
  static void addArguments(func::FuncOp graph) {
    Block &body = graph.getBody().front();
    Location loc = graph.getLoc();
    OpBuilder b(graph.getContext());
    body.insertArgument(0u, RankedTensorType::get({1}, b.getI64Type()), loc);
    body.insertArgument(1u, b.getIndexType(), loc);
    body.insertArgument(2u, b.getIndexType(), loc);

    // No state is left behind: the number that an entry computes has no meaning here.
    Operation *ret = body.getTerminator();
    b.setInsertionPoint(ret);
    Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
    Value empty = tensor::EmptyOp::create(b, loc, ArrayRef<int64_t>{1}, b.getF32Type());
    SmallVector<Value> results{linalg::FillOp::create(b, loc, ValueRange{zero}, ValueRange{empty}).getResult(0)};
    for (Value output : ret->getOperands()) {
      Value place = body.addArgument(output.getType(), loc);
      results.push_back(bufferization::MaterializeInDestinationOp::create(b, loc, output, place)->getResult(0));
    }
    ret->setOperands(results);
    graph.setFunctionType(b.getFunctionType(body.getArgumentTypes(), ValueRange(results).getTypes()));
    graph.setAllArgAttrs(SmallVector<Attribute>(body.getNumArguments(), b.getDictionaryAttr({})));
    graph.setAllResultAttrs(SmallVector<Attribute>(results.size(), b.getDictionaryAttr({})));
  }
};

} // namespace
