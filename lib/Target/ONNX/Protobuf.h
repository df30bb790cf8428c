//===- Protobuf.h - ONNX's protobuf classes ---------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_TARGET_ONNX_PROTOBUF_H
#define ELUTQ_LIB_TARGET_ONNX_PROTOBUF_H

// The generated classes are not free of warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx/onnx_pb.h"
#pragma GCC diagnostic pop

#endif // ELUTQ_LIB_TARGET_ONNX_PROTOBUF_H
