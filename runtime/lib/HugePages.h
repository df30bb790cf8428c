//===- HugePages.h - How much of a range lies in huge pages -----*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_RUNTIME_LIB_HUGEPAGES_H
#define ELUTQ_RUNTIME_LIB_HUGEPAGES_H

#include <cstddef>
#include <cstdint>
#include <istream>

namespace elutq::runtime {

/// How many of the `bytes` from `begin` on this process reads through huge pages: of what is written there, or was read from a
/// mapped file. 0 where the system does not say.
uint64_t countHugePageBytes(const void *begin, size_t bytes);

/// The same of an address range and the text of /proc/PID/smaps (proc_pid_smaps(5)). It counts by mappings: one that is partly in
/// the range counts with no more than that part.
uint64_t countHugePageBytes(std::istream &smaps, uint64_t begin, uint64_t end);

} // namespace elutq::runtime

#endif // ELUTQ_RUNTIME_LIB_HUGEPAGES_H
