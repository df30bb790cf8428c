// RUN: elutq-opt %s -split-input-file -recognize-onnx | FileCheck %s

// Rows of blocks, transposed for the product: codes keep their order. Signed codes are raised by 8, which is the zero point where none is given.
// CHECK-LABEL: func.func @rows(
// CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<3x32xf32>
// CHECK-DAG:     %[[C:.*]] = arith.constant dense<{{\[\[\[}}8, 0, 8, {{.*}}]]]> : tensor<1x2x8xui8>
// CHECK-DAG:     %[[S:.*]] = arith.constant dense<{{\[\[}}5.000000e-01, 2.000000e+00]]> : tensor<1x2xf32>
// CHECK:         onnx.contrib.MatMulNBits %[[X]], %[[C]], %[[S]], %{{.*}}, %{{.*}}, %{{.*}} {K = 32 : i64, N = 1 : i64, bits = 4 : i64, block_size = 16 : i64}
// CHECK-SAME:      (tensor<3x32xf32>, tensor<1x2x8xui8>, tensor<1x2xf32>, none, none, none) -> tensor<3x1xf32>
// CHECK-NOT:     onnx.DequantizeLinear
func.func @rows(%x: tensor<3x32xf32>) -> tensor<3x1xf32> {
  %none = onnx.None
  %q = arith.constant dense<[[0, -8, -8, -8, 0, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, 7, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, -8, 7]]> : tensor<1x32xi4>
  %s = arith.constant dense<[[0.5, 2.0]]> : tensor<1x2xf32>
  %w = onnx.DequantizeLinear %q, %s, %none {axis = -1 : i64, block_size = 16 : i64} : (tensor<1x32xi4>, tensor<1x2xf32>, none) -> tensor<1x32xf32>
  %t = onnx.Transpose %w {perm = array<i64: 1, 0>} : (tensor<1x32xf32>) -> tensor<32x1xf32>
  %y = onnx.MatMul %x, %t : (tensor<3x32xf32>, tensor<32x1xf32>) -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

// -----

// Columns of a matrix [K, N]: codes are transposed. A scale for each of the N columns is one for the whole row of 32 columns, 20 of which are there; unsigned
// codes without zero points have 0. Two columns of K share a byte.
// CHECK-LABEL: func.func @columns(
// CHECK-DAG:     arith.constant dense<{{\[\[\[}}17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 0, 0, 0, 0, 0, 0]], {{\[\[}}34, {{.*}}]]]> : tensor<2x1x16xui8>
// CHECK-DAG:     arith.constant dense<{{\[\[}}5.000000e-01], [3.000000e+00]]> : tensor<2x1xf32>
// CHECK-DAG:     arith.constant dense<0> : tensor<2x1xui8>
// CHECK:         onnx.contrib.MatMulNBits %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %arg1 {K = 20 : i64, N = 2 : i64, bits = 4 : i64, block_size = 32 : i64}
func.func @columns(%x: tensor<3x20xf32>, %bias: tensor<2xf32>) -> tensor<3x2xf32> {
  %none = onnx.None
  %q = arith.constant dense<[[1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]> : tensor<20x2xui4>
  %s = arith.constant dense<[0.5, 3.0]> : tensor<2xf32>
  %w = onnx.DequantizeLinear %q, %s, %none : (tensor<20x2xui4>, tensor<2xf32>, none) -> tensor<20x2xf32>
  %y = onnx.Gemm %x, %w, %bias : (tensor<3x20xf32>, tensor<20x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// A table that tokens look up and a head that multiplies by it share their codes. Two bits; scales in half precision are widened.
// CHECK-LABEL: func.func @tied(
// CHECK-DAG:     %[[Z:.*]] = arith.constant dense<2> : tensor<2x1xui8>
// CHECK-DAG:     %[[S:.*]] = arith.constant dense<2.500000e-01> : tensor<2x1xf32>
// CHECK-DAG:     %[[C:.*]] = arith.constant dense<228> : tensor<2x4xui8>
// CHECK:         onnx.contrib.GatherBlockQuantized %[[C]], %arg0, %{{.*}}, %{{.*}} {bits = 2 : i64, block_size = 16 : i64}
// CHECK:         onnx.contrib.MatMulNBits {{.*}} {K = 16 : i64, N = 2 : i64, bits = 2 : i64, block_size = 16 : i64}
func.func @tied(%ids: tensor<1x3xi64>) -> tensor<1x3x2xf32> {
  %q = arith.constant dense<[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]]> : tensor<2x16xui2>
  %s = arith.constant dense<0.25> : tensor<2x1xf16>
  %z = arith.constant dense<2> : tensor<2x1xui2>
  %w = onnx.DequantizeLinear %q, %s, %z {block_size = 16 : i64, output_dtype = 1 : i64} : (tensor<2x16xui2>, tensor<2x1xf16>, tensor<2x1xui2>) -> tensor<2x16xf32>
  %e = onnx.Gather %w, %ids : (tensor<2x16xf32>, tensor<1x3xi64>) -> tensor<1x3x16xf32>
  %t = onnx.Transpose %w : (tensor<2x16xf32>) -> tensor<16x2xf32>
  %y = onnx.MatMul %e, %t : (tensor<1x3x16xf32>, tensor<16x2xf32>) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}

// -----

// A scale for each column of K is none for a group of columns: the floats become a constant. So do those that are no matrix of a product.
// CHECK-LABEL: func.func @floats(
// CHECK-DAG:     %[[W:.*]] = arith.constant dense<{{\[\[}}-5.000000e-01, 5.000000e-01], [6.000000e+00, -2.800000e+01]]> : tensor<2x2xf32>
// CHECK-DAG:     %[[B:.*]] = arith.constant dense<{{\[}}-2.500000e-01, 7.500000e-01]> : tensor<2xf32>
// CHECK:         onnx.MatMul %arg0, %[[W]]
// CHECK:         onnx.Add %{{.*}}, %[[B]]
func.func @floats(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %none = onnx.None
  %q = arith.constant dense<[[-1, 1], [3, -14]]> : tensor<2x2xi8>
  %s = arith.constant dense<[0.5, 2.0]> : tensor<2xf32>
  %w = onnx.DequantizeLinear %q, %s, %none {axis = 0 : i64} : (tensor<2x2xi8>, tensor<2xf32>, none) -> tensor<2x2xf32>
  %y = onnx.MatMul %x, %w : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %b = arith.constant dense<[-1, 3]> : tensor<2xi4>
  %bs = arith.constant dense<0.25> : tensor<f32>
  %f = onnx.DequantizeLinear %b, %bs, %none : (tensor<2xi4>, tensor<f32>, none) -> tensor<2xf32>
  %r = onnx.Add %y, %f : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %r : tensor<3x2xf32>
}

// -----

// What is computed, and not constant, stays.
// CHECK-LABEL: func.func @activations(
// CHECK:         onnx.DequantizeLinear %arg0
func.func @activations(%q: tensor<3x2xi8>) -> tensor<3x2xf32> {
  %none = onnx.None
  %s = arith.constant dense<0.5> : tensor<f32>
  %y = onnx.DequantizeLinear %q, %s, %none : (tensor<3x2xi8>, tensor<f32>, none) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
