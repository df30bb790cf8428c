//===- ModelFiles.h - What lies beside a model -------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_COMPILER_MODELFILES_H
#define ELUTQ_COMPILER_MODELFILES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace elutq {

/// Facts from `generation_config.json`, `genai_config.json` and `config.json` in the folder of a model. Every file and every
/// fact may be absent.
struct ModelFiles {
  std::optional<int64_t> contextLength;
  std::vector<int64_t> bosIds, eosIds;
  /// The architecture's name, e.g. `gemma3_text`.
  std::string modelType;
  /// `tokenizer.json`, if it is there.
  std::string tokenizer;
};

/// Reads the files beside `modelPath`. A file that is there and is not what it should be is an error.
llvm::Expected<ModelFiles> readModelFiles(llvm::StringRef modelPath);

} // namespace elutq

#endif // ELUTQ_COMPILER_MODELFILES_H
