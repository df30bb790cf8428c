//===- TileKernelsAVX2.cpp - The loops over tiles, built for AVX2 ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TileKernelsImpl.h"

namespace elutq::quantize {
extern const TileKernels kTileKernelsAVX2;
const TileKernels kTileKernelsAVX2 = kKernels;
} // namespace elutq::quantize
