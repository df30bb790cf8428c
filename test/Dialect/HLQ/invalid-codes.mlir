// RUN: elutq-opt %s -split-input-file -verify-diagnostics

func.func @linear_c3_codes(%x: tensor<1x64xf32>, %p: tensor<3x8xi8>, %s: tensor<3x2x1xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{'hlq.linear' op expected planes dim 1 to be G * group_size (64), but got 8}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<3x8xi8>, tensor<3x2x1xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c4_codes(%x: tensor<1x64xf32>, %p: tensor<3x64xi8>, %s: tensor<3x2x8xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected scales dim 2 to be 1 with codes of 8 bits, but got 8}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<3x64xi8>, tensor<3x2x8xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @linear_c4_codes_rows(%x: tensor<1x64xf32>, %p: tensor<3x64xi8>, %s: tensor<4x2x1xf16>, %z: tensor<3x2xf16>, %i: tensor<1x3xf32>) {
  // expected-error @+1 {{expected scales dim 0 to be N (3), but got 4}}
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x64xf32>, tensor<3x64xi8>, tensor<4x2x1xf16>, tensor<3x2xf16>)
                  outs(%i : tensor<1x3xf32>) {group_size = 32 : i64} -> tensor<1x3xf32>
  return
}

// -----

func.func @gather_c3_codes(%x: tensor<2xi64>, %p: tensor<3x32xi8>, %s: tensor<3x2x1xf16>, %i: tensor<2x64xf32>) {
  // expected-error @+1 {{'hlq.gather' op expected planes dim 1 to be G * group_size (64), but got 32}}
  %y = hlq.gather ins(%x, %p, %s : tensor<2xi64>, tensor<3x32xi8>, tensor<3x2x1xf16>)
                  outs(%i : tensor<2x64xf32>) {group_size = 32 : i64, zero_point = 128 : i64} -> tensor<2x64xf32>
  return
}

// -----

