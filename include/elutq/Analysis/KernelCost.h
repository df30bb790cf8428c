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
#include <vector>

namespace elutq {

/// Sums of 16 rows of weights that look-ups with dword lanes form at once, one per plane, row of activations and byte of an entry:
/// registers hold as many, with what look-ups need.
inline constexpr int64_t kDwordSums = 24;

/// Rows of activations that a task of a product has at least where these are cut, too: what it takes to read the weights again.
inline constexpr int64_t kTaskRows = 128;

/// The instruction sets that kernels are written for.
enum class KernelISA { Generic, NEON, NEONDotprod, AVX2, AVX512BW, AVX512VBMI, AVX512AMX };

/// The names of `#hlq.kernel`; none for an unknown name.
std::optional<KernelISA> parseKernelISA(std::string_view name);
std::string_view toString(KernelISA isa);

/// How weights are packed for `isa`: all entry points of a model share one copy. The parameters are filled in by the
/// caller, who knows what the weights have.
quantize::PackedLayout getLayout(KernelISA isa, int64_t bits, int64_t groupSize);

/// Columns of activations that share one scale: the largest of 128, 64, 32 and 16 that divides `groupSize`.
int64_t getTableGroup(int64_t groupSize);

/// How a product is computed: look-ups of planes in tables of activations, or products of rounded activations with codes,
/// stored (8 bits) or made from planes.
enum class KernelAlgorithm { Lut, Dot };

/// The names of `#hlq.kernel`; none for an unknown name.
std::optional<KernelAlgorithm> parseKernelAlgorithm(std::string_view name);
std::string_view toString(KernelAlgorithm algorithm);

/// A product: `rows` rows of activations times `n` rows of weights with `groups` groups each.
struct ProductShape {
  int64_t rows;
  int64_t n;
  int64_t groups;
};

/// The kernel of one product.
struct KernelChoice {
  KernelAlgorithm algorithm;
  /// Bits of a table entry or of a rounded activation.
  int64_t tableBits;
  /// Rows of activations that share one pass over the weights.
  int64_t mTile;
  /// Row blocks of one parallel task; divides the number of row blocks, so that every task has the same shape.
  int64_t nTile;

  bool operator==(const KernelChoice &other) const {
    return algorithm == other.algorithm && tableBits == other.tableBits && mTile == other.mTile && nTile == other.nTile;
  }
};

/// Cycles that one core needs for 16 rows and 16 columns of weights and all rows of activations, with the instructions
/// alone: what memory gives is the same for every algorithm. Counts the share of tables or rounded activations that falls to
/// 16 of the rows of weights. For planes only.
double estimateCycles(KernelISA isa, KernelAlgorithm algorithm, const quantize::PackedLayout &layout, int64_t tableBits, const ProductShape &shape);

/// Chooses the kernel of a product whose entries have at least `tableBits` bits. `algorithm`, where given, is obeyed as far
/// as the weights allow: codes of 8 bits are always multiplied.
KernelChoice chooseKernel(KernelISA isa, const quantize::PackedLayout &layout, const ProductShape &shape,
                          int64_t tableBits, std::optional<KernelAlgorithm> algorithm = std::nullopt);

/// The choice of `chooseKernel`, and kernels of either algorithm with other tiles near it: what is worth timing. Leaves out
/// an algorithm that the model takes for hopeless, or that `algorithm` excludes.
std::vector<KernelChoice> listKernels(KernelISA isa, const quantize::PackedLayout &layout, const ProductShape &shape,
                                      int64_t tableBits, std::optional<KernelAlgorithm> algorithm = std::nullopt);

} // namespace elutq

#endif // ELUTQ_ANALYSIS_KERNELCOST_H
