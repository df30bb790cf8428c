// RUN: elutq-opt %s -split-input-file -lm-build-entry="entry=prefill chunk=4 max-context=16" | FileCheck %s

// As onnxruntime-genai's model builder masks MultiHeadAttention: a triangle over the new rows, expanded to all keys, plus what hides padding,
// for each head. It is causal.
// CHECK-LABEL: func.func @prefill(
// CHECK:         lm.attention
// CHECK-NOT:     window
// CHECK-NOT:     onnx.Tile
func.func @sum_of_two(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %square = arith.constant dense<4> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %heads = arith.constant dense<[1, 2, 1, 1]> : tensor<4xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %f1 = arith.constant dense<1.0> : tensor<f32>
  %hidden = arith.constant dense<-6.550400e+04> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %mask {start = 1 : i64} : (tensor<1x?xi64>) -> tensor<1xi64>
  %full = onnx.Concat %a1, %a1, %a4, %shape {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  // Row i of the new ones sees those up to itself.
  %all = onnx.ConstantOfShape %square {value = dense<-6.550400e+04> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<4x4xf32>
  %index = onnx.Range %i0, %i4, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %next = onnx.Add %index, %i1 : (tensor<4xi64>, tensor<i64>) -> tensor<4xi64>
  %column = onnx.Reshape %next, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %visible = onnx.Less %index, %column : (tensor<4xi64>, tensor<4x1xi64>) -> tensor<4x4xi1>
  %triangle = onnx.Where %visible, %f0, %all : (tensor<4x4xi1>, tensor<f32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %plane = onnx.Unsqueeze %triangle, %front : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<1x1x4x4xf32>
  %causal = onnx.Expand %plane, %full : (tensor<1x1x4x4xf32>, tensor<4xi64>) -> tensor<1x1x4x?xf32>
  // Padding.
  %flags = onnx.Unsqueeze %mask, %front : (tensor<1x?xi64>, tensor<2xi64>) -> tensor<1x1x1x?xi64>
  %wide = onnx.Expand %flags, %full : (tensor<1x1x1x?xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %numbers = onnx.Cast %wide {to = 1 : i64} : (tensor<1x1x4x?xi64>) -> tensor<1x1x4x?xf32>
  %inverted = onnx.Sub %f1, %numbers : (tensor<f32>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  %isPadding = onnx.Cast %inverted {to = 9 : i64} : (tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xi1>
  %padding = onnx.Where %isPadding, %hidden, %inverted : (tensor<1x1x4x?xi1>, tensor<f32>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  %sum = onnx.Add %padding, %causal : (tensor<1x1x4x?xf32>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  %final = onnx.Tile %sum, %heads : (tensor<1x1x4x?xf32>, tensor<4xi64>) -> tensor<1x2x4x?xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %final, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x2x4x?xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}
