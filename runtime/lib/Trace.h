//===- Trace.h - What each thread did when ----------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_TRACE_H
#define ELUTQ_RUNTIME_LIB_TRACE_H

#include "Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace elutq::runtime {

/// Names of the tasks of an entry, in the order of its calls.
struct TaskNames {
  std::vector<std::string> decode, prefill;

  /// Parses the container's tasks section: a line `ENTRY<tab>NAME` per call.
  static Status parse(std::string_view text, TaskNames &names);
};

/// Records the calls of a session's steps. Every thread writes to a lane of its own, and only while it has a part of a
/// task; the thread that calls begins and ends steps while no task runs. So nothing here is synchronized.
class Trace {
public:
  Trace(const TaskNames &names, int threads) : names(names), lanes(static_cast<size_t>(threads)) {}

  /// Nanoseconds of a clock that only goes forward.
  static int64_t now();

  void beginStep(bool isDecode, int64_t position, int64_t tokens);
  void endStep();

  /// The number of the next call of this step, which names its task.
  int32_t nextCall() { return call++; }

  /// Adds what `thread` did of a call; the time since its last part is a wait.
  void addTask(int thread, int32_t call, int64_t items, int64_t begin, int64_t end);

  /// All of it as Chrome trace events (JSON).
  std::string toJson() const;

private:
  struct Event {
    int32_t step, call; ///< call -1: a wait
    int64_t items, begin, end;
  };
  /// Lanes are on cache lines of their own, so that recording disturbs no other thread.
  struct alignas(128) Lane {
    std::vector<Event> events;
    int64_t last = 0; ///< When the thread's last part, or the step's beginning, was over
  };
  struct Step {
    bool isDecode;
    int64_t position, tokens, begin, end;
  };

  std::string_view getName(const Step &step, int32_t call) const;
  static void addWait(Lane &lane, int32_t step, int64_t end);

  const TaskNames &names;
  std::vector<Lane> lanes;
  std::vector<Step> steps;
  int32_t call = 0;
};

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_TRACE_H
