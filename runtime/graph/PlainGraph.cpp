//===- PlainGraph.cpp - The functions of elutq/graph.h --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/graph.h"
#include "CpuFeatures.h"

#include <cstdlib>

using namespace elutq::runtime;

extern "C" {
/// What the compiler adds: the features that the code needs, as in the meta data of a model, and the code.
[[gnu::visibility("hidden")]] extern const char elutq_plain_graph_features[];
[[gnu::visibility("hidden")]] void elutq_plain_graph_compute(void *const *inputs, void *const *outputs);

[[gnu::visibility("default")]] const char *elutq_graph_check(void) {
  static const Status status = checkCpuFeatures(elutq_plain_graph_features, std::getenv("ELUTQ_DISABLE_CPU_FEATURES"));
  return status.ok() ? nullptr : status.getText().c_str();
}

[[gnu::visibility("default")]] const char *elutq_graph_run(void *const *inputs, void *const *outputs) {
  // An illegal instruction cannot be reported.
  if (const char *problem = elutq_graph_check())
    return problem;
  elutq_plain_graph_compute(inputs, outputs);
  return nullptr;
}
}
