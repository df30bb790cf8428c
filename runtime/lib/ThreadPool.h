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
/// A task is cut into contiguous pieces, one per thread, always the same way, so that a thread finds in its cache what
/// it wrote for the task before. Handing over costs a store per thread while workers spin; after kSpinNanoseconds
/// without work they sleep in the kernel. run() takes no lock and allocates nothing.
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
  int getThreads() const { return static_cast<int>(workers.size()) + 1; }

  /// Records all tasks from now on in `trace`; null: none.
  void setTrace(Trace *newTrace) { trace = newTrace; }

  /// Runs task over [0, count); returns when all pieces are done. Only one thread may call it at a time, and a task
  /// must not call it.
  void run(elutq_task task, int64_t count, uint8_t *arena, const uint8_t *weights, uint8_t *cache, const int64_t *args);

  /// The first item of a thread's piece.
  static int64_t getBegin(int64_t count, int thread, int threads) {
    // count / threads items each, and one more for the first count % threads: no product that could overflow.
    int64_t each = count / threads, rest = count % threads;
    return thread * each + (thread < rest ? thread : rest);
  }

private:
  /// What one worker listens to, on cache lines of its own: 128 bytes, as the hardware prefetches lines in pairs.
  struct alignas(128) Mailbox {
    std::atomic<uint32_t> ticket{0}; ///< Changes when there is work
    std::atomic<uint32_t> asleep{0}; ///< 1 while the worker may be in the kernel
    std::thread thread;
  };

  struct Job {
    elutq_task task;
    int64_t count;
    uint8_t *arena;
    const uint8_t *weights;
    uint8_t *cache;
    const int64_t *args;
    int pieces;
    Trace *trace;
    int32_t call; ///< Its number in the trace
  };

  void work(int index, Mailbox &mailbox);
  void waitForTicket(Mailbox &mailbox, uint32_t seen);
  void waitForWorkers();
  static void runPiece(const Job &job, int thread);

  std::vector<std::unique_ptr<Mailbox>> workers;
  Trace *trace = nullptr;
  alignas(128) Job job = {};
  std::atomic<bool> stopping{false};
  alignas(128) std::atomic<uint32_t> pending{0}; ///< Workers that have not finished the job
  std::atomic<uint32_t> callerAsleep{0};
};

/// The pool elutq_parallel_for uses on this thread, null for none. Set while a session runs compiled code.
extern thread_local ThreadPool *currentPool;

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_THREADPOOL_H
