//===- Parallel.h - Run blocks of rows on several threads --------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_QUANTIZE_PARALLEL_H
#define ELUTQ_LIB_QUANTIZE_PARALLEL_H

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace elutq::quantize {

/// Calls `work(block)` once for each block in `[0, blocks)`, on up to `threads` threads (0: one per processor).
template <typename Work>
void forEachBlock(int64_t blocks, unsigned threads, const Work &work) {
  if (threads == 0)
    threads = std::max(1u, std::thread::hardware_concurrency());
  threads = static_cast<unsigned>(std::min<int64_t>(threads, blocks));
  std::atomic<int64_t> next{0};
  auto worker = [&] {
    for (int64_t block = next.fetch_add(1); block < blocks; block = next.fetch_add(1))
      work(block);
  };
  std::vector<std::thread> pool;
  for (unsigned i = 1; i < threads; ++i)
    pool.emplace_back(worker);
  worker();
  for (std::thread &thread : pool)
    thread.join();
}

} // namespace elutq::quantize

#endif // ELUTQ_LIB_QUANTIZE_PARALLEL_H
