// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// A slice whose start the graph computes: negative starts count from the end, and it begins inside.
// CHECK-LABEL: func.func @computed_slice(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<8x3xf32>, %[[S:[^:]*]]: tensor<1xi64>
// CHECK:         linalg.generic {{.*}} outs({{.*}} : tensor<2x3xf32>)
// CHECK:           tensor.extract %[[S]]
// CHECK:           arith.select
// CHECK:           arith.maxsi
// CHECK:           arith.minsi
// CHECK:           tensor.extract %[[X]]
func.func @computed_slice(%x: tensor<8x3xf32>, %s: tensor<1xi64>, %e: tensor<1xi64>) -> tensor<2x3xf32> {
  %none = onnx.None
  %0 = onnx.Slice %x, %s, %e, %none, %none : (tensor<8x3xf32>, tensor<1xi64>, tensor<1xi64>, none, none) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// CHECK-LABEL: func.func @tile(
// CHECK:         arith.remui
// CHECK:         tensor.extract
func.func @tile(%x: tensor<2x3xf32>, %r: tensor<2xi64>) -> tensor<4x9xf32> {
  %0 = onnx.Tile %x, %r : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<4x9xf32>
  return %0 : tensor<4x9xf32>
}

// Outside of the data, the value that pads; nothing is read there.
// CHECK-LABEL: func.func @pad(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<3xf32>, %{{[^:]*}}: tensor<2xi64>, %[[V:[^:]*]]: tensor<f32>
// CHECK:         arith.cmpi ult
// CHECK-DAG:     %[[FILL:.*]] = tensor.extract %[[V]][]
// CHECK-DAG:     %[[E:.*]] = tensor.extract %[[X]]
// CHECK:         arith.select %{{.*}}, %[[E]], %[[FILL]] : f32
func.func @pad(%x: tensor<3xf32>, %p: tensor<2xi64>, %v: tensor<f32>) -> tensor<6xf32> {
  %none = onnx.None
  %0 = onnx.Pad %x, %p, %v, %none : (tensor<3xf32>, tensor<2xi64>, tensor<f32>, none) -> tensor<6xf32>
  return %0 : tensor<6xf32>
}

// CHECK-LABEL: func.func @range(
// CHECK:         linalg.index 0
// CHECK:         arith.muli
// CHECK:         arith.addi
func.func @range(%s: tensor<i64>, %l: tensor<i64>, %d: tensor<i64>) -> tensor<5xi64> {
  %0 = onnx.Range %s, %l, %d : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<5xi64>
  return %0 : tensor<5xi64>
}
