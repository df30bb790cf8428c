// RUN: not elutq-opt %s -split-input-file -lm-build-entry="entry=prefill chunk=4 max-context=16" 2>&1 | FileCheck %s

// CHECK: expected its key to be an input of the model into which TensorScatter writes along the positions, in the mode "linear" and with write_indices
func.func @circular(%ids: tensor<1x4xi64>, %pk: tensor<1x2x16x4xf32>, %pv: tensor<1x2x16x4xf32>, %start: tensor<1xi64>, %length: tensor<1xi64>)
    -> (tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %split = arith.constant dense<[1, 4, 2, 4]> : tensor<4xi64>
  %flat = arith.constant dense<[1, 4, 8]> : tensor<3xi64>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %r = onnx.Reshape %x, %split : (tensor<1x4x8xf32>, tensor<4xi64>) -> tensor<1x4x2x4xf32>
  %h = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x4xf32>) -> tensor<1x2x4x4xf32>
  %k = onnx.TensorScatter %pk, %h, %start {axis = 2 : i64, mode = "circular"} : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %v = onnx.TensorScatter %pv, %h, %start : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %y, %nk, %nv, %qk = onnx.Attention %h, %k, %v, %none, %none, %none, %length {is_causal = 1 : i64}
    : (tensor<1x2x4x4xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>, none, none, none, tensor<1xi64>) -> (tensor<1x2x4x4xf32>, none, none, none)
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x2x4xf32>
  %logits = onnx.Reshape %t, %flat : (tensor<1x4x2x4xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  return %logits, %k, %v : tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>
}

// -----

// CHECK: expected nonpad_kv_seqlen beside is_causal, for its cache of fixed size begins at position 0
func.func @no_length(%ids: tensor<1x4xi64>, %pk: tensor<1x2x16x4xf32>, %pv: tensor<1x2x16x4xf32>, %start: tensor<1xi64>, %length: tensor<1xi64>)
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
  %y, %nk, %nv, %qk = onnx.Attention %h, %k, %v, %none, %none, %none, %none {is_causal = 1 : i64}
    : (tensor<1x2x4x4xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>, none, none, none, none) -> (tensor<1x2x4x4xf32>, none, none, none)
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x2x4xf32>
  %logits = onnx.Reshape %t, %flat : (tensor<1x4x2x4xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  return %logits, %k, %v : tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>
}

// -----

// CHECK: expected TensorScatter to write at the position of the first new row
func.func @elsewhere(%ids: tensor<1x4xi64>, %pk: tensor<1x2x16x4xf32>, %pv: tensor<1x2x16x4xf32>, %start: tensor<1xi64>, %length: tensor<1xi64>)
    -> (tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %split = arith.constant dense<[1, 4, 2, 4]> : tensor<4xi64>
  %flat = arith.constant dense<[1, 4, 8]> : tensor<3xi64>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %r = onnx.Reshape %x, %split : (tensor<1x4x8xf32>, tensor<4xi64>) -> tensor<1x4x2x4xf32>
  %h = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x4xf32>) -> tensor<1x2x4x4xf32>
  %k = onnx.TensorScatter %pk, %h, %start {axis = 2 : i64} : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %one = arith.constant dense<1> : tensor<1xi64>
  %next = onnx.Add %start, %one : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %v = onnx.TensorScatter %pv, %h, %next : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %y, %nk, %nv, %qk = onnx.Attention %h, %k, %v, %none, %none, %none, %length {is_causal = 1 : i64}
    : (tensor<1x2x4x4xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>, none, none, none, tensor<1xi64>) -> (tensor<1x2x4x4xf32>, none, none, none)
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x2x4xf32>
  %logits = onnx.Reshape %t, %flat : (tensor<1x4x2x4xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  return %logits, %k, %v : tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>
}

// -----

// CHECK: expected keys and values of one kind of cache, and nonpad_kv_seqlen only with those that TensorScatter writes
// CHECK-NOT: lm.attention
func.func @mixed(%ids: tensor<1x4xi64>, %pk: tensor<1x2x16x4xf32>, %pv: tensor<1x2x?x4xf32>, %start: tensor<1xi64>, %length: tensor<1xi64>)
    -> (tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %split = arith.constant dense<[1, 4, 2, 4]> : tensor<4xi64>
  %flat = arith.constant dense<[1, 4, 8]> : tensor<3xi64>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %r = onnx.Reshape %x, %split : (tensor<1x4x8xf32>, tensor<4xi64>) -> tensor<1x4x2x4xf32>
  %h = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x4xf32>) -> tensor<1x2x4x4xf32>
  %k = onnx.TensorScatter %pk, %h, %start {axis = 2 : i64} : (tensor<1x2x16x4xf32>, tensor<1x2x4x4xf32>, tensor<1xi64>) -> tensor<1x2x16x4xf32>
  %v = onnx.Concat %pv, %h {axis = 2 : i64} : (tensor<1x2x?x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x?x4xf32>
  %y, %nk, %nv, %qk = onnx.Attention %h, %k, %v, %none, %none, %none, %length {is_causal = 1 : i64}
    : (tensor<1x2x4x4xf32>, tensor<1x2x16x4xf32>, tensor<1x2x?x4xf32>, none, none, none, tensor<1xi64>) -> (tensor<1x2x4x4xf32>, none, none, none)
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x2x4xf32>
  %logits = onnx.Reshape %t, %flat : (tensor<1x4x2x4xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  return %logits, %k, %v : tensor<1x4x8xf32>, tensor<1x2x16x4xf32>, tensor<1x2x?x4xf32>
}
