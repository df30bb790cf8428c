// RUN: elutq-opt %s -convert-hlq-to-loops -verify-diagnostics

func.func @tensors(%i: tensor<4xi64>, %w: tensor<4x896xi8>, %y: tensor<4x128xf32>) -> tensor<4x128xf32> {
  // expected-error @+1 {{'hlq.packed_gather' op expected memref operands}}
  %e = hlq.packed_gather ins(%i, %w : tensor<4xi64>, tensor<4x896xi8>) outs(%y : tensor<4x128xf32>)
    {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>} -> tensor<4x128xf32>
  return %e : tensor<4x128xf32>
}
