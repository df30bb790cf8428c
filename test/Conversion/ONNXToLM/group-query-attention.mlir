// RUN: elutq-opt %s -split-input-file -lm-build-entry="entry=prefill chunk=4 max-context=16" -canonicalize | FileCheck %s

// Packed queries, keys and values; the op's own rotary embedding reads M rows at `position` of tables that are long enough for
// padding rows; the arithmetic of lengths disappears.
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %{{.*}}: tensor<4xi64>, %{{.*}}: index, %[[P:.*]]: index, %{{.*}}: tensor<1x1x4x64xf16>, %{{.*}}: tensor<1x64x4xf16>)
// CHECK-DAG:     %[[COS:.*]] = arith.constant dense<{{.*}}> : tensor<20x2xf32>
// CHECK-DAG:     tensor.extract_slice %[[COS]][%[[P]], 0] [4, 2] [1, 1]
// CHECK:         lm.cache_append
// CHECK:         lm.attention {{.*}} : tensor<4x2x4xf32>, {{.*}} {scale = 5.000000e-01 : f32, window = 8 : i64}
// CHECK-NOT:     onnx.ReduceSum
func.func @main_graph(%ids: tensor<1x4xi64> {onnx.name = "ids"}, %mask: tensor<1x?xi64> {onnx.name = "mask"},
    %pk: tensor<1x1x?x4xf32>, %pv: tensor<1x1x?x4xf32>) -> (tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x16xf32>
  %cos = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0], [3.0, 4.0],
                               [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0], [3.0, 4.0]]> : tensor<16x2xf32>
  %axis = arith.constant dense<1> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1x1xi64>
  %x = onnx.Gather %table, %ids : (tensor<10x16xf32>, tensor<1x4xi64>) -> tensor<1x4x16xf32>
  %sum = onnx.ReduceSum %mask, %axis : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<1x1xi64>
  %less = onnx.Sub %sum, %one : (tensor<1x1xi64>, tensor<1x1xi64>) -> tensor<1x1xi64>
  %seqlens = onnx.Cast %less {to = 6 : i64} : (tensor<1x1xi64>) -> tensor<1x1xi32>
  %shape = onnx.Shape %mask : (tensor<1x?xi64>) -> tensor<2xi64>
  %index = arith.constant dense<1> : tensor<i64>
  %length = onnx.Gather %shape, %index : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %total = onnx.Cast %length {to = 6 : i64} : (tensor<i64>) -> tensor<i32>
  %y, %nk, %nv, %qk = onnx.contrib.GroupQueryAttention %x, %none, %none, %pk, %pv, %seqlens, %total, %cos, %cos, %none, %none, %none, %none, %none,
    %none, %none {num_heads = 2 : i64, kv_num_heads = 1 : i64, do_rotary = 1 : i64, local_window_size = 8 : i64}
    : (tensor<1x4x16xf32>, none, none, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>, tensor<1x1xi32>, tensor<i32>, tensor<16x2xf32>, tensor<16x2xf32>,
       none, none, none, none, none, none, none) -> (tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>
}

// -----

// Heads of queries and keys are normalized in front of the cache.
// CHECK-LABEL: func.func @prefill(
// CHECK-DAG:     %[[QW:.*]] = arith.constant dense<2.000000e+00> : tensor<4xf32>
// CHECK-DAG:     %[[KW:.*]] = arith.constant dense<3.000000e+00> : tensor<4xf32>
// CHECK-DAG:     %[[Q:.*]] = onnx.RMSNormalization %{{.*}}, %[[QW]] {epsilon = 2.500000e-01 : f32} : (tensor<4x2x4xf32>, tensor<4xf32>)
// CHECK-DAG:     %[[K:.*]] = onnx.RMSNormalization %{{.*}}, %[[KW]] {epsilon = 2.500000e-01 : f32} : (tensor<4x1x4xf32>, tensor<4xf32>)
// CHECK:         lm.cache_append ins(%[[K]]
// CHECK:         lm.attention ins(%[[Q]]
func.func @main_graph(%ids: tensor<1x4xi64> {onnx.name = "ids"}, %mask: tensor<1x?xi64> {onnx.name = "mask"},
    %pk: tensor<1x1x?x4xf32>, %pv: tensor<1x1x?x4xf32>) -> (tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x16xf32>
  %qw = arith.constant dense<2.0> : tensor<4xf32>
  %kw = arith.constant dense<3.0> : tensor<4xf32>
  %axis = arith.constant dense<1> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1x1xi64>
  %x = onnx.Gather %table, %ids : (tensor<10x16xf32>, tensor<1x4xi64>) -> tensor<1x4x16xf32>
  %sum = onnx.ReduceSum %mask, %axis : (tensor<1x?xi64>, tensor<1xi64>) -> tensor<1x1xi64>
  %less = onnx.Sub %sum, %one : (tensor<1x1xi64>, tensor<1x1xi64>) -> tensor<1x1xi64>
  %seqlens = onnx.Cast %less {to = 6 : i64} : (tensor<1x1xi64>) -> tensor<1x1xi32>
  %shape = onnx.Shape %mask : (tensor<1x?xi64>) -> tensor<2xi64>
  %index = arith.constant dense<1> : tensor<i64>
  %length = onnx.Gather %shape, %index : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %total = onnx.Cast %length {to = 6 : i64} : (tensor<i64>) -> tensor<i32>
  %y, %nk, %nv, %qk = onnx.contrib.GroupQueryAttention %x, %none, %none, %pk, %pv, %seqlens, %total, %none, %none, %none, %none, %none, %none, %none,
    %qw, %kw {num_heads = 2 : i64, kv_num_heads = 1 : i64, qk_norm_epsilon = 0.25 : f32}
    : (tensor<1x4x16xf32>, none, none, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>, tensor<1x1xi32>, tensor<i32>, none, none,
       none, none, none, none, none, tensor<4xf32>, tensor<4xf32>) -> (tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>
}
