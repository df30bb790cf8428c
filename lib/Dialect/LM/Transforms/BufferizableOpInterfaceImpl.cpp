//===- BufferizableOpInterfaceImpl.cpp - Bufferization of the lm ops ------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/LM/Transforms/BufferizableOpInterfaceImpl.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Support/DestinationStyle.h"

using namespace mlir;

void elutq::lm::registerBufferizableOpInterfaceExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LMDialect *) {
    GatherOp::attachInterface<DestinationStyleBufferization<GatherOp>>(*context);
    // The slots that are not written keep their tokens.
    CacheAppendOp::attachInterface<DestinationStyleBufferization<CacheAppendOp, /*ReadsInits=*/true>>(*context);
    AttentionOp::attachInterface<DestinationStyleBufferization<AttentionOp>>(*context);
    AttentionPartsOp::attachInterface<DestinationStyleBufferization<AttentionPartsOp>>(*context);
    MergePartsOp::attachInterface<DestinationStyleBufferization<MergePartsOp>>(*context);
  });
}
