//===- elutq-bench-bandwidth.cpp - How fast memory can be read ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// elutq-bench-bandwidth [THREADS [SECONDS]]: prints one JSON object with the median over passes of 512 MiB.
//
//===----------------------------------------------------------------------===//

#include "Bandwidth.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace elutq;

int main(int argc, char **argv) {
  int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  double seconds = argc > 2 ? std::atof(argv[2]) : 1.0;
  if (argc > 3 || threads < 1 || seconds <= 0) {
    std::fprintf(stderr, "error: expected elutq-bench-bandwidth [THREADS [SECONDS]], both positive\n");
    return 2;
  }
  runtime::ThreadPool pool(threads);
  bench::Bandwidth bandwidth;
  if (runtime::Status status = bench::Bandwidth::create(size_t(1) << 30, bandwidth); !status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.getText().c_str());
    return 1;
  }
  std::vector<double> passes;
  auto begin = std::chrono::steady_clock::now();
  while (passes.size() < 3 || std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < seconds)
    passes.push_back(bandwidth.measure(pool));
  std::nth_element(passes.begin(), passes.begin() + static_cast<std::ptrdiff_t>(passes.size() / 2), passes.end());
  std::printf("{\"threads\": %d, \"bandwidth_gb_s\": %.2f}\n", pool.getThreads(), passes[passes.size() / 2] / 1e9);
  return 0;
}
