//===- TokenizerBuilder.h - tokenizer.json to the tokenizer section -*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Runs at compile time only; compiled models do not contain it.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TOKENIZERBUILDER_H
#define ELUTQ_TOKENIZERBUILDER_H

#include <string>
#include <string_view>

namespace elutq {

/// Converts the text of a Hugging Face tokenizer.json to the bytes of a container's tokenizer section. Returns false and
/// says in `error` what is wrong or not supported: only BPE models are.
bool buildTokenizerSection(std::string_view json, std::string &section, std::string &error);

} // namespace elutq

#endif // ELUTQ_TOKENIZERBUILDER_H
