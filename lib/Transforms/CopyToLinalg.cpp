//===- CopyToLinalg.cpp - Copies of buffers as loops ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace elutq {
#define GEN_PASS_DEF_COPYTOLINALGPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;

namespace {

struct CopyToLinalg : elutq::impl::CopyToLinalgPassBase<CopyToLinalg> {
  using CopyToLinalgPassBase::CopyToLinalgPassBase;

  void runOnOperation() override {
    getOperation()->walk([&](memref::CopyOp copy) {
      OpBuilder builder(copy);
      linalg::makeMemRefCopyOp(builder, copy.getLoc(), copy.getSource(), copy.getTarget());
      copy.erase();
      ++numCopies;
    });
  }
};

} // namespace
