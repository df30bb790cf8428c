// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-simplify-linalg))" | FileCheck %s

// A producer with one use becomes part of its consumer.
// CHECK-LABEL: func.func @chain(
// CHECK-SAME:    %[[X:.*]]: tensor<4x64xf32>, %[[Y:.*]]: tensor<4x64xf32>)
// CHECK:         linalg.generic {{.*}} ins(%[[X]], %[[Y]] :
// CHECK:           %[[SUM:.+]] = arith.addf
// CHECK:           math.exp %[[SUM]]
// CHECK-NOT:     linalg.generic
// CHECK:         return
func.func @chain(%x: tensor<4x64xf32>, %y: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %e = tensor.empty() : tensor<4x64xf32>
  %s = linalg.add ins(%x, %y : tensor<4x64xf32>, tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
  %r = linalg.exp ins(%s : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %r : tensor<4x64xf32>
}

// What two ops read is computed once.
// CHECK-LABEL: func.func @two_uses(
// CHECK:         linalg.generic
// CHECK:           math.exp
// CHECK:         linalg.generic
// CHECK:           arith.addf
// CHECK:         linalg.generic
// CHECK:           arith.subf
func.func @two_uses(%x: tensor<64xf32>, %y: tensor<64xf32>) -> (tensor<64xf32>, tensor<64xf32>) {
  %e = tensor.empty() : tensor<64xf32>
  %s = linalg.exp ins(%x : tensor<64xf32>) outs(%e : tensor<64xf32>) -> tensor<64xf32>
  %a = linalg.add ins(%s, %y : tensor<64xf32>, tensor<64xf32>) outs(%e : tensor<64xf32>) -> tensor<64xf32>
  %b = linalg.sub ins(%s, %y : tensor<64xf32>, tensor<64xf32>) outs(%e : tensor<64xf32>) -> tensor<64xf32>
  return %a, %b : tensor<64xf32>, tensor<64xf32>
}

// A product keeps its form and its operand: the exponential is not computed again for every column.
// CHECK-LABEL: func.func @product(
// CHECK:         %[[X:.+]] = linalg.generic
// CHECK:           math.exp
// CHECK:         linalg.matmul ins(%[[X]],
func.func @product(%x: tensor<4x64xf32>, %w: tensor<64x32xf32>, %init: tensor<4x32xf32>) -> tensor<4x32xf32> {
  %e = tensor.empty() : tensor<4x64xf32>
  %s = linalg.exp ins(%x : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
  %y = linalg.matmul ins(%s, %w : tensor<4x64xf32>, tensor<64x32xf32>) outs(%init : tensor<4x32xf32>) -> tensor<4x32xf32>
  return %y : tensor<4x32xf32>
}

// Parts are written where they belong, with no op that bufferizes to a copy.
// CHECK-LABEL: func.func @concat(
// CHECK-NOT:     tensor.concat
// CHECK:         %[[LEFT:.+]] = tensor.insert_slice %{{.+}} into %{{.+}}[0, 0] [4, 8] [1, 1]
// CHECK:         tensor.insert_slice %{{.+}} into %[[LEFT]][0, 8] [4, 24] [1, 1]
func.func @concat(%x: tensor<4x8xf32>, %y: tensor<4x24xf32>) -> tensor<4x32xf32> {
  %r = tensor.concat dim(1) %x, %y : (tensor<4x8xf32>, tensor<4x24xf32>) -> tensor<4x32xf32>
  return %r : tensor<4x32xf32>
}