// expected-error @+1 {{expected dword lanes with 8 bits, but got byte lanes}}
func.func private @layout_lane() attributes {l = #hlq.layout<lane = byte, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>}

// -----

// expected-error @+1 {{expected params to be uniform or symmetric with 8 bits, but got hlq}}
func.func private @layout_params() attributes {l = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = hlq, param_type = f16>}

// -----

// expected-error @+1 {{expected algorithm to be lut or dot, but got gemm}}
func.func private @kernel_algorithm() attributes {k = #hlq.kernel<isa = "avx2", algorithm = "gemm", m_tile = 1, n_tile = 1>}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
func.func @pack_c2_codes(%p: tensor<3x32xi8>, %s: tensor<3x1x1xf16>, %z: tensor<3x1xf16>) {
  // expected-error @+1 {{'hlq.pack' op expected result dim 1 to be the bytes of a row block (576), but got 512}}
  %r = hlq.pack %p, %s, %z {layout = #layout} : (tensor<3x32xi8>, tensor<3x1x1xf16>, tensor<3x1xf16>) -> tensor<1x512xi8>
  return
}

// -----

func.func @quantize_rows_c1(%x: tensor<1x32xf32>, %e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{'hlq.quantize_rows' op expected table_group to be a multiple of 16, but got 24}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 24 : i64} -> tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

func.func @quantize_rows_c2_bytes(%x: tensor<1x32xf32>, %e: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{expected entries dim 3 to be 16 or 32 (16 entries), but got 64}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 32 : i64} -> tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

func.func @quantize_rows_c2_offsets(%x: tensor<1x32xf32>, %e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x2x1xi32>) {
  // expected-error @+1 {{expected offsets dim 1 to be U (1), but got 2}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x2x1xi32>)
           {table_group = 32 : i64} -> tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x2x1xi32>
  return
}

// -----

func.func @quantize_rows_c2_offsets_type(%x: tensor<1x32xf32>, %e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xf32>) {
  // expected-error @+1 {{expected offsets to have element type 'i32', but got 'f32'}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
           {table_group = 32 : i64} -> tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
  return
}

// -----

func.func @quantize_rows_c2_blocks(%x: tensor<3x32xf32>, %e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{expected entries dim 0 to be ceil(M / m_tile) (3), but got 1}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<3x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 32 : i64} -> tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

func.func @quantize_rows_c3(%x: tensor<1x33xf32>, %e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{expected U * table_group to be at least K (33), but got 32}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<1x33xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 32 : i64} -> tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

func.func @quantize_rows_inits(%x: tensor<1x32xf32>, %e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>) {
  // expected-error @+1 {{expected 4 inits, but got 3}}
  %r:3 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
           {table_group = 32 : i64} -> tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
  return
}

// -----

// Sums of 256 products of two words may need more than 32 bits; those of bytes do not.
#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 256, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @code_matmul_c4_words(%e: tensor<1x16x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x1088xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{'hlq.code_matmul' op expected table_group to be at most 128, but got 256}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x16x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x1088xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 256 : i64} -> tensor<1x16xf32>
  return
}

// -----

func.func @quantize_rows_c4(%x: tensor<1x32xf32>, %e: tensor<1x2x1x16xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{'hlq.quantize_rows' op expected words to have 32 bytes per chunk, but got 16}}
  %r:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x16xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 32 : i64, words} -> tensor<1x2x1x16xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @code_matmul_c1_bytes(%e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x512xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected packed dim 1 to be the bytes of a row block (576), but got 512}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x512xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @code_matmul_c2(%e: tensor<1x4x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x576xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected table_group to divide the group_size of the layout (32), but got 64}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x4x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x576xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 64 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 2, n_tile = 1, table_bits = 16>
func.func @code_matmul_c3_m_tile(%e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x576xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected entries dim 2 to be the m_tile of the kernel (2), but got 1}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x576xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 1, table_bits = 8>
func.func @code_matmul_c3_table_bits(%e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x576xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected entries dim 3 to be the bytes of 16 entries of table_bits (16), but got 32}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x576xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @code_matmul_c3_init(%e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x576xi8>, %i: tensor<1x32xf32>) {
  // expected-error @+1 {{expected init dim 1 to be NB * rows (16), but got 32}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x576xi8>)
         outs(%i : tensor<1x32xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x32xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 512, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @code_matmul_c4(%e: tensor<1x32x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x8256xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected table_group to be at most 256, but got 512}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x32x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x8256xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 512 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1, table_bits = 16>
func.func @code_matmul_c5(%e: tensor<1x2x1x32xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>, %p: tensor<1x576xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{expected a kernel with the algorithm dot, but got lut}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x2x1x32xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>, tensor<1x576xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1>
func.func @lut_matmul_c1_bits(%t: tensor<1x2x1x64xi8>, %s: tensor<1x1x1xf32>, %p: tensor<1x576xi8>, %i: tensor<1x16xf32>) {
  // expected-error @+1 {{'hlq.lut_matmul' op expected a layout of 1 to 4 bits, but got 8}}
  %y = hlq.lut_matmul ins(%t, %s, %s, %p : tensor<1x2x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x576xi8>)
         outs(%i : tensor<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<1x16xf32>
  return
}

// -----

func.func @quantize_rows_by_row(%x: tensor<1x32xf32>, %e: tensor<1x2x1x16xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{expected entries dim 1 to be U (1), but got 2}}
  %0:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x2x1x16xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 32 : i64, by_row} -> tensor<1x2x1x16xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

func.func @quantize_rows_c4_by_row(%x: tensor<1x32xf32>, %e: tensor<1x1x1x64xi8>, %s: tensor<1x1x1xf32>, %o: tensor<1x1x1xi32>) {
  // expected-error @+1 {{expected entries by row to be words, as they have 16 bits}}
  %0:4 = hlq.quantize_rows ins(%x : tensor<1x32xf32>) outs(%e, %s, %s, %o : tensor<1x1x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>)
           {table_group = 32 : i64, by_row} -> tensor<1x1x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xi32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 17, n_tile = 1>
func.func @code_matmul_c6(%e: tensor<1x1x17x32xi8>, %s: tensor<1x1x17xf32>, %o: tensor<1x1x17xi32>, %p: tensor<1x192xi8>, %i: tensor<17x16xf32>) {
  // expected-error @+1 {{expected at most 16 rows of activations and dword lanes for tiles}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x1x17x32xi8>, tensor<1x1x17xf32>, tensor<1x1x17xf32>, tensor<1x1x17xi32>, tensor<1x192xi8>)
         outs(%i : tensor<17x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<17x16xf32>
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 2, n_tile = 1>
func.func @code_matmul_tiles(%e: tensor<1x1x2x16xi8>, %s: tensor<1x1x2xf32>, %o: tensor<1x1x2xi32>, %p: tensor<1x192xi8>, %i: tensor<2x16xf32>) {
  // expected-error @+1 {{expected entries dim 3 to be 32 or 64 (table_group entries), but got 16}}
  %y = hlq.code_matmul ins(%e, %s, %s, %o, %p : tensor<1x1x2x16xi8>, tensor<1x1x2xf32>, tensor<1x1x2xf32>, tensor<1x1x2xi32>, tensor<1x192xi8>)
         outs(%i : tensor<2x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<2x16xf32>
  return
}
