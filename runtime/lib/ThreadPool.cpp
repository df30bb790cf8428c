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
  for (int i = 0; i < threads; ++i)
    seats.push_back(std::make_unique<Seat>());
  for (size_t i = 1; i < seats.size(); ++i) {
    try {
      seats[i]->thread = std::thread(&ThreadPool::work, this, static_cast<int>(i));
    } catch (const std::system_error &) {
      // A limit on threads is no reason to fail: the results do not depend on their number.
      seats.resize(i);
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  stopping.store(true, std::memory_order_relaxed);
  for (size_t i = 1; i < seats.size(); ++i) {
    seats[i]->ticket.fetch_add(1, std::memory_order_seq_cst);
    futexWake(seats[i]->ticket);
  }
  for (size_t i = 1; i < seats.size(); ++i)
    seats[i]->thread.join();
}

/// Takes a quarter of what is left: chunks are large while there is much to do, and single items at the end.
bool ThreadPool::take(std::atomic<Range> &range, bool fromFront, Range &chunk) {
  static_assert(std::atomic<Range>::is_always_lock_free, "a range is exchanged as one word");
  Range left = range.load(std::memory_order_relaxed);
  while (left.begin < left.end) {
    uint32_t size = (left.end - left.begin + 3) / 4;
    chunk = fromFront ? Range{left.begin, left.begin + size} : Range{left.end - size, left.end};
    Range rest = fromFront ? Range{chunk.end, left.end} : Range{left.begin, chunk.begin};
    // Acquires the job that the caller wrote before it handed out the ranges.
    if (range.compare_exchange_weak(left, rest, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
  }
  return false;
}

/// Runs chunks until nobody has any; returns the number of units.
uint32_t ThreadPool::runChunks(int thread) {
  uint32_t done = 0;
  int64_t items = 0, start = 0;
  Range chunk;
  size_t count = seats.size(), own = static_cast<size_t>(thread);
  for (size_t i = 0; i < count; ++i) {
    size_t owner = own + i < count ? own + i : own + i - count;
    while (take(seats[owner]->range, owner == own, chunk)) {
      if (job.trace && done == 0)
        start = Trace::now();
      int64_t begin = getBegin(job.count, static_cast<int>(chunk.begin), static_cast<int>(job.units));
      int64_t end = getBegin(job.count, static_cast<int>(chunk.end), static_cast<int>(job.units));
      job.task(begin, end, job.arena, job.weights, job.cache, job.args);
      done += chunk.end - chunk.begin;
      items += end - begin;
    }
  }
  // Without a chunk, the job is not this thread's to read.
  if (done > 0 && job.trace)
    job.trace->addTask(thread, job.call, items, start, Trace::now());
  return done;
}

void ThreadPool::run(elutq_task task, int64_t count, uint8_t *arena, const uint8_t *weights, uint8_t *cache,
                     const int64_t *args) {
  if (count <= 0)
    return;
  constexpr int64_t kMaxUnits = 1 << 20;
  uint32_t units = static_cast<uint32_t>(count < kMaxUnits ? count : kMaxUnits);
  // Nobody has a chunk of the job before, so nobody reads it.
  job = {task, count, units, arena, weights, cache, args, trace, trace ? trace->nextCall() : 0};
  size_t pieces = units < seats.size() ? units : seats.size();
  pending.store(units, std::memory_order_relaxed);
  for (size_t i = 0; i < pieces; ++i) {
    Seat &seat = *seats[i];
    auto bound = [&](size_t piece) {
      return static_cast<uint32_t>(getBegin(units, static_cast<int>(piece), static_cast<int>(pieces)));
    };
    seat.range.store({bound(i), bound(i + 1)}, std::memory_order_release);
    if (i > 0)
      seat.ticket.store(seat.ticket.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  if (pieces > 1) {
    // Either this thread sees that a worker is asleep, or that worker sees its new ticket before it sleeps: the fence
    // orders the stores above before the loads below, and the worker does the same the other way round.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (size_t i = 1; i < pieces; ++i)
      if (seats[i]->asleep.load(std::memory_order_relaxed))
        futexWake(seats[i]->ticket);
  }

  uint32_t done = runChunks(0);
  if (pending.fetch_sub(done, std::memory_order_acq_rel) != done)
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

void ThreadPool::waitForTicket(Seat &seat, uint32_t seen) {
  if (spinUntil([&] { return seat.ticket.load(std::memory_order_acquire) != seen; }))
    return;
  seat.asleep.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  while (seat.ticket.load(std::memory_order_acquire) == seen)
    futexWait(seat.ticket, seen);
  seat.asleep.store(0, std::memory_order_relaxed);
}

void ThreadPool::work(int index) {
  Seat &seat = *seats[static_cast<size_t>(index)];
  for (uint32_t seen = 0;;) {
    waitForTicket(seat, seen);
    // Jobs that others finished meanwhile are over.
    seen = seat.ticket.load(std::memory_order_acquire);
    if (stopping.load(std::memory_order_relaxed))
      return;
    uint32_t done = runChunks(index);
    // Who finishes last wakes the caller. `this` stays valid: the destructor joins this thread.
    if (done > 0 && pending.fetch_sub(done, std::memory_order_seq_cst) == done &&
        callerAsleep.load(std::memory_order_seq_cst))
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
