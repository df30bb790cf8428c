//===- TaskABI.h - What compiled tasks and the runtime agree on -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TRANSFORMS_TASKABI_H
#define ELUTQ_TRANSFORMS_TASKABI_H

#include <cstdint>

namespace elutq {

/// Alignment of every buffer in the arena, the weights and the cache, in bytes.
constexpr int64_t kTaskAlignment = 64;

/// Bytes at the start of the arena that hold an entry's scalar arguments as i64: count, position.
constexpr int64_t kTaskHeaderBytes = 64;

/// Upper bound on the length of a task's `args`.
constexpr int64_t kMaxTaskArgs = 1024;

/// The function of the runtime that runs a task on all threads.
constexpr const char kParallelForSymbol[] = "elutq_parallel_for";

} // namespace elutq

#endif // ELUTQ_TRANSFORMS_TASKABI_H
