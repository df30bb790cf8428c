//===- BufferizableOpInterfaceImpl.cpp - Bufferization of the hlq ops -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/Transforms/BufferizableOpInterfaceImpl.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Support/DestinationStyle.h"

using namespace mlir;

void elutq::hlq::registerBufferizableOpInterfaceExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, HLQDialect *) {
    LinearOp::attachInterface<DestinationStyleBufferization<LinearOp>>(*context);
    GatherOp::attachInterface<DestinationStyleBufferization<GatherOp>>(*context);
    BuildLutOp::attachInterface<DestinationStyleBufferization<BuildLutOp>>(*context);
    LutMatmulOp::attachInterface<DestinationStyleBufferization<LutMatmulOp>>(*context);
    QuantizeRowsOp::attachInterface<DestinationStyleBufferization<QuantizeRowsOp>>(*context);
    CodeMatmulOp::attachInterface<DestinationStyleBufferization<CodeMatmulOp>>(*context);
    PackedGatherOp::attachInterface<DestinationStyleBufferization<PackedGatherOp>>(*context);
  });
}
