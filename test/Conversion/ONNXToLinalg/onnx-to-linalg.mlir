// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// A product with a constant is two-dimensional; the node's name stays on it.
// CHECK-LABEL: func.func @matmul(
// CHECK:         %[[X:.*]] = tensor.collapse_shape {{.*}} into tensor<3x8xf32>
// CHECK:         linalg.matmul ins(%[[X]], {{.*}} : tensor<3x8xf32>, tensor<8x5xf32>)
func.func @matmul(%x: tensor<1x3x8xf32>) -> tensor<1x3x5xf32> {
  %w = arith.constant dense<1.0> : tensor<8x5xf32>
  %y = onnx.MatMul %x, %w : (tensor<1x3x8xf32>, tensor<8x5xf32>) -> tensor<1x3x5xf32>
  return %y : tensor<1x3x5xf32>
}

// A transposed constant stays as it is in memory: `[N, K]`.
// CHECK-LABEL: func.func @tied_head(
// CHECK-NOT:     linalg.transpose
// CHECK:         linalg.matmul indexing_maps = [{{.*}}] ins({{.*}} : tensor<3x8xf32>, tensor<5x8xf32>)
func.func @tied_head(%x: tensor<1x3x8xf32>) -> tensor<1x3x5xf32> {
  %e = arith.constant dense<1.0> : tensor<5x8xf32>
  %w = onnx.Transpose %e {perm = array<i64: 1, 0>} : (tensor<5x8xf32>) -> tensor<8x5xf32>
  %y = onnx.MatMul %x, %w : (tensor<1x3x8xf32>, tensor<8x5xf32>) -> tensor<1x3x5xf32>
  return %y : tensor<1x3x5xf32>
}

// Broadcasting drops the batch and stretched dimensions; a splat becomes a constant of the body.
// CHECK-LABEL: func.func @broadcast(
// CHECK:         linalg.generic {{.*}} iterator_types = ["parallel", "parallel"]} ins({{.*}} : tensor<3x8xf32>, tensor<3xf32>)
// CHECK:           arith.addf
// CHECK:         linalg.generic {{.*}} ins({{.*}} : tensor<3x8xf32>)
// CHECK:           arith.mulf %{{.*}}, %[[C:.*]] : f32
func.func @broadcast(%x: tensor<1x3x8xf32>, %y: tensor<1x3x1xf32>) -> tensor<1x3x8xf32> {
  %c = arith.constant dense<2.0> : tensor<f32>
  %0 = onnx.Add %x, %y : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %1 = onnx.Mul %0, %c : (tensor<1x3x8xf32>, tensor<f32>) -> tensor<1x3x8xf32>
  return %1 : tensor<1x3x8xf32>
}

// The norm sums the squares of a row, then scales it.
// CHECK-LABEL: func.func @norm(
// CHECK:         linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]} ins({{.*}} : tensor<3x8xf32>)
// CHECK:         math.sqrt
// CHECK:         linalg.generic {{.*}} ins({{.*}} : tensor<3x8xf32>, tensor<3xf32>, tensor<8xf32>)
func.func @norm(%x: tensor<1x3x8xf32>, %s: tensor<8xf32>) -> tensor<1x3x8xf32> {
  %y = onnx.RMSNormalization %x, %s : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  return %y : tensor<1x3x8xf32>
}

// Only dimensions larger than one are moved: with one row, a transposition of heads is a reshape.
// CHECK-LABEL: func.func @transpose_one_row(
// CHECK-NOT:     linalg.transpose
func.func @transpose_one_row(%x: tensor<1x1x4x8xf32>) -> tensor<1x4x1x8xf32> {
  %y = onnx.Transpose %x {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x4x8xf32>) -> tensor<1x4x1x8xf32>
  return %y : tensor<1x4x1x8xf32>
}

// What nobody uses need not be supported.
// CHECK-LABEL: func.func @unused(
// CHECK-NEXT:    return
func.func @unused(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.constant dense<1.0> : tensor<2x2xf32>
  %y = onnx.Det %0 : (tensor<2x2xf32>) -> tensor<f32>
  return %x : tensor<4xf32>
}
