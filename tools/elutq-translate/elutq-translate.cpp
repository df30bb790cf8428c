//===- elutq-translate.cpp - Other formats to MLIR --------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/ONNX/ExportHLQ.h"
#include "elutq/Target/ONNX/ImportONNX.h"

#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"

int main(int argc, char **argv) {
  elutq::registerExportHLQTranslation();
  elutq::registerImportONNXTranslation();
  return mlir::failed(mlir::mlirTranslateMain(argc, argv, "ELUTQ translation tool\n"));
}
