// RUN: elutq-opt %s -lm-build-entry="entry=prefill chunk=4 max-context=16" | FileCheck %s

// Caches of fixed size, which TensorScatter writes at the position of the first new row and of which Attention reads as many positions as there
// are: both inputs go.
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %{{.*}}: tensor<4xi64>, %{{.*}}: index, %{{.*}}: index, %[[K:.*]]: tensor<2x1x4x64xf16>, %[[V:.*]]: tensor<2x64x4xf16>)
// CHECK-DAG:     %[[NEWK:.*]] = lm.cache_append {{.*}} outs(%[[K]] :
// CHECK-DAG:     %[[NEWV:.*]] = lm.cache_append {{.*}} outs(%[[V]] :
// CHECK:         lm.attention {{.*}}%[[NEWK]], %[[NEWV]]
// CHECK-NOT:     onnx.TensorScatter
func.func @main_graph(%ids: tensor<1x4xi64>, %pk: tensor<1x2x16x4xf32>, %pv: tensor<1x2x16x4xf32>, %start: tensor<1xi64>, %length: tensor<1xi64>)
    -> (tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %split = arith.constant dense<[1, 4, 2, 4]> : tensor<4xi64>
  %flat = arith.constant dense<[1, 4, 8]> : tensor<3xi64>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %r = onnx.Reshape %x, %split : (tensor<1x4x8xf32>, tensor<4xi64>) -> tensor<1x4x2x4xf32>
  %h = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x4xf32>) -> tensor<1x2x4x4xf32>
  %k = onnx.TensorScatter %pk, %h, %start {axis = 2 : i64} : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %v = onnx.TensorScatter %pv, %h, %start : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %y, %nk, %nv, %qk = onnx.Attention %h, %k, %v, %none, %none, %none, %length {is_causal = 1 : i64}
    : (tensor<1x2x4x4xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>, none, none, none, tensor<1xi64>) -> (tensor<1x2x4x4xf32>, none, none, none)
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x2x4xf32>
  %logits = onnx.Reshape %t, %flat : (tensor<1x4x2x4xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  return %logits, %k, %v : tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>
}
