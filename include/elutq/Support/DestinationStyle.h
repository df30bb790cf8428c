//===- DestinationStyle.h - What destination-style ops share ----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_DESTINATIONSTYLE_H
#define ELUTQ_SUPPORT_DESTINATIONSTYLE_H

#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace elutq {

using MemoryEffectList = llvm::SmallVectorImpl<mlir::SideEffects::EffectInstance<mlir::MemoryEffects::Effect>>;

/// Memory effects: a memref input is read, a memref init written, and read as well if `readsInits`; tensors have none.
void getDestinationStyleEffects(mlir::DestinationStyleOpInterface op, bool readsInits, MemoryEffectList &effects);

/// Every result has the shape of its init.
llvm::LogicalResult reifyInitShapes(mlir::DestinationStyleOpInterface op, mlir::OpBuilder &builder,
                                    mlir::ReifiedRankedShapedTypeDims &shapes);

/// Extracts the part of `tensor` that `offsets` and `sizes` name in its leading dims; the other dims are taken whole.
mlir::Value extractLeadingSlice(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value tensor,
                                llvm::ArrayRef<mlir::OpFoldResult> offsets, llvm::ArrayRef<mlir::OpFoldResult> sizes,
                                llvm::SmallVectorImpl<mlir::Operation *> &slices);

/// Replaces tensor operands by their buffers and results by the buffers of their inits.
llvm::LogicalResult bufferizeDestinationStyle(mlir::DestinationStyleOpInterface op, mlir::RewriterBase &rewriter,
                                              const mlir::bufferization::BufferizationOptions &options,
                                              mlir::bufferization::BufferizationState &state);

/// Bufferization of a destination-style op whose inits are overwritten (or, with `ReadsInits`, updated) in place.
template <typename ConcreteOp, bool ReadsInits = false>
struct DestinationStyleBufferization
    : mlir::bufferization::DstBufferizableOpInterfaceExternalModel<DestinationStyleBufferization<ConcreteOp, ReadsInits>,
                                                                   ConcreteOp> {
  bool bufferizesToMemoryRead(mlir::Operation *op, mlir::OpOperand &operand,
                              const mlir::bufferization::AnalysisState &) const {
    return ReadsInits || !llvm::cast<mlir::DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }

  llvm::LogicalResult bufferize(mlir::Operation *op, mlir::RewriterBase &rewriter,
                                const mlir::bufferization::BufferizationOptions &options,
                                mlir::bufferization::BufferizationState &state) const {
    return bufferizeDestinationStyle(llvm::cast<mlir::DestinationStyleOpInterface>(op), rewriter, options, state);
  }
};

} // namespace elutq

#endif // ELUTQ_SUPPORT_DESTINATIONSTYLE_H
