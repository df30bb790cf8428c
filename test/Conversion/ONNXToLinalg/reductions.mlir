// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// A maximum of integers begins with the least one.
// CHECK-LABEL: func.func @integers(
// CHECK:         arith.constant -128 : i8
// CHECK:         linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
// CHECK:           arith.maxsi
func.func @integers(%x: tensor<4x3xi8>) -> tensor<4x1xi8> {
  %a = arith.constant dense<1> : tensor<1xi64>
  %0 = onnx.ReduceMax %x, %a : (tensor<4x3xi8>, tensor<1xi64>) -> tensor<4x1xi8>
  return %0 : tensor<4x1xi8>
}

// Axes that the graph computes: the strides of the result follow from them, 0 for those that are reduced.
// CHECK-LABEL: func.func @computed_axes(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<4x3xf32>, %[[A:[^:]*]]: tensor<1xi64>
// CHECK:         tensor.extract %[[A]]
// CHECK:         arith.select
// CHECK:         scf.for
// CHECK:           scf.for
// CHECK:             tensor.extract %[[X]]
// CHECK:             arith.addf
// CHECK:             tensor.insert
func.func @computed_axes(%x: tensor<4x3xf32>, %a: tensor<1xi64>) -> tensor<4xf32> {
  %0 = onnx.ReduceSum %x, %a {keepdims = 0 : i64} : (tensor<4x3xf32>, tensor<1xi64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// Softmax over another dimension than the last.
// CHECK-LABEL: func.func @softmax(
// CHECK:         linalg.transpose
// CHECK:         math.exp
// CHECK:         linalg.transpose
func.func @softmax(%x: tensor<4x3xf32>) -> tensor<4x3xf32> {
  %0 = onnx.Softmax %x {axis = 0 : i64} : (tensor<4x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// The last one of equal elements.
// CHECK-LABEL: func.func @arg_max(
// CHECK:         arith.cmpf oge
func.func @arg_max(%x: tensor<4x3xf32>) -> tensor<1x3xi64> {
  %0 = onnx.ArgMax %x {select_last_index = 1 : i64} : (tensor<4x3xf32>) -> tensor<1x3xi64>
  return %0 : tensor<1x3xi64>
}
