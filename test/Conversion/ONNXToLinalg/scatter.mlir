// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// One update after the other, so that equal indices add up.
// CHECK-LABEL: func.func @scatter(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<8xf32>
// CHECK:         %[[R:.*]] = scf.for {{.*}} iter_args(%[[S:.*]] = %[[X]]) -> (tensor<8xf32>)
// CHECK:           %[[OLD:.*]] = tensor.extract %[[S]][%[[I:.*]]]
// CHECK:           %[[NEW:.*]] = arith.addf %[[OLD]]
// CHECK:           tensor.insert %[[NEW]] into %[[S]][%[[I]]]
// CHECK:         return %[[R]]
func.func @scatter(%x: tensor<8xf32>, %i: tensor<3xi64>, %u: tensor<3xf32>) -> tensor<8xf32> {
  %0 = onnx.ScatterElements %x, %i, %u {reduction = "add"} : (tensor<8xf32>, tensor<3xi64>, tensor<3xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// A ring: positions beyond the end come round.
// CHECK-LABEL: func.func @cache(
// CHECK:         arith.remui
// CHECK:         tensor.insert
func.func @cache(%c: tensor<1x4x8xf32>, %u: tensor<1x2x8xf32>, %i: tensor<1xi64>) -> tensor<1x4x8xf32> {
  %0 = onnx.TensorScatter %c, %u, %i {axis = 1 : i64, mode = "circular"} : (tensor<1x4x8xf32>, tensor<1x2x8xf32>, tensor<1xi64>) -> tensor<1x4x8xf32>
  return %0 : tensor<1x4x8xf32>
}

// CHECK-LABEL: func.func @top_two(
// CHECK-COUNT-4: scf.for
func.func @top_two(%x: tensor<8xf32>, %k: tensor<1xi64>) -> (tensor<2xf32>, tensor<2xi64>) {
  %0, %1 = onnx.TopK %x, %k : (tensor<8xf32>, tensor<1xi64>) -> (tensor<2xf32>, tensor<2xi64>)
  return %0, %1 : tensor<2xf32>, tensor<2xi64>
}
