//===- Json.h - Text in JSON ------------------------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_JSON_H
#define ELUTQ_RUNTIME_LIB_JSON_H

#include <string>
#include <string_view>

namespace elutq::runtime {

/// Appends `text` as a JSON string.
void appendJsonString(std::string &json, std::string_view text);

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_JSON_H
