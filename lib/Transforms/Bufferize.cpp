//===- Bufferize.cpp - Bufferize entries side by side ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/IR/Threading.h"

namespace elutq {
#define GEN_PASS_DEF_BUFFERIZEPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

/// A function in a module of its own, and the op that it stood before, if any.
struct Part {
  func::FuncOp function;
  Operation *next;
  OwningOpRef<ModuleOp> module;
};

struct Bufferize : elutq::impl::BufferizePassBase<Bufferize> {
  using BufferizePassBase::BufferizePassBase;

  void runOnOperation() override;
};

LogicalResult bufferize(Part &part) {
  WalkResult symbols = part.function.walk([](SymbolUserOpInterface user) {
    user.emitError("expected a function that uses no other one and no global of its module");
    return WalkResult::interrupt();
  });
  if (symbols.wasInterrupted())
    return failure();
  bufferization::OneShotBufferizationOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.setFunctionBoundaryTypeConversion(bufferization::LayoutMapOption::IdentityLayoutMap);
  bufferization::BufferizationState state;
  return bufferization::runOneShotModuleBufferize(*part.module, options, state);
}

/// The constants of all functions, each once.
class Constants {
public:
  explicit Constants(ModuleOp module) : symbols(module) {}

  /// Takes those of `part`, and lets its function use their names.
  void take(Part &part) {
    DenseMap<StringAttr, StringAttr> names;
    for (auto global : llvm::make_early_inc_range(part.module->getOps<memref::GlobalOp>())) {
      StringAttr name = global.getSymNameAttr();
      auto [place, isNew] = globals.try_emplace({global.getType(), global.getInitialValueAttr()}, global);
      if (isNew) {
        global->remove();
        symbols.insert(global, part.function->getBlock()->begin());
      }
      names[name] = place->second.getSymNameAttr();
    }
    part.function.walk([&](memref::GetGlobalOp op) { op.setName(names.lookup(op.getNameAttr().getAttr())); });
  }

private:
  SymbolTable symbols;
  DenseMap<std::pair<Type, Attribute>, memref::GlobalOp> globals;
};

} // namespace

void Bufferize::runOnOperation() {
  SmallVector<Part> parts;
  for (auto function : getOperation().getOps<func::FuncOp>())
    if (!function.isExternal())
      parts.push_back({function, function->getNextNode(), ModuleOp::create(function.getLoc())});
  for (Part &part : parts)
    part.function->moveBefore(part.module->getBody(), part.module->getBody()->end());
  numFunctions += parts.size();
  LogicalResult result = failableParallelForEach(&getContext(), parts, bufferize);

  Block *body = getOperation().getBody();
  for (Part &part : llvm::reverse(parts))
    part.function->moveBefore(body, part.next ? part.next->getIterator() : body->end());
  if (failed(result))
    return signalPassFailure();
  Constants constants(getOperation());
  for (Part &part : parts)
    constants.take(part);
}
