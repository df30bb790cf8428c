// RUN: elutq-opt %s -split-input-file -recognize-onnx | FileCheck %s

// Keys and values with the heads behind the positions, repeated for groups of queries.
// CHECK-LABEL: func.func @repeated(
// CHECK-SAME:    %[[Q:[a-z0-9]+]]: tensor<1x3x32xf32>, %[[NEWK:[a-z0-9]+]]: tensor<1x2x3x8xf32>, %[[NEWV:[a-z0-9]+]]: tensor<1x2x3x8xf32>, %[[PK:[a-z0-9]+]]: tensor<1x2x?x8xf32>, %[[PV:[a-z0-9]+]]: tensor<1x2x?x8xf32>, %[[M:[a-z0-9]+]]: tensor<1x4x3x?xf32>
// CHECK-DAG:     %[[K:.*]] = onnx.Concat %[[PK]], %[[NEWK]]
// CHECK-DAG:     %[[V:.*]] = onnx.Concat %[[PV]], %[[NEWV]]
// CHECK:         %[[SPLIT:.*]] = onnx.Reshape %[[Q]], %{{.*}} -> tensor<1x3x4x8xf32>
// CHECK:         %[[HEADS:.*]] = onnx.Transpose %[[SPLIT]] {perm = array<i64: 0, 2, 1, 3>}
// CHECK:         %[[Y:.*]], %{{.*}}, %{{.*}}, %{{.*}} = onnx.Attention %[[HEADS]], %[[K]], %[[V]], %[[M]], %{{.*}} {scale = 2.500000e-01 : f32}
// CHECK:         %[[ROWS:.*]] = onnx.Transpose %[[Y]] {perm = array<i64: 0, 2, 1, 3>}
// CHECK:         onnx.Reshape %[[ROWS]], %{{.*}} -> tensor<1x3x32xf32>
// CHECK-NOT:     onnx.Expand
func.func @repeated(%q: tensor<1x3x32xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>,
    %mask: tensor<1x4x3x?xf32>) -> tensor<1x3x32xf32> {
  %none = onnx.None
  %axis = arith.constant dense<2> : tensor<1xi64>
  %two = arith.constant dense<2> : tensor<1xi64>
  %end = arith.constant dense<3> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1xi64>
  %four = arith.constant dense<4> : tensor<1xi64>
  %eight = arith.constant dense<8> : tensor<1xi64>
  %flat = arith.constant dense<[0, 0, 32]> : tensor<3xi64>
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %shape = onnx.Shape %k : (tensor<1x2x?x8xf32>) -> tensor<4xi64>
  %total = onnx.Slice %shape, %axis, %end, %none, %none : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>, none, none) -> tensor<1xi64>
  %wide = onnx.Concat %one, %two, %two, %total, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5xi64>
  %heads = onnx.Concat %one, %four, %total, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %k5 = onnx.Unsqueeze %k, %axis : (tensor<1x2x?x8xf32>, tensor<1xi64>) -> tensor<1x2x1x?x8xf32>
  %ke = onnx.Expand %k5, %wide : (tensor<1x2x1x?x8xf32>, tensor<5xi64>) -> tensor<1x2x2x?x8xf32>
  %kr = onnx.Reshape %ke, %heads : (tensor<1x2x2x?x8xf32>, tensor<4xi64>) -> tensor<1x4x?x8xf32>
  %kt = onnx.Transpose %kr {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x?x8xf32>) -> tensor<1x?x4x8xf32>
  %k3 = onnx.Reshape %kt, %flat : (tensor<1x?x4x8xf32>, tensor<3xi64>) -> tensor<1x?x32xf32>
  %v5 = onnx.Unsqueeze %v, %axis : (tensor<1x2x?x8xf32>, tensor<1xi64>) -> tensor<1x2x1x?x8xf32>
  %ve = onnx.Expand %v5, %wide : (tensor<1x2x1x?x8xf32>, tensor<5xi64>) -> tensor<1x2x2x?x8xf32>
  %vr = onnx.Reshape %ve, %heads : (tensor<1x2x2x?x8xf32>, tensor<4xi64>) -> tensor<1x4x?x8xf32>
  %vt = onnx.Transpose %vr {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x?x8xf32>) -> tensor<1x?x4x8xf32>
  %v3 = onnx.Reshape %vt, %flat : (tensor<1x?x4x8xf32>, tensor<3xi64>) -> tensor<1x?x32xf32>
  %y, %a, %b, %c = onnx.contrib.MultiHeadAttention %q, %k3, %v3, %none, %none, %mask, %none, %none, %none, %none {num_heads = 4 : i64, scale = 2.500000e-01 : f32}
    : (tensor<1x3x32xf32>, tensor<1x?x32xf32>, tensor<1x?x32xf32>, none, none, tensor<1x4x3x?xf32>, none, none, none, none) -> (tensor<1x3x32xf32>, none, none, none)
  return %y : tensor<1x3x32xf32>
}

// -----

// A bias is added to queries, keys and values: not the same.
// CHECK-LABEL: func.func @bias(
// CHECK-NOT:     onnx.Attention
// CHECK:         onnx.contrib.MultiHeadAttention
func.func @bias(%q: tensor<1x3x32xf32>, %newk: tensor<1x4x3x8xf32>, %newv: tensor<1x4x3x8xf32>, %pk: tensor<1x4x?x8xf32>, %pv: tensor<1x4x?x8xf32>,
    %mask: tensor<1x4x3x?xf32>, %bias: tensor<96xf32>) -> tensor<1x3x32xf32> {
  %none = onnx.None
  %flat = arith.constant dense<[0, 0, 32]> : tensor<3xi64>
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x4x?x8xf32>, tensor<1x4x3x8xf32>) -> tensor<1x4x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x4x?x8xf32>, tensor<1x4x3x8xf32>) -> tensor<1x4x?x8xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x?x8xf32>) -> tensor<1x?x4x8xf32>
  %k3 = onnx.Reshape %kt, %flat : (tensor<1x?x4x8xf32>, tensor<3xi64>) -> tensor<1x?x32xf32>
  %vt = onnx.Transpose %v {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x?x8xf32>) -> tensor<1x?x4x8xf32>
  %v3 = onnx.Reshape %vt, %flat : (tensor<1x?x4x8xf32>, tensor<3xi64>) -> tensor<1x?x32xf32>
  %y, %a, %b, %c = onnx.contrib.MultiHeadAttention %q, %k3, %v3, %bias, %none, %mask, %none, %none, %none, %none {num_heads = 4 : i64}
    : (tensor<1x3x32xf32>, tensor<1x?x32xf32>, tensor<1x?x32xf32>, tensor<96xf32>, none, tensor<1x4x3x?xf32>, none, none, none, none) -> (tensor<1x3x32xf32>, none, none, none)
  return %y : tensor<1x3x32xf32>
}
