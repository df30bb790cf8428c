// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-split-empty))" | FileCheck %s

// CHECK-LABEL: func.func @layers(
// CHECK:         %[[B:.+]] = tensor.empty() : tensor<4xf32>
// CHECK-NEXT:    %[[A:.+]] = tensor.empty() : tensor<4xf32>
// CHECK:         linalg.exp ins({{.*}}) outs(%[[A]] : tensor<4xf32>)
// CHECK:         linalg.exp ins({{.*}}) outs(%[[B]] : tensor<4xf32>)
// CHECK-NOT:     tensor.empty
func.func @layers(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %1 = linalg.exp ins(%0 : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// Both operands of one op are uses; the copies have the size of the original.
// CHECK-LABEL: func.func @dynamic(
// CHECK:         %[[A:.+]] = tensor.empty(%{{.*}}) : tensor<?xf32>
// CHECK-NEXT:    %[[B:.+]] = tensor.empty(%{{.*}}) : tensor<?xf32>
// CHECK-NEXT:    return %[[B]], %[[A]]
func.func @dynamic(%n: index) -> (tensor<?xf32>, tensor<?xf32>) {
  %e = tensor.empty(%n) : tensor<?xf32>
  return %e, %e : tensor<?xf32>, tensor<?xf32>
}

// One use stays as it is.
// CHECK-LABEL: func.func @single(
// CHECK-COUNT-1: tensor.empty
// CHECK-NOT:     tensor.empty
func.func @single() -> tensor<2xf32> {
  %e = tensor.empty() : tensor<2xf32>
  return %e : tensor<2xf32>
}

// Two products start with zeros of their own.
// CHECK-LABEL: func.func @fills(
// CHECK-COUNT-2: tensor.empty()
// CHECK-NEXT:    %[[B:.+]] = linalg.fill
// CHECK-NEXT:    %[[A:.+]] = linalg.fill
// CHECK-NEXT:    linalg.matmul ins(%{{.+}}, %{{.+}} : {{.*}}) outs(%[[A]] :
// CHECK-NEXT:    linalg.matmul ins(%{{.+}}, %{{.+}} : {{.*}}) outs(%[[B]] :
func.func @fills(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = linalg.matmul ins(%0, %w : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}
