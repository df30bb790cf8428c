//===- SymbolicShapes.cpp - The names of a model's dimensions -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/ONNX/SymbolicShapes.h"
#include "Model.h"

using namespace llvm;

namespace elutq {

Expected<SymbolicShapes> readSymbolicShapes(StringRef path) {
  auto model = readModel(path);
  if (!model)
    return model.takeError();
  SymbolicShapes shapes;
  const ::onnx::GraphProto &graph = (*model)->proto.graph();
  for (const auto *values : {&graph.input(), &graph.output()})
    for (const ::onnx::ValueInfoProto &value : *values) {
      std::vector<std::string> &names = shapes[value.name()];
      for (const auto &dim : value.type().tensor_type().shape().dim())
        names.push_back(dim.dim_param());
    }
  return shapes;
}

} // namespace elutq
