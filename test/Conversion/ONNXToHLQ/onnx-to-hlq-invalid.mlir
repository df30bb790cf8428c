// RUN: elutq-opt %s -split-input-file -verify-diagnostics -convert-onnx-to-hlq

func.func @three_bits(%x: tensor<1x3x16xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<1x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  // expected-error @+1 {{'onnx.contrib.MatMulNBits': weights of 3 bits are not supported; supported are 1, 2, 4 and 8}}
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %none, %none {K = 16 : i64, N = 1 : i64, bits = 3 : i64, block_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<1x1x16xui8>, tensor<1xf32>, none, none, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// -----

func.func @not_constant(%x: tensor<1x3x16xf32>, %b: tensor<1x1x8xui8>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %s = arith.constant dense<0.5> : tensor<1xf32>
  // expected-error @+1 {{its weights and scales must be constant}}
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %none, %none {K = 16 : i64, N = 1 : i64, bits = 4 : i64, block_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<1x1x8xui8>, tensor<1xf32>, none, none, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// -----

func.func @reordered(%x: tensor<1x3x16xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<1x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %g = arith.constant dense<1> : tensor<16xi32>
  // expected-error @+1 {{columns in another order (g_idx) are not supported}}
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %g, %none {K = 16 : i64, N = 1 : i64, bits = 4 : i64, block_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<1x1x8xui8>, tensor<1xf32>, none, tensor<16xi32>, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// -----

func.func @scales(%x: tensor<1x3x32xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<1x2x8xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  // expected-error @+1 {{expected 2 scales, but got 1}}
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %none, %none {K = 32 : i64, N = 1 : i64, bits = 4 : i64, block_size = 16 : i64}
    : (tensor<1x3x32xf32>, tensor<1x2x8xui8>, tensor<1xf32>, none, none, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// -----

func.func @own_six_bits(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<6x2x2xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x6xf16>
  %z = arith.constant dense<0.5> : tensor<2x1xf16>
  // expected-error @+1 {{'onnx.elutq.HLQMatMul': expected 1 to 4 or 8 bits, but got 6}}
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 6 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<6x2x2xui8>, tensor<2x1x6xf16>, tensor<2x1xf16>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}

// -----

func.func @own_codes_shape(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<2x16xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x1xf16>
  %z = arith.constant dense<0.5> : tensor<2x1xf16>
  // expected-error @+1 {{expected codes [1, N, G * group_size], scales [N, G, 1] and zeros [N, G] with G = 1}}
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 8 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<2x16xui8>, tensor<2x1x1xf16>, tensor<2x1xf16>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
