// RUN: elutq-opt %s -convert-onnx-to-hlq -split-input-file -verify-diagnostics | FileCheck %s

// Bytes as zeros are the ratios of compact parameters, and a code.
// CHECK-LABEL: func.func @own(
// CHECK:         %[[Z:.*]] = arith.constant dense<{{\[\[}}[85, -86, 0]], {{\[\[}}1, 2, -4]]]> : tensor<2x1x3xi8>
// CHECK:         hlq.linear ins(%{{.*}}, %{{.*}}, %{{.*}}, %[[Z]] : tensor<3x16xf32>, tensor<2x2x2xi8>, tensor<2x1x1xf16>, tensor<2x1x3xi8>) {{.*}} {group_size = 16 : i64}
func.func @own(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<2x2x2xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x1xf16>
  %z = arith.constant dense<[[[85, 170, 0]], [[1, 2, 252]]]> : tensor<2x1x3xui8>
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 2 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<2x2x2xui8>, tensor<2x1x1xf16>, tensor<2x1x3xui8>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}

// -----

func.func @too_large(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<2x2x2xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x1xf16>
  %z = arith.constant dense<[[[85, 170, 0]], [[1, 3, 252]]]> : tensor<2x1x3xui8>
  // expected-error @+1 {{'onnx.elutq.HLQMatMul': expected the bytes of a group in zeros to sum up to at most 255}}
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 2 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<2x2x2xui8>, tensor<2x1x1xf16>, tensor<2x1x3xui8>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}

// -----

func.func @scales(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<2x2x2xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x2xf16>
  %z = arith.constant dense<1> : tensor<2x1x3xui8>
  // expected-error @+1 {{'onnx.elutq.HLQMatMul': expected planes [bits, N, G * group_size / 8] of 1 to 4 bits, scales [N, G, 1] and uint8 zeros [N, G, bits + 1] with G = 1}}
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 2 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<2x2x2xui8>, tensor<2x1x2xf16>, tensor<2x1x3xui8>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
