//===- HLQToLLVM.cpp - hlq vector ops as instructions --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/HLQToLLVM.h"
#include "../HLQLowering.h"
#include "elutq/Conversion/Passes.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "llvm/ADT/StringSwitch.h"

namespace elutq {
#define GEN_PASS_DEF_CONVERTHLQTOLLVMPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq::hlq;

namespace {

struct ConvertHLQToLLVMPass : elutq::impl::ConvertHLQToLLVMPassBase<ConvertHLQToLLVMPass> {
  using ConvertHLQToLLVMPassBase::ConvertHLQToLLVMPassBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    if (failed(populateHLQToLLVMPatterns(patterns, isa))) {
      getOperation()->emitError("expected isa to be avx512amx, avx512vbmi, avx512bw, avx2, neon_dotprod, neon or generic, but got ")
          << isa;
      return signalPassFailure();
    }
    getOperation()->walk([&](Operation *op) { numLowered += llvm::isa<LookupOp, AccumulateOp, DotOp>(op); });
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace

LogicalResult elutq::hlq::populateHLQToLLVMPatterns(RewritePatternSet &patterns, StringRef isa) {
  auto populate = llvm::StringSwitch<void (*)(RewritePatternSet &)>(isa)
                      .Cases({"avx512amx", "avx512vbmi"}, [](auto &p) { populateHLQToLLVMX86Patterns(p, X86Level::AVX512VBMI); })
                      .Case("avx512bw", [](auto &p) { populateHLQToLLVMX86Patterns(p, X86Level::AVX512BW); })
                      .Case("avx2", [](auto &p) { populateHLQToLLVMX86Patterns(p, X86Level::AVX2); })
                      .Case("neon_dotprod", [](auto &p) { populateHLQToLLVMAArch64Patterns(p, true); })
                      .Case("neon", [](auto &p) { populateHLQToLLVMAArch64Patterns(p, false); })
                      .Case("generic", [](auto &p) { populateHLQToLLVMGenericPatterns(p); })
                      .Default(nullptr);
  if (!populate)
    return failure();
  populate(patterns);
  return success();
}
