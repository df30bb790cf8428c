//===- CacheLine.h - How much a prefetch brings -----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_CONVERSION_CACHELINE_H
#define ELUTQ_LIB_CONVERSION_CACHELINE_H

#include <cstdint>

namespace elutq {

/// Bytes of a cache line, on x86-64 and on most AArch64 processors. Where lines are longer, some are asked for twice.
inline constexpr int64_t kLineBytes = 64;

} // namespace elutq

#endif // ELUTQ_LIB_CONVERSION_CACHELINE_H
