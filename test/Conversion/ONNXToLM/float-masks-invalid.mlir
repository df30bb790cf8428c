// RUN: not elutq-opt %s -split-input-file -lm-build-entry="chunk=4 max-context=16" 2>&1 | FileCheck %s

// CHECK-COUNT-3: 'onnx.Attention': its mask is not understood
// CHECK-NOT: lm.attention

// A triangle that starts at the third diagonal shows what lies behind the position, and what one of two factors shows is visible.
func.func @diagonal(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i2 = arith.constant dense<2> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %a0 = arith.constant dense<0> : tensor<1xi64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a3 = arith.constant dense<3> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %ones = arith.constant dense<1> : tensor<4xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %hidden = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %pk : (tensor<1x2x?x4xf32>) -> tensor<4xi64>
  %past = onnx.Gather %shape, %i2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %total = onnx.Add %past, %i4 : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %total1 = onnx.Unsqueeze %total, %a0 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %rows = onnx.Range %past, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %keys = onnx.Range %i0, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // Above the diagonal, and behind the position of the row.
  %size = onnx.Concat %a4, %total1 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %all = onnx.ConstantOfShape %size {value = dense<-3.40282347E+38> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<4x?xf32>
  %triangle = onnx.Trilu %all, %i4 {upper = 1 : i64} : (tensor<4x?xf32>, tensor<i64>) -> tensor<4x?xf32>
  %column = onnx.Reshape %rows, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %behind = onnx.Greater %keys, %column : (tensor<?xi64>, tensor<4x1xi64>) -> tensor<4x?xi1>
  %factor = onnx.Cast %behind {to = 1 : i64} : (tensor<4x?xi1>) -> tensor<4x?xf32>
  %plane = onnx.Mul %triangle, %factor : (tensor<4x?xf32>, tensor<4x?xf32>) -> tensor<4x?xf32>
  %causal = onnx.Unsqueeze %plane, %front : (tensor<4x?xf32>, tensor<2xi64>) -> tensor<1x1x4x?xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %causal, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x1x4x?xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// Rows are written in other places than their own.
func.func @moved(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i2 = arith.constant dense<2> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %a0 = arith.constant dense<0> : tensor<1xi64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a3 = arith.constant dense<3> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %ones = arith.constant dense<1> : tensor<4xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %hidden = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %pk : (tensor<1x2x?x4xf32>) -> tensor<4xi64>
  %past = onnx.Gather %shape, %i2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %total = onnx.Add %past, %i4 : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %total1 = onnx.Unsqueeze %total, %a0 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %rows = onnx.Range %past, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %keys = onnx.Range %i0, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // Above the diagonal, and behind the position of the row.
  %size = onnx.Concat %a4, %total1 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %all = onnx.ConstantOfShape %size {value = dense<-3.40282347E+38> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<4x?xf32>
  %triangle = onnx.Trilu %all, %i1 {upper = 1 : i64} : (tensor<4x?xf32>, tensor<i64>) -> tensor<4x?xf32>
  %column = onnx.Reshape %rows, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %behind = onnx.Greater %keys, %column : (tensor<?xi64>, tensor<4x1xi64>) -> tensor<4x?xi1>
  %factor = onnx.Cast %behind {to = 1 : i64} : (tensor<4x?xi1>) -> tensor<4x?xf32>
  %plane = onnx.Mul %triangle, %factor : (tensor<4x?xf32>, tensor<4x?xf32>) -> tensor<4x?xf32>
  %causal = onnx.Unsqueeze %plane, %front : (tensor<4x?xf32>, tensor<2xi64>) -> tensor<1x1x4x?xf32>
  // Padding is hidden, too.
  %flags = onnx.Unsqueeze %mask, %front : (tensor<1x?xi64>, tensor<2xi64>) -> tensor<1x1x1x?xi64>
  %numbers = onnx.Cast %flags {to = 1 : i64} : (tensor<1x1x1x?xi64>) -> tensor<1x1x1x?xf32>
  %sum = onnx.Add %causal, %numbers : (tensor<1x1x4x?xf32>, tensor<1x1x1x?xf32>) -> tensor<1x1x4x?xf32>
  %padding = onnx.Equal %sum, %f0 : (tensor<1x1x4x?xf32>, tensor<f32>) -> tensor<1x1x4x?xi1>
  %padded = onnx.Where %padding, %hidden, %causal : (tensor<1x1x4x?xi1>, tensor<f32>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  // Written over all of it.
  %grid = arith.constant dense<0> : tensor<1x1x1x1xi64>
  %i5 = arith.constant dense<5> : tensor<i64>
  %index = onnx.Range %i1, %i5, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %index2 = onnx.Reshape %index, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %full = onnx.Concat %a1, %a1, %a4, %total1 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %b4 = onnx.Expand %grid, %full : (tensor<1x1x1x1xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %b5 = onnx.Unsqueeze %b4, %last : (tensor<1x1x4x?xi64>, tensor<1xi64>) -> tensor<1x1x4x?x1xi64>
  %r4 = onnx.Expand %index2, %full : (tensor<4x1xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %r5 = onnx.Unsqueeze %r4, %last : (tensor<1x1x4x?xi64>, tensor<1xi64>) -> tensor<1x1x4x?x1xi64>
  %k4 = onnx.Expand %keys, %full : (tensor<?xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %k5 = onnx.Unsqueeze %k4, %last : (tensor<1x1x4x?xi64>, tensor<1xi64>) -> tensor<1x1x4x?x1xi64>
  %indices = onnx.Concat %b5, %b5, %r5, %k5 {axis = -1 : i64} : (tensor<1x1x4x?x1xi64>, tensor<1x1x4x?x1xi64>, tensor<1x1x4x?x1xi64>, tensor<1x1x4x?x1xi64>) -> tensor<1x1x4x?x4xi64>
  %written = onnx.ScatterND %causal, %indices, %padded : (tensor<1x1x4x?xf32>, tensor<1x1x4x?x4xi64>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  %final = onnx.Slice %written, %a0, %total1, %a3, %a1 : (tensor<1x1x4x?xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x4x?xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %final, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x1x4x?xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// Not all keys are kept.
func.func @cut(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i2 = arith.constant dense<2> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %a0 = arith.constant dense<0> : tensor<1xi64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a3 = arith.constant dense<3> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %ones = arith.constant dense<1> : tensor<4xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %hidden = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %pk : (tensor<1x2x?x4xf32>) -> tensor<4xi64>
  %past = onnx.Gather %shape, %i2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %total = onnx.Add %past, %i4 : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %total1 = onnx.Unsqueeze %total, %a0 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %rows = onnx.Range %past, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %keys = onnx.Range %i0, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  // Above the diagonal, and behind the position of the row.
  %size = onnx.Concat %a4, %total1 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %all = onnx.ConstantOfShape %size {value = dense<-3.40282347E+38> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<4x?xf32>
  %triangle = onnx.Trilu %all, %i1 {upper = 1 : i64} : (tensor<4x?xf32>, tensor<i64>) -> tensor<4x?xf32>
  %column = onnx.Reshape %rows, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %behind = onnx.Greater %keys, %column : (tensor<?xi64>, tensor<4x1xi64>) -> tensor<4x?xi1>
  %factor = onnx.Cast %behind {to = 1 : i64} : (tensor<4x?xi1>) -> tensor<4x?xf32>
  %plane = onnx.Mul %triangle, %factor : (tensor<4x?xf32>, tensor<4x?xf32>) -> tensor<4x?xf32>
  %causal = onnx.Unsqueeze %plane, %front : (tensor<4x?xf32>, tensor<2xi64>) -> tensor<1x1x4x?xf32>
  // Padding is hidden, too.
  %flags = onnx.Unsqueeze %mask, %front : (tensor<1x?xi64>, tensor<2xi64>) -> tensor<1x1x1x?xi64>
  %numbers = onnx.Cast %flags {to = 1 : i64} : (tensor<1x1x1x?xi64>) -> tensor<1x1x1x?xf32>
  %sum = onnx.Add %causal, %numbers : (tensor<1x1x4x?xf32>, tensor<1x1x1x?xf32>) -> tensor<1x1x4x?xf32>
  %padding = onnx.Equal %sum, %f0 : (tensor<1x1x4x?xf32>, tensor<f32>) -> tensor<1x1x4x?xi1>
  %padded = onnx.Where %padding, %hidden, %causal : (tensor<1x1x4x?xi1>, tensor<f32>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  // Written over all of it.
  %grid = arith.constant dense<0> : tensor<1x1x1x1xi64>
  %index = onnx.Range %i0, %i4, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %index2 = onnx.Reshape %index, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %full = onnx.Concat %a1, %a1, %a4, %total1 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %b4 = onnx.Expand %grid, %full : (tensor<1x1x1x1xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %b5 = onnx.Unsqueeze %b4, %last : (tensor<1x1x4x?xi64>, tensor<1xi64>) -> tensor<1x1x4x?x1xi64>
  %r4 = onnx.Expand %index2, %full : (tensor<4x1xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %r5 = onnx.Unsqueeze %r4, %last : (tensor<1x1x4x?xi64>, tensor<1xi64>) -> tensor<1x1x4x?x1xi64>
  %k4 = onnx.Expand %keys, %full : (tensor<?xi64>, tensor<4xi64>) -> tensor<1x1x4x?xi64>
  %k5 = onnx.Unsqueeze %k4, %last : (tensor<1x1x4x?xi64>, tensor<1xi64>) -> tensor<1x1x4x?x1xi64>
  %indices = onnx.Concat %b5, %b5, %r5, %k5 {axis = -1 : i64} : (tensor<1x1x4x?x1xi64>, tensor<1x1x4x?x1xi64>, tensor<1x1x4x?x1xi64>, tensor<1x1x4x?x1xi64>) -> tensor<1x1x4x?x4xi64>
  %written = onnx.ScatterND %causal, %indices, %padded : (tensor<1x1x4x?xf32>, tensor<1x1x4x?x4xi64>, tensor<1x1x4x?xf32>) -> tensor<1x1x4x?xf32>
  %final = onnx.Slice %written, %a0, %a4, %a3, %a1 : (tensor<1x1x4x?xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x4x?xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %final, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x1x4x?xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}
