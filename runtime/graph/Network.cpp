//===- Network.cpp - elutq/graph.h for networks -------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/graph.h"

#include "ContainerReader.h"
#include "CpuFeatures.h"
#include "ThreadPool.h"
#include "elutq/Container.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <new>
#include <string>

using namespace elutq::runtime;

/// What compiled code defines: see addNetworkInterface() of the compiler.
extern "C" {
extern const uint64_t elutq_build_id;
using elutq_graph_entry = void (*)(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                                   uint8_t *places, float *result);
extern const elutq_graph_entry elutq_graph_entries[];
/// Shapes, inputs, outputs; then, for each value of each shape, its offset in the places and its bytes.
extern const int64_t elutq_graph_layout[];
}

struct elutq_graph {
  ContainerReader container;
  const uint8_t *weights = nullptr;
  Mapping arena, places;
  std::unique_ptr<ThreadPool> pool;
};

namespace {
/// The file that this code was loaded from.
std::string findOwnFile() {
  Dl_info info;
  return dladdr(&elutq_build_id, &info) && info.dli_fname ? info.dli_fname : "/proc/self/exe";
}

Status open(int threads, elutq_graph &graph) {
  std::string path = findOwnFile();
  if (Status status = ContainerReader::open(path, graph.container); !status.ok())
    return status;
  if (graph.container.getBuildId() != elutq_build_id)
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "': the weights belong to other code; where the file was replaced after this "
                                          "program loaded it, start the program again");
  for (const char *section : {elutq::container::kMetaSection, elutq::container::kWeightsSection})
    if (Status status = graph.container.verifySection(section); !status.ok())
      return status;
  std::map<std::string, std::string> meta;
  if (Status status = parseMeta(graph.container.getSection(elutq::container::kMetaSection), meta); !status.ok())
    return status;
  // Before anything compiled can run: an illegal instruction cannot be reported.
  if (Status status = checkCpuFeatures(meta["cpu_features"], std::getenv("ELUTQ_DISABLE_CPU_FEATURES")); !status.ok())
    return status;
  constexpr uint64_t kMaxBytes = uint64_t(1) << 46;
  uint64_t arenaBytes, placesBytes;
  if (Status status = getMetaNumber(meta, "arena_bytes", 0, kMaxBytes, arenaBytes); !status.ok())
    return status;
  if (Status status = getMetaNumber(meta, "cache_bytes", 0, kMaxBytes, placesBytes); !status.ok())
    return status;
  if (Status status = Mapping::mapZeros(arenaBytes, "scratch memory", graph.arena); !status.ok())
    return status;
  if (Status status = Mapping::mapZeros(placesBytes, "inputs and outputs", graph.places); !status.ok())
    return status;
  graph.weights = reinterpret_cast<const uint8_t *>(graph.container.getSection(elutq::container::kWeightsSection).data());
  graph.pool = std::make_unique<ThreadPool>(threads > 0 ? threads : getDefaultThreads());
  return Status();
}
} // namespace

elutq_graph *elutq_graph_open(int threads, const char **error) {
  static thread_local std::string message;
  std::unique_ptr<elutq_graph> graph(new (std::nothrow) elutq_graph);
  Status status = graph ? open(threads, *graph) : Status(ELUTQ_ERROR_MEMORY, "out of memory");
  if (status.ok())
    return graph.release();
  message = status.getText();
  if (error)
    *error = message.c_str();
  return nullptr;
}

void elutq_graph_close(elutq_graph *graph) { delete graph; }

void elutq_graph_compute(elutq_graph *graph, int shape, const void *const *inputs, void *const *outputs) {
  int64_t numInputs = elutq_graph_layout[1], numOutputs = elutq_graph_layout[2];
  const int64_t *places = elutq_graph_layout + 3 + shape * (numInputs + numOutputs) * 2;
  for (int64_t i = 0; i < numInputs; ++i, places += 2)
    std::memcpy(graph->places.data() + places[0], inputs[i], static_cast<size_t>(places[1]));
  ThreadPool *outer = currentPool;
  currentPool = graph->pool.get();
  const int64_t token = 0;
  elutq_graph_entries[shape](&token, 1, 0, graph->arena.data(), graph->weights, graph->places.data(), nullptr);
  currentPool = outer;
  for (int64_t i = 0; i < numOutputs; ++i, places += 2)
    std::memcpy(outputs[i], graph->places.data() + places[0], static_cast<size_t>(places[1]));
}
