// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// Rounded to nearest even, and clamped to what eight bits hold.
// CHECK-LABEL: func.func @quantize(
// CHECK:         arith.divf
// CHECK:         math.roundeven
// CHECK:         arith.uitofp %{{.*}} : i8 to f32
// CHECK:         %[[TOP:.*]] = arith.constant 2.550000e+02 : f32
// CHECK:         arith.minimumf %{{.*}}, %[[TOP]]
// CHECK:         arith.fptoui %{{.*}} : f32 to i8
func.func @quantize(%x: tensor<4x6xf32>, %s: tensor<6xf32>, %z: tensor<6xui8>) -> tensor<4x6xui8> {
  %0 = onnx.QuantizeLinear %x, %s, %z : (tensor<4x6xf32>, tensor<6xf32>, tensor<6xui8>) -> tensor<4x6xui8>
  return %0 : tensor<4x6xui8>
}

// A scale per block of three elements.
// CHECK-LABEL: func.func @blocks(
// CHECK-SAME:    %{{.*}}: tensor<4x6xi8>, %[[S:[^:]*]]: tensor<4x2xf32>
// CHECK:         %[[B:.*]] = arith.divui
// CHECK:         tensor.extract %[[S]][%{{.*}}, %[[B]]]
func.func @blocks(%x: tensor<4x6xi8>, %s: tensor<4x2xf32>) -> tensor<4x6xf32> {
  %none = onnx.None
  %0 = onnx.DequantizeLinear %x, %s, %none {block_size = 3 : i64} : (tensor<4x6xi8>, tensor<4x2xf32>, none) -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}
