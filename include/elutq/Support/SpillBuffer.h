//===- SpillBuffer.h - Large buffers outside the heap -----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_SPILLBUFFER_H
#define ELUTQ_SUPPORT_SPILLBUFFER_H

#include "elutq/Support/ReleasePages.h"
#include "mlir/IR/AsmState.h"
#include "llvm/Support/Error.h"

namespace elutq {

/// Bytes that live in an unlinked temporary file once they are large: what is not in use can leave memory, so that the
/// memory of a compile is bounded by the largest tensor and not by the model. Small buffers are on the heap.
class SpillBuffer {
public:
  /// A buffer of zeros, aligned to 64 bytes.
  static llvm::Expected<SpillBuffer> create(size_t size);

  llvm::MutableArrayRef<char> getData() { return blob.getMutableData(); }
  template <typename T>
  T *getDataAs() {
    return reinterpret_cast<T *>(getData().data());
  }

  /// Hands the buffer over, as the storage of a resource of the IR.
  mlir::AsmResourceBlob takeBlob() && { return std::move(blob); }

private:
  explicit SpillBuffer(mlir::AsmResourceBlob blob) : blob(std::move(blob)) {}

  mlir::AsmResourceBlob blob;
};

} // namespace elutq

#endif // ELUTQ_SUPPORT_SPILLBUFFER_H
