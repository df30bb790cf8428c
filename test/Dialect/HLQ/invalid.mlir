// RUN: elutq-opt %s -split-input-file -verify-diagnostics

func.func @linear_c1_bits(%x: tensor<1x32xf32>, %p: tensor<5x3x4xi8>, %s: tensor<3x1x5xf16>, %z: tensor<3x1xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{'hlq.linear' op expected planes dim 0 to be 1 to 4 bits, but got 5}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<5x3x4xi8>, tensor<3x1x5xf16>, tensor<3x1xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c2_group_size(%x: tensor<1x96xf32>, %p: tensor<2x3x12xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected group_size to be 16, 32, 64, 128, 256, or a multiple of 32 of at least K (96), but got 48}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x96xf32>, tensor<2x3x12xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 48 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c2_groups(%x: tensor<1x65xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected scales dim 1 to be ceil(K / group_size) (3), but got 2}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x65xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c3_planes_bytes(%x: tensor<1x64xf32>, %p: tensor<2x3x4xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected planes dim 2 to be G * group_size / 8 (8), but got 4}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x4xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c4_scales_per_group(%x: tensor<1x64xf32>, %p: tensor<4x3x8xi8>, %s: tensor<3x2x3xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected scales dim 2 to be 1 or bits (4), but got 3}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<4x3x8xi8>, tensor<3x2x3xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c4_scales_rows(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<4x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected scales dim 0 to be N (3), but got 4}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<4x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c5_zeros_type(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf32>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected zeros to have element type 'f16', but got 'f32'}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf32>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c5_zeros_shape(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x1xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected zeros dim 1 to be G (2), but got 1}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x1xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c5_neither(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x1xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected zeros or zero_point, but got neither}}
  %y = hlq.linear ins(%x, %p, %s : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x1xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c5_both(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x1xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected either zeros or zero_point, but got both}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x1xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64, zero_point = 2 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c5_symmetric_scales(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected one scale per group without zeros, but got 2}}
  %y = hlq.linear ins(%x, %p, %s : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64, zero_point = 2 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c6_init(%x: tensor<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x4xf32>) {
  // expected-error @+1 {{expected init dim 1 to be N (3), but got 4}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x4xf32>) {group_size = 32 : i64} -> tensor<1x4xf32>
  return
}

// -----

func.func @linear_c6_mixed(%x: memref<1x64xf32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected operands to be all tensors or all memrefs}}
  %y = hlq.linear ins(%x, %p, %s, %z : memref<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @gather_c6_indices(%x: tensor<1xi32>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x64xf32>) {
  // expected-error @+1 {{'hlq.gather' op expected indices to have element type 'i64', but got 'i32'}}
  %y = hlq.gather ins(%x, %p, %s, %z : tensor<1xi32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x64xf32>) {group_size = 32 : i64} -> tensor<1x64xf32>
  return
}

// -----

func.func @gather_c6_init(%x: tensor<2xi64>, %p: tensor<2x3x8xi8>, %s: tensor<3x2x2xf16>, %z: tensor<3x2xf16>, %i: tensor<1x64xf32>) {
  // expected-error @+1 {{expected init dim 0 to be M (2), but got 1}}
  %y = hlq.gather ins(%x, %p, %s, %z : tensor<2xi64>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x64xf32>) {group_size = 32 : i64} -> tensor<1x64xf32>
  return
}

// -----

func.func @lookup_c2(%table: vector<64xi8>, %idx: vector<32xi8>) {
  // expected-error @+1 {{'hlq.lookup' op expected 64 indices for a table of 64 bytes, but got 32}}
  %r = hlq.lookup %table[%idx] : vector<64xi8>, vector<32xi8>
  return
}

// -----

func.func @accumulate_c1(%acc: vector<8xi32>, %bytes: vector<64xi8>) {
  // expected-error @+1 {{'hlq.accumulate' op expected four bytes per lane of acc (32), but got 64}}
  %r = hlq.accumulate %acc, %bytes : vector<8xi32>, vector<64xi8>
  return
}

// -----

func.func @dot_c1(%acc: vector<8xi32>, %codes: vector<64xi8>) {
  // expected-error @+1 {{'hlq.dot' op expected four bytes per lane of acc (32), but got 64}}
  %r = hlq.dot %acc, %codes, %codes : vector<8xi32>, vector<64xi8>
  return
}

// -----

func.func @dot_c1_words(%acc: vector<8xi32>, %codes: vector<32xi16>) {
  // expected-error @+1 {{'hlq.dot' op expected two words per lane of acc (16), but got 32}}
  %r = hlq.dot %acc, %codes, %codes : vector<8xi32>, vector<32xi16>
  return
}
