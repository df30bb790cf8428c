//===- ProductMemory.h - What compiled products read and write --*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TUNE_PRODUCTMEMORY_H
#define ELUTQ_TUNE_PRODUCTMEMORY_H

#include "elutq/Tune/Product.h"

#include <memory>

namespace elutq::tune {

/// Bytes of weights that no cache holds.
uint64_t getStreamBytes();

struct MemoryOptions {
  /// One copy of the weights, over and over, in place of copies that exceed the caches many times.
  bool inCache = false;
  /// Anonymous memory of huge pages for the weights, in place of a mapped file.
  bool hugePages = false;
};

/// Copies of a product's weights, as the runtime maps them, its activations and its results. Products that differ in their
/// kernels only can share them.
class ProductMemory {
public:
  static llvm::Expected<ProductMemory> create(const Product &product, const ProductOptions &options, const MemoryOptions &how);
  ProductMemory(ProductMemory &&other);
  ~ProductMemory();

  /// Makes room for another product that is to share this; it has the same options but for its kernel.
  llvm::Error reserve(const Product &product);

  /// Calls `product`, each time with the next copy of the weights, on the thread pool of the calling thread. Returns the
  /// seconds of one call.
  double run(const Product &product, int64_t calls);

  int64_t getCopies() const;
  /// How much of the weights lies in huge pages, 0 to 1. A mapped file has them where the system found free memory in one piece.
  double getHugePageShare() const;
  /// The activations `[m][k]` of the first call, and the results `[m][n]` of the latest one.
  const float *getInput() const;
  const float *getResult() const;

private:
  struct Impl;
  explicit ProductMemory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace elutq::tune

#endif // ELUTQ_TUNE_PRODUCTMEMORY_H
