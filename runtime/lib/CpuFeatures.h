//===- CpuFeatures.h - What this CPU and system can execute -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_CPUFEATURES_H
#define ELUTQ_RUNTIME_LIB_CPUFEATURES_H

#include "Status.h"

#include <string>
#include <string_view>

namespace elutq::runtime {

/// Checks that CPU and system can run code compiled for `required`, a comma-separated list of LLVM feature names
/// ("+avx2,+fma"; entries with a minus sign are not needed). A vector extension counts only if the system also saves its
/// registers (XCR0). `disabled` (may be null) names features to regard as missing, for tests.
Status checkCpuFeatures(std::string_view required, const char *disabled);

/// Number of threads to use by default: physical cores this process may run on, within the cgroup's CPU quota.
int getDefaultThreads();

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_CPUFEATURES_H
