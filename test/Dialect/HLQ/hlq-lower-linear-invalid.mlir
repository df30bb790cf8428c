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
