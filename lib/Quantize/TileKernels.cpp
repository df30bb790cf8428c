//===- TileKernels.cpp - Choose the loops for this machine ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TileKernels.h"

#include <initializer_list>

namespace elutq::quantize {
extern const TileKernels kTileKernelsBaseline;
#ifdef ELUTQ_QUANTIZE_X86
extern const TileKernels kTileKernelsAVX2, kTileKernelsAVX512;
#endif
} // namespace elutq::quantize

using namespace elutq::quantize;

const TileKernels *elutq::quantize::getTileKernels(TileISA isa) {
  switch (isa) {
  case TileISA::Baseline:
    return &kTileKernelsBaseline;
#ifdef ELUTQ_QUANTIZE_X86
  case TileISA::AVX2:
    return __builtin_cpu_supports("avx2") ? &kTileKernelsAVX2 : nullptr;
  case TileISA::AVX512:
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
               ? &kTileKernelsAVX512
               : nullptr;
#endif
  default:
    return nullptr;
  }
}

const TileKernels &elutq::quantize::getTileKernels() {
  for (TileISA isa : {TileISA::AVX512, TileISA::AVX2})
    if (const TileKernels *kernels = getTileKernels(isa))
      return *kernels;
  return kTileKernelsBaseline;
}
