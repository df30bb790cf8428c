// RUN: elutq-opt %s -split-input-file -verify-diagnostics -convert-onnx-to-hlq

func.func @eight_bits(%x: tensor<1x3x16xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<1x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  // expected-error @+1 {{'onnx.contrib.MatMulNBits': weights of 8 bits are not supported; supported are 1, 2 and 4}}
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %none, %none {K = 16 : i64, N = 1 : i64, bits = 8 : i64, block_size = 16 : i64}
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
