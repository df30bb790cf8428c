//===- Bandwidth.h - How fast memory can be read ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_BENCHMARKS_KERNELS_BANDWIDTH_H
#define ELUTQ_BENCHMARKS_KERNELS_BANDWIDTH_H

#include "MappedFile.h"
#include "ThreadPool.h"

namespace elutq::bench {

/// Reads a large buffer of huge pages with all threads of a pool.
class Bandwidth {
public:
  /// `bytes` should be many times the last-level cache.
  static runtime::Status create(size_t bytes, Bandwidth &result);

  /// Bytes per second of one pass over the next part of the buffer.
  double measure(runtime::ThreadPool &pool);

private:
  runtime::Mapping memory;
  size_t partBytes = 0, next = 0;
};

} // namespace elutq::bench

#endif // ELUTQ_BENCHMARKS_KERNELS_BANDWIDTH_H
