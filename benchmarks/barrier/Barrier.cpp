//===- Barrier.cpp - What a parallel task costs besides its work ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// elutq-barrier [THREADS]: the time from the hand-over of a task to its end, for tasks without work (both barriers and
// nothing else) and for the smallest work that keeps all threads busy, one block of 2 KiB of each thread's own cache per item.
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace elutq::runtime;

static void doNothing(int64_t, int64_t, uint8_t *, const uint8_t *, uint8_t *, const int64_t *) {}

static void addBlocks(int64_t begin, int64_t end, uint8_t *arena, const uint8_t *, uint8_t *, const int64_t *args) {
  for (int64_t i = begin; i < end; ++i)
    for (int64_t byte = 0; byte < args[0]; ++byte)
      ++arena[i * args[0] + byte];
}

/// Median and 99th percentile of `rounds` runs, in microseconds.
static void measure(const char *name, ThreadPool &pool, elutq_task task, int64_t items, std::vector<uint8_t> &memory,
                    int64_t bytes) {
  constexpr size_t kRounds = 20000;
  int64_t args[] = {bytes};
  std::vector<int64_t> times(kRounds);
  for (int64_t &time : times) {
    int64_t begin = Trace::now();
    pool.run(task, items, memory.data(), nullptr, nullptr, args);
    time = Trace::now() - begin;
  }
  std::sort(times.begin(), times.end());
  std::printf("%-28s median %7.3f us, 99 %% %7.3f us\n", name, static_cast<double>(times[kRounds / 2]) / 1e3,
              static_cast<double>(times[kRounds * 99 / 100]) / 1e3);
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  if (threads < 1) {
    std::fprintf(stderr, "error: expected a number of threads, but got '%s'\n", argv[1]);
    return 2;
  }
  ThreadPool pool(threads);
  constexpr int64_t kItems = 48, kBytes = 2048;
  std::vector<uint8_t> memory(static_cast<size_t>(kItems * kBytes), 0);
  std::printf("%d threads\n", pool.getThreads());
  measure("one item per thread, no work", pool, doNothing, pool.getThreads(), memory, 0);
  measure("48 items, no work", pool, doNothing, kItems, memory, 0);
  measure("48 items of 2 KiB", pool, addBlocks, kItems, memory, kBytes);
  return 0;
}
