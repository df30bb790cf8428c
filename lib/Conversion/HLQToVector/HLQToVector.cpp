//===- HLQToVector.cpp - hlq ops as loops over vectors -------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/HLQToVector.h"
#include "../HLQLowering.h"
#include "elutq/Conversion/Passes.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace elutq {
#define GEN_PASS_DEF_CONVERTHLQTOVECTORPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq::hlq;

namespace {

struct ConvertHLQToVectorPass : elutq::impl::ConvertHLQToVectorPassBase<ConvertHLQToVectorPass> {
  using ConvertHLQToVectorPassBase::ConvertHLQToVectorPassBase;

  void runOnOperation() override {
    auto countOps = [&] {
      int64_t count = 0;
      getOperation()->walk([&](Operation *op) {
        count += isa<BuildLutOp, LutMatmulOp, QuantizeRowsOp, CodeMatmulOp, PackedGatherOp>(op);
      });
      return count;
    };
    int64_t before = countOps();
    RewritePatternSet patterns(&getContext());
    HLQToVectorOptions options;
    options.tableBytes = tableBytes;
    populateHLQToVectorPatterns(patterns, options);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    numVectorized += before - countOps();
    if (failed(verifyLowered<BuildLutOp, LutMatmulOp, QuantizeRowsOp, CodeMatmulOp, PackedGatherOp>(
            getOperation(), "memref operands, a static number of columns and a multiple of 16 rows")))
      signalPassFailure();
  }
};

} // namespace

void elutq::hlq::populateHLQToVectorPatterns(RewritePatternSet &patterns, const HLQToVectorOptions &options,
                                             PatternBenefit benefit) {
  populateLutMatmulToVectorPatterns(patterns, options, benefit);
  populateCodeMatmulToVectorPatterns(patterns, options, benefit);
  populatePlaneMatmulToVectorPatterns(patterns, options, benefit);
  populateBuildLutToVectorPatterns(patterns, benefit);
  populateQuantizeRowsToVectorPatterns(patterns, benefit);
  populatePackedGatherToVectorPatterns(patterns, benefit);
}
