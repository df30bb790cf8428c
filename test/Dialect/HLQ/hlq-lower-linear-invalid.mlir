// RUN: elutq-opt %s -split-input-file -verify-diagnostics -hlq-lower-linear

func.func @no_layout(%ids: tensor<1xi64>, %p: tensor<2x16x4xi8>, %s: tensor<16x1x2xf16>, %z: tensor<16x1xf16>, %e: tensor<1x32xf32>) -> tensor<1x32xf32> {
  // expected-error @+1 {{'hlq.gather' op expected the attribute hlq.layout: run hlq-select-kernel first}}
  %x = hlq.gather ins(%ids, %p, %s, %z : tensor<1xi64>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%e : tensor<1x32xf32>) {group_size = 32 : i64} -> tensor<1x32xf32>
  return %x : tensor<1x32xf32>
}

// -----

func.func @dynamic(%ids: tensor<?xi64>, %p: tensor<2x16x4xi8>, %s: tensor<16x1x2xf16>, %z: tensor<16x1xf16>, %e: tensor<?x32xf32>) -> tensor<?x32xf32> {
  // expected-error @+1 {{expected a static shape, but got 'tensor<?x32xf32>'}}
  %x = hlq.gather ins(%ids, %p, %s, %z : tensor<?xi64>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%e : tensor<?x32xf32>) {group_size = 32 : i64} -> tensor<?x32xf32>
  return %x : tensor<?x32xf32>
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @wrong_algorithm(%x: tensor<1x32xf32>, %q: tensor<16x32xi8>, %s: tensor<16x1x1xf16>, %z: tensor<16x1xf16>, %i: tensor<1x16xf32>) -> tensor<1x16xf32> {
  // expected-error @+1 {{'hlq.linear' op expected a kernel with the algorithm dot for 8 bits, but got lut}}
  %y = hlq.linear ins(%x, %q, %s, %z : tensor<1x32xf32>, tensor<16x32xi8>, tensor<16x1x1xf16>, tensor<16x1xf16>)
                  outs(%i : tensor<1x16xf32>) {group_size = 32 : i64, hlq.kernel = #kernel, hlq.layout = #layout} -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}
