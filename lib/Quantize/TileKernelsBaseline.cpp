//===- TileKernelsBaseline.cpp - The loops over tiles, built for Baseline ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TileKernelsImpl.h"

namespace elutq::quantize {
extern const TileKernels kTileKernelsBaseline;
const TileKernels kTileKernelsBaseline = kKernels;
} // namespace elutq::quantize
