//===- ThreadPool.h - Runs the parallel tasks of compiled code --*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_THREADPOOL_H
#define ELUTQ_RUNTIME_LIB_THREADPOOL_H

#include "Trace.h"
#include "elutq/runtime.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace elutq::runtime {

/// The threads of one session. The thread that calls run() is thread 0 and works too.
///
/// The items of a task are cut into contiguous pieces, one per thread, always the same way, so that a thread finds in its
/// cache what it wrote for the task before. A thread takes its piece in chunks that get smaller, and then chunks from the
/// ends of the others' pieces: one that the system holds up, or that still sleeps, delays the task by one chunk. Which
/// thread runs an item has no influence on results.
///
/// Handing over costs a store per thread while workers spin; after kSpinNanoseconds without work they sleep in the
/// kernel. run() takes no lock and allocates nothing.
class ThreadPool {
public:
  /// How long a thread spins before it sleeps: longer than the gap between two tasks of a model, shorter than what
  /// would disturb other programs.
  static constexpr int64_t kSpinNanoseconds = 100'000;

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Threads with the calling one. Fewer than asked for when the system refuses to start more.
  int getThreads() const { return static_cast<int>(seats.size()); }

  /// Records all tasks from now on in `trace`; null: none.
  void setTrace(Trace *newTrace) { trace = newTrace; }

  /// Runs task over [0, count); returns when all items are done. Only one thread may call it at a time, and a task
  /// must not call it.
  void run(elutq_task task, int64_t count, uint8_t *arena, const uint8_t *weights, uint8_t *cache, const int64_t *args);

  /// The first item of a thread's piece.
  static int64_t getBegin(int64_t count, int thread, int threads) {
    // count / threads items each, and one more for the first count % threads: no product that could overflow.
    int64_t each = count / threads, rest = count % threads;
    return thread * each + (thread < rest ? thread : rest);
  }

private:
  /// Items of a piece: the first and the one behind the last that nobody has taken. Both are in one word, which is
  /// exchanged as a whole.
  struct Range {
    uint32_t begin, end;
  };

  /// What belongs to one thread, on cache lines of its own: 128 bytes, as the hardware prefetches lines in pairs.
  struct alignas(128) Seat {
    std::atomic<uint32_t> ticket{0}; ///< Changes when there is work
    std::atomic<uint32_t> asleep{0}; ///< 1 while the worker may be in the kernel
    std::atomic<Range> range{Range{0, 0}};
    std::thread thread; ///< None for the caller
  };

  struct Job {
    elutq_task task;
    int64_t count;
    uint32_t units; ///< Items, or runs of items where there are very many
    uint8_t *arena;
    const uint8_t *weights;
    uint8_t *cache;
    const int64_t *args;
    Trace *trace;
    int32_t call; ///< Its number in the trace
  };

  void work(int index);
  void waitForTicket(Seat &seat, uint32_t seen);
  void waitForWorkers();
  uint32_t runChunks(int thread);
  static bool take(std::atomic<Range> &range, bool fromFront, Range &chunk);

  std::vector<std::unique_ptr<Seat>> seats;
  Trace *trace = nullptr;
  /// Written while `pending` is 0, read by who has taken a chunk and not yet subtracted it from `pending`.
  alignas(128) Job job = {};
  std::atomic<bool> stopping{false};
  alignas(128) std::atomic<uint32_t> pending{0}; ///< Units that are not done
  std::atomic<uint32_t> callerAsleep{0};
};

/// The pool elutq_parallel_for uses on this thread, null for none. Set while a session runs compiled code.
extern thread_local ThreadPool *currentPool;

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_THREADPOOL_H
