// RUN: elutq-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{expected rows to be 16, 32 or 64 with byte lanes, but got 8}}
func.func private @layout_rows() attributes {l = #hlq.layout<lane = byte, rows = 8, bits = 2, group_size = 32, params = hlq, param_type = f16>}

// -----

// expected-error @+1 {{expected rows to be 16 with dword lanes, but got 32}}
func.func private @layout_dword_rows() attributes {l = #hlq.layout<lane = dword, rows = 32, bits = 2, group_size = 32, params = hlq, param_type = f16>}

// -----

// expected-error @+1 {{expected bits to be 1 to 4 or 8, but got 5}}
func.func private @layout_bits() attributes {l = #hlq.layout<lane = byte, rows = 16, bits = 5, group_size = 32, params = hlq, param_type = f16>}

// -----

// expected-error @+1 {{expected group_size to be 16 or a multiple of 32, but got 48}}
func.func private @layout_group_size() attributes {l = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 48, params = hlq, param_type = f16>}

// -----

// expected-error @+1 {{expected param_type to be f16 or f32, but got 'bf16'}}
func.func private @layout_param_type() attributes {l = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = bf16>}

// -----

// expected-error @+1 {{expected zero_point to be 0 where zeros are stored, but got 8}}
func.func private @layout_zero_point() attributes {l = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16, zero_point = 8>}

// -----

// expected-error @+1 {{expected m_tile and n_tile to be positive, but got 0 and 1}}
func.func private @kernel_tiles() attributes {k = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 0, n_tile = 1>}

// -----

// expected-error @+1 {{expected table_bits to be 8 or 16, but got 12}}
func.func private @kernel_table_bits() attributes {k = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 1, table_bits = 12>}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 3, group_size = 32, params = hlq, param_type = f16>
func.func @pack_c1_bits(%p: tensor<2x3x4xi8>, %s: tensor<3x1x2xf16>, %z: tensor<3x1xf16>) {
  // expected-error @+1 {{'hlq.pack' op expected planes of the bits of the layout (3), but got 2}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<2x3x4xi8>, tensor<3x1x2xf16>, tensor<3x1xf16>) -> tensor<1x256xi8>
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = uniform, param_type = f16>
func.func @pack_c1_scales(%p: tensor<2x3x4xi8>, %s: tensor<3x1x2xf16>, %z: tensor<3x1xf16>) {
  // expected-error @+1 {{expected scales dim 2 to be the scales per group of the layout (1), but got 2}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<2x3x4xi8>, tensor<3x1x2xf16>, tensor<3x1xf16>) -> tensor<1x256xi8>
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f32>
func.func @pack_c1_param_type(%p: tensor<2x3x4xi8>, %s: tensor<3x1x2xf16>, %z: tensor<3x1xf16>) {
  // expected-error @+1 {{expected scales to have the param_type of the layout ('f32'), but got 'f16'}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<2x3x4xi8>, tensor<3x1x2xf16>, tensor<3x1xf16>) -> tensor<1x256xi8>
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
func.func @pack_c2_result(%p: tensor<2x3x4xi8>, %s: tensor<3x1x2xf16>, %z: tensor<3x1xf16>) {
  // expected-error @+1 {{expected result dim 1 to be the bytes of a row block (256), but got 224}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<2x3x4xi8>, tensor<3x1x2xf16>, tensor<3x1xf16>) -> tensor<1x224xi8>
  return
}

// -----

func.func @build_lut_c1(%x: tensor<1x24xf32>, %t: tensor<1x1x1x64xi8>, %s: tensor<1x1x1xf32>) {
  // expected-error @+1 {{'hlq.build_lut' op expected table_group to be a multiple of 16, but got 24}}
  %r:3 = hlq.build_lut ins(%x : tensor<1x24xf32>) outs(%t, %s, %s : tensor<1x1x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
           {table_group = 24 : i64, lane = 0 : i32} -> tensor<1x1x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
  return
}

// -----

func.func @build_lut_c2(%x: tensor<3x16xf32>, %t: tensor<1x1x2x64xi8>, %s: tensor<1x1x2xf32>) {
  // expected-error @+1 {{expected tables dim 0 to be ceil(M / m_tile) (2), but got 1}}
  %r:3 = hlq.build_lut ins(%x : tensor<3x16xf32>) outs(%t, %s, %s : tensor<1x1x2x64xi8>, tensor<1x1x2xf32>, tensor<1x1x2xf32>)
           {table_group = 16 : i64, lane = 0 : i32} -> tensor<1x1x2x64xi8>, tensor<1x1x2xf32>, tensor<1x1x2xf32>
  return
}

// -----

func.func @build_lut_c2_no_rows(%x: tensor<3x16xf32>, %t: tensor<1x1x0x64xi8>, %s: tensor<1x1x0xf32>) {
  // expected-error @+1 {{expected tables dim 2 (m_tile) to be positive, but got 0}}
  %r:3 = hlq.build_lut ins(%x : tensor<3x16xf32>) outs(%t, %s, %s : tensor<1x1x0x64xi8>, tensor<1x1x0xf32>, tensor<1x1x0xf32>)
           {table_group = 16 : i64, lane = 0 : i32} -> tensor<1x1x0x64xi8>, tensor<1x1x0xf32>, tensor<1x1x0xf32>
  return
}

// -----

func.func @build_lut_c2_entries(%x: tensor<1x16xf32>, %t: tensor<1x1x1x96xi8>, %s: tensor<1x1x1xf32>) {
  // expected-error @+1 {{expected tables dim 3 to be 64 or 128 (four tables of 16 entries), but got 96}}
  %r:3 = hlq.build_lut ins(%x : tensor<1x16xf32>) outs(%t, %s, %s : tensor<1x1x1x96xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
           {table_group = 16 : i64, lane = 0 : i32} -> tensor<1x1x1x96xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
  return
}

// -----

func.func @build_lut_c3(%x: tensor<1x33xf32>, %t: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>) {
  // expected-error @+1 {{expected U * table_group to be at least K (33), but got 32}}
  %r:3 = hlq.build_lut ins(%x : tensor<1x33xf32>) outs(%t, %s, %s : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
           {table_group = 32 : i64, lane = 0 : i32} -> tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @lut_matmul_c1(%t: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x128xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{'hlq.lut_matmul' op expected packed dim 1 to be the bytes of a row block (256), but got 128}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x128xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @lut_matmul_c2_divides(%t: tensor<1x4x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x448xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected table_group to divide the group_size of the layout (32), but got 64}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x4x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x448xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 64 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 16, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @lut_matmul_c2_unit(%t: tensor<1x1x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x320xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected U * table_group to be a multiple of the unit of the layout (32), but got 16}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x1x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x320xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 16 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 2, n_tile = 1>
func.func @lut_matmul_c3_m_tile(%t: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x256xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected tables dim 2 to be the m_tile of the kernel (2), but got 1}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x256xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @lut_matmul_c3_init(%t: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<2x256xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected init dim 1 to be NB * rows (32), but got 16}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<2x256xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 16, bits = 1, group_size = 2048, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "generic", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @lut_matmul_c4(%t: tensor<1x128x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x4160xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected table_group to be at most 1024, but got 2048}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x128x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x4160xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 2048 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
func.func @packed_gather_c1(%ids: tensor<1xi64>, %p: tensor<1x256xi8>, %i: tensor<1x33xf32>) {
  // expected-error @+1 {{'hlq.packed_gather' op expected packed dim 1 to be the bytes of a row block (448), but got 256}}
  %e = hlq.packed_gather ins(%ids, %p : tensor<1xi64>, tensor<1x256xi8>) outs(%i : tensor<1x33xf32>) {layout = #layout} -> tensor<1x33xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
func.func @packed_gather_c2(%ids: tensor<2xi64>, %p: tensor<1x256xi8>, %i: tensor<1x32xf32>) {
  // expected-error @+1 {{expected init dim 0 to be M (2), but got 1}}
  %e = hlq.packed_gather ins(%ids, %p : tensor<2xi64>, tensor<1x256xi8>) outs(%i : tensor<1x32xf32>) {layout = #layout} -> tensor<1x32xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @lut_matmul_c3_table_bits(%t: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x256xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected tables dim 3 to be the bytes of four tables of table_bits (128), but got 64}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x256xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}
