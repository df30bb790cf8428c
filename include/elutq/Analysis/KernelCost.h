//===- KernelCost.h - Which kernel computes a product -----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_ANALYSIS_KERNELCOST_H
#define ELUTQ_ANALYSIS_KERNELCOST_H

#include "elutq/Quantize/Packing.h"

#include <optional>
#include <string_view>

namespace elutq {

/// The instruction sets that kernels are written for.
enum class KernelISA { Generic, NEON, NEONDotprod, AVX2, AVX512BW, AVX512VBMI };

/// The names of `#hlq.kernel`; none for an unknown name.
std::optional<KernelISA> parseKernelISA(std::string_view name);
std::string_view toString(KernelISA isa);

/// How weights are packed for `isa`: all entry points of a model share one copy. The parameters are filled in by the
/// caller, who knows what the weights have.
quantize::PackedLayout getLayout(KernelISA isa, int64_t bits, int64_t groupSize);

/// The algorithm of `#hlq.kernel` for weights of `bits` bits: look-ups for planes, products for codes of 8 bits.
std::string_view getAlgorithm(int64_t bits);

/// Columns of activations that share one scale: the largest of 128, 64, 32 and 16 that divides `groupSize`.
int64_t getTableGroup(int64_t groupSize);

/// The tiles of one product.
struct KernelTiles {
  /// Rows of activations that share one pass over the weights.
  int64_t m;
  /// Row blocks of one parallel task; divides the number of row blocks, so that every task has the same shape.
  int64_t n;
};

/// Chooses tiles for `rows` rows of activations and `n` rows of weights with `groups` groups each.
KernelTiles chooseTiles(KernelISA isa, const quantize::PackedLayout &layout, int64_t rows, int64_t n, int64_t groups);

} // namespace elutq

#endif // ELUTQ_ANALYSIS_KERNELCOST_H
