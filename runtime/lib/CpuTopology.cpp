//===- CpuTopology.cpp - How many threads are worth starting --------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CpuFeatures.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace elutq::runtime;

/// The first line of a small system file, empty when it cannot be read.
static std::string readLine(const std::string &path) {
  std::string line;
  if (std::FILE *file = std::fopen(path.c_str(), "re")) {
    char buffer[256];
    if (std::fgets(buffer, sizeof(buffer), file))
      line = buffer;
    std::fclose(file);
  }
  return line;
}

/// CPUs the cgroup's quota pays for, 0 when there is no quota.
static int getQuota() {
  std::string line = readLine("/sys/fs/cgroup/cpu.max"); // "QUOTA PERIOD" or "max PERIOD"
  long long quota = 0, period = 0;
  if (std::sscanf(line.c_str(), "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
    return 0;
  return static_cast<int>(std::max(1LL, quota / period));
}

int elutq::runtime::getDefaultThreads() {
  // A set of a fixed size would fail on machines with more than 1024 CPUs.
  std::vector<cpu_set_t> sets(16);
  size_t bytes = sets.size() * sizeof(cpu_set_t);
  std::set<std::string> cores;
  int cpus = 0;
  if (sched_getaffinity(0, bytes, sets.data()) == 0) {
    for (size_t cpu = 0; cpu < bytes * 8; ++cpu) {
      if (!CPU_ISSET_S(cpu, bytes, sets.data()))
        continue;
      ++cpus;
      // Two hardware threads of one core list the same siblings. Where the system does not tell, each CPU is a core.
      std::string siblings =
          readLine("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
      cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
    }
  }
  int threads = cpus > 0 ? static_cast<int>(cores.size()) : static_cast<int>(std::thread::hardware_concurrency());
  if (int quota = getQuota())
    threads = std::min(threads, quota);
  return std::max(threads, 1);
}
