//===- ThreadPoolTest.cpp - Every item runs once, however many threads there are -===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

using namespace elutq::runtime;

/// Adds 1 to each item's counter; not atomic, so that overlapping pieces are a data race.
static void countItems(int64_t begin, int64_t end, uint8_t *arena, const uint8_t *, uint8_t *, const int64_t *args) {
  for (int64_t i = begin; i < end; ++i)
    arena[i] = static_cast<uint8_t>(arena[i] + args[0]);
}

TEST(ThreadPool, piecesCoverEverything) {
  for (int threads : {1, 2, 3, 7, 64})
    for (int64_t count : {int64_t(0), int64_t(1), int64_t(5), int64_t(64), int64_t(1000), INT64_MAX}) {
      EXPECT_EQ(ThreadPool::getBegin(count, 0, threads), 0);
      EXPECT_EQ(ThreadPool::getBegin(count, threads, threads), count);
      for (int t = 0; t < threads; ++t) {
        int64_t size = ThreadPool::getBegin(count, t + 1, threads) - ThreadPool::getBegin(count, t, threads);
        EXPECT_TRUE(size == count / threads || size == count / threads + 1);
      }
    }
}

TEST(ThreadPool, everyItemOnce) {
  for (int threads : {1, 2, 4, 9}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.getThreads(), threads);
    std::vector<uint8_t> items(500, 0);
    int64_t args[] = {1};
    for (int round = 0; round < 200; ++round)
      pool.run(countItems, round % 7 == 0 ? 500 : 3, items.data(), nullptr, nullptr, args);
    EXPECT_EQ(items[0], 200);
    EXPECT_EQ(items[499], 29);
  }
}

TEST(ThreadPool, wakesSleepingWorkers) {
  ThreadPool pool(3);
  std::vector<uint8_t> items(30, 0);
  int64_t args[] = {1};
  for (int round = 0; round < 20; ++round) {
    pool.run(countItems, 30, items.data(), nullptr, nullptr, args);
    // Around the moment at which workers go to sleep.
    std::this_thread::sleep_for(std::chrono::microseconds(90 + round));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  pool.run(countItems, 30, items.data(), nullptr, nullptr, args);
  for (uint8_t item : items)
    EXPECT_EQ(item, 21);
}

TEST(ThreadPool, callerSleepsThroughLongTasks) {
  ThreadPool pool(2);
  auto slow = [](int64_t begin, int64_t end, uint8_t *arena, const uint8_t *, uint8_t *, const int64_t *) {
    if (begin > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    for (int64_t i = begin; i < end; ++i)
      arena[i] = 1;
  };
  for (int round = 0; round < 5; ++round) {
    std::vector<uint8_t> items(2, 0);
    pool.run(slow, 2, items.data(), nullptr, nullptr, nullptr);
    EXPECT_EQ(items[0] + items[1], 2);
  }
}

/// The first item of thread 1 waits for all others, those behind it included: thread 0 has to take them.
TEST(ThreadPool, takesWhatOthersHoldUp) {
  static std::atomic<int> done;
  auto waitInItemFour = [](int64_t begin, int64_t end, uint8_t *arena, const uint8_t *, uint8_t *, const int64_t *) {
    for (int64_t i = begin; i < end; ++i) {
      auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (i == 4 && done < 7 && std::chrono::steady_clock::now() < limit)
        std::this_thread::yield();
      arena[i] = i == 4 && done < 7 ? 0 : 1;
      ++done;
    }
  };
  ThreadPool pool(2);
  for (int round = 0; round < 50; ++round) {
    done = 0;
    std::vector<uint8_t> items(8, 0);
    pool.run(waitInItemFour, 8, items.data(), nullptr, nullptr, nullptr);
    EXPECT_EQ(items, std::vector<uint8_t>(8, 1));
  }
}

TEST(ThreadPool, withoutSessionRunsDirectly) {
  std::vector<uint8_t> items(9, 0);
  int64_t args[] = {1};
  elutq_parallel_for(countItems, 9, items.data(), nullptr, nullptr, args);
  elutq_parallel_for(countItems, 0, items.data(), nullptr, nullptr, args);
  for (uint8_t item : items)
    EXPECT_EQ(item, 1);
}

TEST(ThreadPool, severalAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([] {
      ThreadPool pool(2);
      std::vector<uint8_t> items(50, 0);
      int64_t args[] = {1};
      for (int round = 0; round < 100; ++round)
        pool.run(countItems, 50, items.data(), nullptr, nullptr, args);
      for (uint8_t item : items)
        EXPECT_EQ(item, 100);
    });
  for (std::thread &thread : threads)
    thread.join();
}
