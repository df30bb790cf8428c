// RUN: elutq-opt %s -convert-onnx-to-lm | FileCheck %s

// Rows of a constant matrix chosen at run time.
// CHECK-LABEL: func.func @embedding(
// CHECK:         %[[E:.*]] = lm.gather ins({{.*}} : tensor<4xi64>, tensor<10x8xf32>) outs({{.*}}) -> tensor<4x8xf32>
// CHECK:         tensor.expand_shape %[[E]] {{.*}} into tensor<1x4x8xf32>
func.func @embedding(%ids: tensor<1x4xi64>) -> tensor<1x4x8xf32> {
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  return %x : tensor<1x4x8xf32>
}

// A matrix that is no constant is left to convert-onnx-to-linalg.
// CHECK-LABEL: func.func @not_constant(
// CHECK-NOT:     lm.gather
// CHECK:         onnx.Gather
func.func @not_constant(%table: tensor<10x8xf32>, %ids: tensor<1x4xi64>) -> tensor<1x4x8xf32> {
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  return %x : tensor<1x4x8xf32>
}
