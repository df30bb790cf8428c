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

// A table that the model stores for its output head is stored by rows instead; the head transposes it.
// CHECK-LABEL: func.func @transposed_table(
// CHECK:         %[[T:.*]] = arith.constant dense<{{\[}}[1.000000e+00, 4.000000e+00], [2.000000e+00, 5.000000e+00], [3.000000e+00, 6.000000e+00]]> : tensor<3x2xf32>
// CHECK:         %[[W:.*]] = onnx.Transpose %[[T]] {perm = array<i64: 1, 0>}
// CHECK:         lm.gather ins({{.*}}, %[[T]] : tensor<1xi64>, tensor<3x2xf32>)
// CHECK:         onnx.MatMul {{.*}}, %[[W]]
func.func @transposed_table(%ids: tensor<1x1xi64>) -> tensor<1x1x3xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %table = onnx.Transpose %w {perm = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %x = onnx.Gather %table, %ids : (tensor<3x2xf32>, tensor<1x1xi64>) -> tensor<1x1x2xf32>
  %y = onnx.MatMul %x, %w : (tensor<1x1x2xf32>, tensor<2x3xf32>) -> tensor<1x1x3xf32>
  return %y : tensor<1x1x3xf32>
}

// A matrix that is no constant is left to convert-onnx-to-linalg.
// CHECK-LABEL: func.func @not_constant(
// CHECK-NOT:     lm.gather
// CHECK:         onnx.Gather
func.func @not_constant(%table: tensor<10x8xf32>, %ids: tensor<1x4xi64>) -> tensor<1x4x8xf32> {
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  return %x : tensor<1x4x8xf32>
}
