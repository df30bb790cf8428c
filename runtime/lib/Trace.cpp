//===- Trace.cpp - What each thread did when ------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Trace.h"
#include "Json.h"

#include <chrono>
#include <cstdio>

using namespace elutq::runtime;

Status TaskNames::parse(std::string_view text, TaskNames &names) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    size_t tab = line.find('\t');
    std::string_view entry = line.substr(0, tab);
    if (tab == std::string_view::npos || (entry != "decode" && entry != "prefill"))
      return Status(ELUTQ_ERROR_FORMAT, "the names of the tasks are damaged; compile the model again");
    (entry == "decode" ? names.decode : names.prefill).emplace_back(line.substr(tab + 1));
  }
  return Status();
}

int64_t Trace::now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Trace::addWait(Lane &lane, int32_t step, int64_t end) {
  if (end > lane.last)
    lane.events.push_back({step, -1, 0, lane.last, end});
  lane.last = end;
}

void Trace::beginStep(bool isDecode, int64_t position, int64_t tokens) {
  call = 0;
  // Growing while the clock runs would be in the picture.
  for (Lane &lane : lanes)
    lane.events.reserve(lane.events.size() + 2 * (isDecode ? names.decode : names.prefill).size() + 1);
  int64_t begin = now();
  steps.push_back({isDecode, position, tokens, begin, begin});
  for (Lane &lane : lanes)
    lane.last = begin;
}

void Trace::endStep() {
  int64_t end = now();
  steps.back().end = end;
  for (Lane &lane : lanes)
    addWait(lane, static_cast<int32_t>(steps.size()) - 1, end);
}

void Trace::addTask(int thread, int32_t call, int64_t items, int64_t begin, int64_t end) {
  Lane &lane = lanes[static_cast<size_t>(thread)];
  int32_t step = static_cast<int32_t>(steps.size()) - 1;
  addWait(lane, step, begin);
  lane.events.push_back({step, call, items, begin, end});
  lane.last = end;
}

std::string_view Trace::getName(const Step &step, int32_t call) const {
  const std::vector<std::string> &list = step.isDecode ? names.decode : names.prefill;
  // Code whose container has no names.
  return static_cast<size_t>(call) < list.size() ? std::string_view(list[static_cast<size_t>(call)]) : "task";
}

std::string Trace::toJson() const {
  std::string json = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n";
  auto addThread = [&](size_t thread, const std::string &name) {
    json += "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": " + std::to_string(thread) +
            ", \"args\": {\"name\": \"" + name + "\"}},\n";
  };
  int64_t origin = steps.empty() ? 0 : steps.front().begin;
  auto addEvent = [&](std::string_view name, const char *category, size_t thread, int64_t begin, int64_t end) {
    json += "{\"name\": ";
    appendJsonString(json, name);
    char buffer[160];
    std::snprintf(buffer, sizeof(buffer), ", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": %zu, \"ts\": %.3f, \"dur\": %.3f",
                  category, thread, static_cast<double>(begin - origin) / 1e3, static_cast<double>(end - begin) / 1e3);
    json += buffer;
  };

  addThread(0, "steps");
  for (size_t thread = 0; thread < lanes.size(); ++thread)
    addThread(thread + 1, "thread " + std::to_string(thread));
  for (const Step &step : steps) {
    addEvent(step.isDecode ? "decode" : "prefill", "step", 0, step.begin, step.end);
    json += ", \"args\": {\"position\": " + std::to_string(step.position) + ", \"tokens\": " + std::to_string(step.tokens) +
            "}},\n";
  }
  for (size_t thread = 0; thread < lanes.size(); ++thread)
    for (const Event &event : lanes[thread].events) {
      const Step &step = steps[static_cast<size_t>(event.step)];
      if (event.call < 0) {
        addEvent("wait", "barrier", thread + 1, event.begin, event.end);
        json += "},\n";
        continue;
      }
      addEvent(getName(step, event.call), "task", thread + 1, event.begin, event.end);
      json += ", \"args\": {\"call\": " + std::to_string(event.call) + ", \"items\": " + std::to_string(event.items) + "}},\n";
    }
  // Behind the last event there is a comma to take back; the names of the threads are always there.
  json.resize(json.size() - 2);
  return json + "\n]}\n";
}
