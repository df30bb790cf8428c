//===- VerifyLLVM.cpp - What code generation may rely on ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"

namespace elutq {
#define GEN_PASS_DEF_VERIFYLLVMPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct VerifyLLVM : elutq::impl::VerifyLLVMPassBase<VerifyLLVM> {
  using VerifyLLVMPassBase::VerifyLLVMPassBase;

  /// One error for all that remains.
  LogicalResult verifyDialect() {
    Operation *first = nullptr;
    int64_t others = 0;
    // A function comes before what is in it, and its signature is why its return could not be converted.
    getOperation()->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op == getOperation() || isa_and_nonnull<LLVM::LLVMDialect>(op->getDialect()))
        return;
      // A cast remains because of another op; it is named where there is no other.
      bool better = !first || (isa<UnrealizedConversionCastOp>(first) && !isa<UnrealizedConversionCastOp>(op));
      others += first != nullptr;
      if (better)
        first = op;
    });
    if (!first)
      return success();
    InFlightDiagnostic error = first->emitOpError("remains after the lowering to the llvm dialect");
    if (isa<UnrealizedConversionCastOp>(first))
      error << ": a cast from " << first->getOperandTypes() << " to " << first->getResultTypes();
    if (others > 0)
      error << ", with " << others << " other op" << (others > 1 ? "s" : "");
    return failure();
  }

  /// Memory comes from the arena: a call has no other.
  LogicalResult verifyCall(LLVM::CallOp call) {
    StringRef callee = call.getCallee().value_or("");
    if (!llvm::is_contained({"malloc", "aligned_alloc", "free", "memrefCopy"}, callee))
      return success();
    return call.emitOpError("expected no memory management in compiled code, but got a call of '") << callee << "'";
  }

  /// Adds the bytes of `alloca` to those of its function.
  LogicalResult verifyAlloca(LLVM::AllocaOp alloca, int64_t &bytes) {
    auto function = alloca->getParentOfType<LLVM::LLVMFuncOp>();
    if (!function || alloca->getBlock() != &function.getBody().front())
      return alloca.emitOpError("expected stack memory in the first block of a function only: elsewhere it grows with every "
                                "iteration");
    APInt count;
    if (!matchPattern(alloca.getArraySize(), m_ConstantInt(&count)))
      return alloca.emitOpError("expected stack memory of a constant size");
    bytes += count.getSExtValue() * static_cast<int64_t>(DataLayout::closest(alloca).getTypeSize(alloca.getElemType()));
    if (bytes > maxStack)
      return alloca.emitOpError("expected at most ")
             << maxStack.getValue() << " bytes of stack memory in '" << function.getName() << "', but got " << bytes;
    return success();
  }

  LogicalResult verifyVectors(Operation *op) {
    for (Type type : op->getResultTypes()) {
      auto vector = dyn_cast<VectorType>(type);
      if (!vector || !vector.getElementType().isIntOrFloat())
        continue;
      int64_t bytes = vector.getNumElements() * vector.getElementTypeBitWidth() / 8;
      if (bytes > maxVector)
        return op->emitOpError("expected vectors of at most ") << maxVector.getValue() << " bytes, but got " << type;
    }
    return success();
  }

  void runOnOperation() override {
    if (failed(verifyDialect()))
      return signalPassFailure();
    DenseMap<Operation *, int64_t> stackBytes;
    WalkResult result = getOperation()->walk([&](Operation *op) {
      numFunctions += isa<LLVM::LLVMFuncOp>(op);
      if (auto call = dyn_cast<LLVM::CallOp>(op); call && failed(verifyCall(call)))
        return WalkResult::interrupt();
      if (auto alloca = dyn_cast<LLVM::AllocaOp>(op);
          alloca && failed(verifyAlloca(alloca, stackBytes[op->getParentOfType<LLVM::LLVMFuncOp>()])))
        return WalkResult::interrupt();
      return failed(verifyVectors(op)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
