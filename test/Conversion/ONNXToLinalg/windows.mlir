// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// Padding adds nothing: what is outside counts as 0.
// CHECK-LABEL: func.func @conv(
// CHECK-COUNT-7: scf.for
// CHECK:         %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:    %[[IN:.*]] = arith.select %{{.*}}, %{{.*}}, %[[ZERO]] : f32
// CHECK:         arith.mulf %[[IN]]
func.func @conv(%x: tensor<1x2x5x5xf32>, %w: tensor<3x2x3x3xf32>, %b: tensor<3xf32>) -> tensor<1x3x5x5xf32> {
  %0 = onnx.Conv %x, %w, %b {pads = array<i64: 1, 1, 1, 1>} : (tensor<1x2x5x5xf32>, tensor<3x2x3x3xf32>, tensor<3xf32>) -> tensor<1x3x5x5xf32>
  return %0 : tensor<1x3x5x5xf32>
}

// CHECK-LABEL: func.func @max_pool(
// CHECK:         arith.constant 0xFF800000 : f32
// CHECK:         arith.maximumf
func.func @max_pool(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x2x2xf32> {
  %0, %1 = onnx.MaxPool %x {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<1x2x4x4xf32>) -> (tensor<1x2x2x2xf32>, none)
  return %0 : tensor<1x2x2x2xf32>
}
