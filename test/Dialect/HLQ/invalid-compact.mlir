// RUN: elutq-opt %s -split-input-file -verify-diagnostics

func.func @linear_scales(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2x3xi8>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{'hlq.linear' op expected one scale per group with ratios in zeros, but got 2}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2x3xi8>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_ratios(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x1xf16>, %z: tensor<3x2x2xi8>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{'hlq.linear' op expected zeros dim 2 to be bits + 1 (3), but got 2}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x1xf16>, tensor<3x2x2xi8>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_codes(%x: tensor<1x64xf32>, %p: tensor<3x64xi8>, %s: tensor<3x2x1xf16>, %z: tensor<3x2x9xi8>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{'hlq.linear' op expected zeros to have the element type of scales with codes of 8 bits, but got 'i8'}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<3x64xi8>, tensor<3x2x1xf16>, tensor<3x2x9xi8>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

// expected-error @+1 {{expected params to be uniform or symmetric with 8 bits, but got compact}}
func.func private @layout_codes() attributes {l = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = compact, param_type = f16>}

// -----

// expected-error @+1 {{expected zero_point to be 0 where zeros are stored, but got 3}}
func.func private @layout_zero_point() attributes {l = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = compact, param_type = f16, zero_point = 3>}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = uniform, param_type = f16>
func.func @pack_layout(%p: tensor<2x3x4xi8>, %s: tensor<3x1x1xf16>, %z: tensor<3x1x3xi8>) {
  // expected-error @+1 {{'hlq.pack' op expected zeros without ratios for the layout, but got 'tensor<3x1x3xi8>'}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<2x3x4xi8>, tensor<3x1x1xf16>, tensor<3x1x3xi8>) -> tensor<1x192xi8>
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = compact, param_type = f16>
func.func @pack_zeros(%p: tensor<2x3x4xi8>, %s: tensor<3x1x1xf16>, %z: tensor<3x1xf16>) {
  // expected-error @+1 {{'hlq.pack' op expected zeros of i8 with ratios for the compact layout, but got 'tensor<3x1xf16>'}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<2x3x4xi8>, tensor<3x1x1xf16>, tensor<3x1xf16>) -> tensor<1x256xi8>
  return
}
