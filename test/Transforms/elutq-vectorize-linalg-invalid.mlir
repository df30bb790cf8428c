// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-vectorize-linalg))" -verify-diagnostics

func.func @tensors(%x: tensor<16xf32>, %y: tensor<16xf32>) -> tensor<16xf32> {
  // expected-error @+1 {{'linalg.exp' op must be bufferized before it is vectorized}}
  %0 = linalg.exp ins(%x : tensor<16xf32>) outs(%y : tensor<16xf32>) -> tensor<16xf32>
  return %0 : tensor<16xf32>
}
