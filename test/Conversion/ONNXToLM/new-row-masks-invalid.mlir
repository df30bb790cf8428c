// RUN: not elutq-opt %s -split-input-file -lm-build-entry="chunk=4 max-context=16" 2>&1 | FileCheck %s

// CHECK-COUNT-3: 'onnx.Attention': its mask is not understood
// CHECK-NOT: lm.attention

// Rows that see the one behind them, too.
func.func @one_more(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i2 = arith.constant dense<2> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %hidden = arith.constant dense<-6.550400e+04> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %mask {start = 1 : i64} : (tensor<1x?xi64>) -> tensor<1xi64>
  %full = onnx.Concat %a1, %a1, %a4, %shape {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %index = onnx.Range %i0, %i4, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %next = onnx.Add %index, %i2 : (tensor<4xi64>, tensor<i64>) -> tensor<4xi64>
  %column = onnx.Reshape %next, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %visible = onnx.Less %index, %column : (tensor<4xi64>, tensor<4x1xi64>) -> tensor<4x4xi1>
  %triangle = onnx.Where %visible, %f0, %hidden : (tensor<4x4xi1>, tensor<f32>, tensor<f32>) -> tensor<4x4xf32>
  %plane = onnx.Unsqueeze %triangle, %front : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<1x1x4x4xf32>
  %causal = onnx.Expand %plane, %full : (tensor<1x1x4x4xf32>, tensor<4xi64>) -> tensor<1x1x4x?xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %causal, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x1x4x?xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// The triangle of the columns: rows see what is behind them.
func.func @transposed(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %hidden = arith.constant dense<-6.550400e+04> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %mask {start = 1 : i64} : (tensor<1x?xi64>) -> tensor<1xi64>
  %full = onnx.Concat %a1, %a1, %a4, %shape {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %index = onnx.Range %i0, %i4, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %column = onnx.Reshape %index, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %visible = onnx.Less %column, %index : (tensor<4x1xi64>, tensor<4xi64>) -> tensor<4x4xi1>
  %triangle = onnx.Where %visible, %f0, %hidden : (tensor<4x4xi1>, tensor<f32>, tensor<f32>) -> tensor<4x4xf32>
  %plane = onnx.Unsqueeze %triangle, %front : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<1x1x4x4xf32>
  %causal = onnx.Expand %plane, %full : (tensor<1x1x4x4xf32>, tensor<4xi64>) -> tensor<1x1x4x?xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %causal, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x1x4x?xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// Keys are tiled, so that they are other ones.
func.func @tiled(%ids: tensor<1x4xi64>, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i4 = arith.constant dense<4> : tensor<i64>
  %front = arith.constant dense<[0, 1]> : tensor<2xi64>
  %columns = arith.constant dense<[-1, 1]> : tensor<2xi64>
  %heads = arith.constant dense<[1, 1, 1, 2]> : tensor<4xi64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %hidden = arith.constant dense<-6.550400e+04> : tensor<f32>
  %x = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %index = onnx.Range %i0, %i4, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<4xi64>
  %next = onnx.Add %index, %i1 : (tensor<4xi64>, tensor<i64>) -> tensor<4xi64>
  %column = onnx.Reshape %next, %columns : (tensor<4xi64>, tensor<2xi64>) -> tensor<4x1xi64>
  %visible = onnx.Less %index, %column : (tensor<4xi64>, tensor<4x1xi64>) -> tensor<4x4xi1>
  %triangle = onnx.Where %visible, %f0, %hidden : (tensor<4x4xi1>, tensor<f32>, tensor<f32>) -> tensor<4x4xf32>
  %plane = onnx.Unsqueeze %triangle, %front : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<1x1x4x4xf32>
  %tiled = onnx.Tile %plane, %heads : (tensor<1x1x4x4xf32>, tensor<4xi64>) -> tensor<1x1x4x8xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %tiled, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}
