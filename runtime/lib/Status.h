//===- Status.h - Errors inside the runtime ---------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_STATUS_H
#define ELUTQ_RUNTIME_LIB_STATUS_H

#include "elutq/runtime.h"

#include <string>

namespace elutq::runtime {

/// The result of a step that can fail: a code of the C interface and a text for the user. The C interface's functions
/// turn it into their return value and elutq_last_error().
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(elutq_status code, std::string text) : code(code), text(std::move(text)) {}

  bool ok() const { return code == ELUTQ_OK; }
  elutq_status getCode() const { return code; }
  const std::string &getText() const { return text; }

private:
  elutq_status code = ELUTQ_OK;
  std::string text;
};

/// `name: the system's text for errno`.
Status ioError(const std::string &action, const std::string &path, int error);

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_STATUS_H
