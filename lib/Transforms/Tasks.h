//===- Tasks.h - How many tasks a loop is cut into --------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TRANSFORMS_TASKS_H
#define ELUTQ_LIB_TRANSFORMS_TASKS_H

#include <cstdint>

namespace elutq {

/// Tasks that a loop is cut into where its iterations are many: enough to balance a handful of threads.
constexpr int64_t kTasks = 16;

} // namespace elutq

#endif // ELUTQ_LIB_TRANSFORMS_TASKS_H
