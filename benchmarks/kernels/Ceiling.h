//===- Ceiling.h - How fast a kernel's instructions can be ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_BENCHMARKS_KERNELS_CEILING_H
#define ELUTQ_BENCHMARKS_KERNELS_CEILING_H

#include "ThreadPool.h"
#include "elutq/Tune/Product.h"

namespace elutq::bench {

/// Multiplications and additions per second that `product` would do if nothing but its look-ups and their sums (algorithm lut), or its
/// products of bytes and their sums (dot), took time: these instructions alone, on registers, on all threads of `pool`. 0 for
/// an instruction set that it does not know.
double measureCeiling(const tune::Product &product, const tune::ProductOptions &options, runtime::ThreadPool &pool);

} // namespace elutq::bench

#endif // ELUTQ_BENCHMARKS_KERNELS_CEILING_H
