//===- Model.cpp - An opened compiled model -------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "CpuFeatures.h"
#include "Json.h"
#include "elutq/Container.h"

#include <cstdio>
#include <cstdlib>
#include <link.h>

using namespace elutq;
using namespace elutq::runtime;

namespace {
/// Where the compiled code of this process was loaded from.
struct CodeLocation {
  bool found = false;
  bool isProgram = false; // the executable itself
  std::string path;       // of a library
  int index = 0;
};
} // namespace

static int findCode(dl_phdr_info *info, size_t, void *data) {
  auto *location = static_cast<CodeLocation *>(data);
  uintptr_t address = reinterpret_cast<uintptr_t>(&elutq_build_id);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto &segment = info->dlpi_phdr[i];
    uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && address >= begin && address - begin < segment.p_memsz) {
      location->found = true;
      location->isProgram = location->index == 0; // the program is always listed first
      location->path = info->dlpi_name ? info->dlpi_name : "";
      return 1;
    }
  }
  ++location->index;
  return 0;
}

/// The file with the data of the linked code: the executable, or NAME.weights beside libNAME.so.
static Status findOwnData(std::string &path) {
  CodeLocation location;
  dl_iterate_phdr(findCode, &location);
  if (!location.found || location.isProgram) {
    path = "/proc/self/exe";
    return Status();
  }
  std::string file = location.path;
  size_t slash = file.rfind('/');
  std::string folder = slash == std::string::npos ? "" : file.substr(0, slash + 1);
  std::string name = slash == std::string::npos ? file : file.substr(slash + 1);
  size_t dot = name.find(".so");
  if (name.compare(0, 3, "lib") != 0 || dot == std::string::npos)
    return Status(ELUTQ_ERROR_IO, "cannot derive the name of the weights file from '" + file +
                                      "': give elutq_open its path");
  path = folder + name.substr(3, dot - 3) + ".weights";
  return Status();
}

static std::string toJson(const std::map<std::string, std::string> &values) {
  std::string json = "{";
  for (const auto &[key, value] : values) {
    json += json.size() > 1 ? ", " : "";
    appendJsonString(json, key);
    json += ": ";
    appendJsonString(json, value);
  }
  return json + "}";
}

static std::string toHex(uint64_t number) {
  char buffer[24];
  std::snprintf(buffer, sizeof(buffer), "%016llx", static_cast<unsigned long long>(number));
  return buffer;
}

/// Reads and bounds every number the runtime relies on.
static Status readMeta(Model &model) {
  constexpr uint64_t kMaxBytes = uint64_t(1) << 46; // what 64-bit systems can map
  constexpr uint64_t kMaxTokens = uint64_t(1) << 31;
  struct {
    const char *key;
    uint64_t low, high;
    uint64_t *number;
    bool required;
  } numbers[] = {
      {"vocab_size", 1, kMaxTokens, &model.vocabSize, true},
      {"max_context", 1, kMaxTokens, &model.maxContext, true},
      {"chunk", 1, 1 << 20, &model.chunk, true},
      {"arena_bytes", 0, kMaxBytes, &model.arenaBytes, true},
      {"weights_bytes", 0, kMaxBytes, &model.weightsBytes, true},
      {"cache_bytes", 0, kMaxBytes, &model.cacheBytes, true},
      {"layers", 0, 1 << 20, &model.layers, false},
      {"consistent", 0, 1, &model.consistent, false},
      {"decode_weight_bytes", 0, kMaxBytes, &model.decodeWeightBytes, false},
  };
  for (const auto &entry : numbers) {
    if (!entry.required && !model.meta.count(entry.key))
      continue;
    if (Status status = getMetaNumber(model.meta, entry.key, entry.low, entry.high, *entry.number); !status.ok())
      return status;
  }
  return getMetaTokens(model.meta, "eos_ids", model.vocabSize, model.stopTokens);
}

Status Model::open(const std::string &givenPath, const elutq_open_options &options,
                   std::shared_ptr<const Model> &result) {
  auto model = std::make_shared<Model>();
  std::string path = givenPath;
  if (path.empty())
    if (Status status = findOwnData(path); !status.ok())
      return status;
  if (Status status = ContainerReader::open(path, model->container); !status.ok())
    return status;
  if (model->container.getBuildId() != elutq_build_id)
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "': the weights belong to another model (build id " +
                                          toHex(model->container.getBuildId()) + ", but the code has " +
                                          toHex(elutq_build_id) + "); use the files of one compilation together");

  if (Status status = model->container.verifySection(container::kMetaSection); !status.ok())
    return status;
  std::string_view meta = model->container.getSection(container::kMetaSection);
  if (!meta.data())
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "' has no meta data; compile the model again");
  if (Status status = parseMeta(meta, model->meta); !status.ok())
    return status;
  if (Status status = readMeta(*model); !status.ok())
    return status;

  // Before anything compiled can run: an illegal instruction cannot be reported.
  auto features = model->meta.find("cpu_features");
  if (features != model->meta.end())
    if (Status status = checkCpuFeatures(features->second, std::getenv("ELUTQ_DISABLE_CPU_FEATURES")); !status.ok())
      return status;

  std::string_view weights = model->container.getSection(container::kWeightsSection);
  if (weights.size() != model->weightsBytes || (!weights.data() && model->weightsBytes != 0))
    return Status(ELUTQ_ERROR_FORMAT, "'" + path + "' has " + std::to_string(weights.size()) +
                                          " bytes of weights, but its meta data says " +
                                          std::to_string(model->weightsBytes) + "; compile the model again");
  model->weights = reinterpret_cast<const uint8_t *>(weights.data());
  model->verify = options.verify != 0;

  std::string_view tokenizer = model->container.getSection(container::kTokenizerSection);
  if (tokenizer.data()) {
    if (Status status = model->container.verifySection(container::kTokenizerSection); !status.ok())
      return status;
    if (Status status = Tokenizer::load(tokenizer, model->tokenizer); !status.ok())
      return status;
  }
  std::string_view tasks = model->container.getSection(container::kTasksSection);
  if (tasks.data()) {
    if (Status status = model->container.verifySection(container::kTasksSection); !status.ok())
      return status;
    if (Status status = TaskNames::parse(tasks, model->taskNames); !status.ok())
      return status;
  }
  // Once nothing else can be wrong.
  if (options.copy_weights) {
    if (Status status = model->container.copySection(container::kWeightsSection, model->copiedWeights); !status.ok())
      return status;
    model->weights = model->copiedWeights.data();
  }
  model->threads = options.threads > 0 ? options.threads : getDefaultThreads();
  model->json = toJson(model->meta);
  result = std::move(model);
  return Status();
}

Status Model::verifyWeights() const {
  std::call_once(verified, [&] {
    if (!copiedWeights.data())
      container.adviseWillNeed(container::kWeightsSection);
    if (verify)
      verification = container.verifySection(container::kWeightsSection, copiedWeights.data());
  });
  return verification;
}
