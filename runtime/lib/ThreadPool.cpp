//===- ThreadPool.cpp - Runs the parallel tasks of compiled code ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <cerrno>
#include <functional>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace elutq::runtime;

thread_local ThreadPool *elutq::runtime::currentPool = nullptr;

static void pauseBriefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
}

static_assert(sizeof(std::atomic<uint32_t>) == 4, "the kernel waits on the atomic's four bytes");

/// Sleeps while `word` is `value`; may wake early.
static void futexWait(std::atomic<uint32_t> &word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

static void futexWake(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

/// Spins until `done()` or the time is over; tells which.
template <typename Condition>
static bool spinUntil(Condition done) {
  int64_t end = 0;
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      if (done())
        return true;
      pauseBriefly();
    }
    int64_t time = Trace::now();
    if (end == 0)
      end = time + ThreadPool::kSpinNanoseconds;
    else if (time > end)
      return done();
  }
}

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i)
    workers.push_back(std::make_unique<Mailbox>());
  for (size_t i = 0; i < workers.size(); ++i) {
    try {
      workers[i]->thread = std::thread(&ThreadPool::work, this, static_cast<int>(i) + 1, std::ref(*workers[i]));
    } catch (const std::system_error &) {
      // A limit on threads is no reason to fail: the results do not depend on their number.
      workers.resize(i);
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  stopping.store(true, std::memory_order_relaxed);
  for (auto &worker : workers) {
    worker->ticket.fetch_add(1, std::memory_order_seq_cst);
    futexWake(worker->ticket);
  }
  for (auto &worker : workers)
    worker->thread.join();
}

void ThreadPool::runPiece(const Job &job, int thread) {
  int64_t begin = getBegin(job.count, thread, job.pieces), end = getBegin(job.count, thread + 1, job.pieces);
  int64_t start = job.trace ? Trace::now() : 0;
  job.task(begin, end, job.arena, job.weights, job.cache, job.args);
  if (job.trace)
    job.trace->addTask(thread, job.call, end - begin, start, Trace::now());
}

void ThreadPool::run(elutq_task task, int64_t count, uint8_t *arena, const uint8_t *weights, uint8_t *cache,
                     const int64_t *args) {
  if (count <= 0)
    return;
  int64_t threads = getThreads();
  int pieces = static_cast<int>(count < threads ? count : threads);
  // Workers read the job only between their ticket and their decrement of `pending`, so nobody reads it now.
  job = {task, count, arena, weights, cache, args, pieces, trace, trace ? trace->nextCall() : 0};
  if (pieces == 1) {
    runPiece(job, 0);
    return;
  }
  int helpers = pieces - 1;
  pending.store(static_cast<uint32_t>(helpers), std::memory_order_relaxed);
  for (int i = 0; i < helpers; ++i) {
    std::atomic<uint32_t> &ticket = workers[i]->ticket;
    ticket.store(ticket.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // Either this thread sees that a worker is asleep, or that worker sees its new ticket before it sleeps: the fence
  // orders the stores above before the loads below, and the worker does the same the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (int i = 0; i < helpers; ++i)
    if (workers[i]->asleep.load(std::memory_order_relaxed))
      futexWake(workers[i]->ticket);

  runPiece(job, 0);
  waitForWorkers();
}

void ThreadPool::waitForWorkers() {
  auto done = [this] { return pending.load(std::memory_order_acquire) == 0; };
  if (spinUntil(done))
    return;
  callerAsleep.store(1, std::memory_order_seq_cst);
  while (uint32_t left = pending.load(std::memory_order_seq_cst))
    futexWait(pending, left);
  callerAsleep.store(0, std::memory_order_relaxed);
}

void ThreadPool::waitForTicket(Mailbox &mailbox, uint32_t seen) {
  if (spinUntil([&] { return mailbox.ticket.load(std::memory_order_acquire) != seen; }))
    return;
  mailbox.asleep.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  while (mailbox.ticket.load(std::memory_order_acquire) == seen)
    futexWait(mailbox.ticket, seen);
  mailbox.asleep.store(0, std::memory_order_relaxed);
}

void ThreadPool::work(int index, Mailbox &mailbox) {
  for (uint32_t seen = 0;; ++seen) {
    waitForTicket(mailbox, seen);
    if (stopping.load(std::memory_order_relaxed))
      return;
    runPiece(job, index);
    // Who finishes last wakes the caller. `this` stays valid: the destructor joins this thread.
    if (pending.fetch_sub(1, std::memory_order_seq_cst) == 1 && callerAsleep.load(std::memory_order_seq_cst))
      futexWake(pending);
  }
}

void elutq_parallel_for(elutq_task task, int64_t count, uint8_t *arena, const uint8_t *weights, uint8_t *cache,
                        const int64_t *args) {
  if (ThreadPool *pool = currentPool)
    pool->run(task, count, arena, weights, cache, args);
  else if (count > 0)
    task(0, count, arena, weights, cache, args);
}
