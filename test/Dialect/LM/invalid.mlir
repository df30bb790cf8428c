// RUN: elutq-opt %s -split-input-file -verify-diagnostics

func.func @gather_c1(%ids: tensor<4xi32>, %t: tensor<9x8xf32>, %i: tensor<4x8xf32>) {
  // expected-error @+1 {{'lm.gather' op expected indices to have element type 'i64', but got 'i32'}}
  %e = lm.gather ins(%ids, %t : tensor<4xi32>, tensor<9x8xf32>) outs(%i : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @gather_c2_type(%ids: tensor<4xi64>, %t: tensor<9x8xf16>, %i: tensor<4x8xf32>) {
  // expected-error @+1 {{expected init to have element type 'f16', but got 'f32'}}
  %e = lm.gather ins(%ids, %t : tensor<4xi64>, tensor<9x8xf16>) outs(%i : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @gather_c2_shape(%ids: tensor<4xi64>, %t: tensor<9x8xf32>, %i: tensor<4x9xf32>) {
  // expected-error @+1 {{expected init dim 1 to be K (8), but got 9}}
  %e = lm.gather ins(%ids, %t : tensor<4xi64>, tensor<9x8xf32>) outs(%i : tensor<4x9xf32>) -> tensor<4x9xf32>
  return
}

// -----

func.func @cache_append_c1(%k: tensor<8x2x64xf32>, %n: index, %c: tensor<1x16x64xf16>) {
  // expected-error @+1 {{'lm.cache_append' op expected cache dim 0 to be heads (2), but got 1}}
  %r = lm.cache_append ins(%k, %n, %n : tensor<8x2x64xf32>) outs(%c : tensor<1x16x64xf16>) -> tensor<1x16x64xf16>
  return
}

// -----

func.func @cache_append_c1_type(%k: tensor<8x1x64xf32>, %n: index, %c: tensor<1x16x64xbf16>) {
  // expected-error @+1 {{expected cache to have element type 'f16' or 'f32' or 'i8', but got 'bf16'}}
  %r = lm.cache_append ins(%k, %n, %n : tensor<8x1x64xf32>) outs(%c : tensor<1x16x64xbf16>) -> tensor<1x16x64xbf16>
  return
}

// -----

func.func @cache_append_c2(%k: tensor<32x1x64xf32>, %n: index, %c: tensor<1x16x64xf16>) {
  // expected-error @+1 {{expected at most capacity (16) rows, but got 32}}
  %r = lm.cache_append ins(%k, %n, %n : tensor<32x1x64xf32>) outs(%c : tensor<1x16x64xf16>) -> tensor<1x16x64xf16>
  return
}

// -----

func.func @attention_c1_rank(%q: tensor<8x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{'lm.attention' op expected query to be a tensor or memref of rank 3, but got 'tensor<8x64xf32>'}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x64xf32>) {scale = 1.0 : f32} -> tensor<8x64xf32>
  return
}

// -----

func.func @attention_c1_head_size(%q: tensor<8x4x64xf32>, %k: tensor<1x1x32x64xf16>, %v: tensor<1x64x32xf16>, %n: index) {
  // expected-error @+1 {{expected key dim 2 to be D (64), but got 32}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x32x64xf16>, tensor<1x64x32xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c1_heads(%q: tensor<8x4x64xf32>, %k: tensor<3x1x64x64xf16>, %v: tensor<3x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected query dim 1 (H) to be a multiple of KVH (3), but got 4}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<3x1x64x64xf16>, tensor<3x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c2_capacity(%q: tensor<8x4x64xf32>, %k: tensor<1x2x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected value dim 1 to be capacity (128), but got 64}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x2x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c2_key_block(%q: tensor<8x4x64xf32>, %k: tensor<1x4x64x16xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected key dim 3 to be the key block (64), but got 16}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x4x64x16xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c2_part(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected part to be a multiple of 64, but got 100}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, part = 100 : i64} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c3(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected capacity to be at least window + M - 1 (71), but got 64}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, window = 64 : i64} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c4_scale(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected scale to be positive, but got 0.000000e+00 : f32}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 0.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c4_window(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected window not to be negative, but got -1}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, window = -1 : i64} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c4_softcap(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index) {
  // expected-error @+1 {{expected softcap not to be negative, but got -1.000000e+00 : f32}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, softcap = -1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c5_missing(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xi8>, %v: tensor<1x64x64xi8>, %n: index) {
  // expected-error @+1 {{expected 2 scales for a cache of 'i8', but got 0}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xi8>, tensor<1x64x64xi8>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c5_needless(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xf16>, %v: tensor<1x64x64xf16>, %n: index, %s: tensor<1x64xf32>) {
  // expected-error @+1 {{expected 0 scales for a cache of 'f16', but got 2}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>) scales(%s, %s : tensor<1x64xf32>, tensor<1x64xf32>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c5_shape(%q: tensor<8x4x64xf32>, %k: tensor<1x1x64x64xi8>, %v: tensor<1x64x64xi8>, %n: index, %s: tensor<1x32xf32>) {
  // expected-error @+1 {{expected scales dim 1 to be capacity (64), but got 32}}
  %o = lm.attention ins(%q, %k, %v, %n : tensor<8x4x64xf32>, tensor<1x1x64x64xi8>, tensor<1x64x64xi8>) scales(%s, %s : tensor<1x32xf32>, tensor<1x32xf32>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @cache_append_c3(%k: tensor<8x1x64xf32>, %n: index, %c: tensor<1x16x64xi8>) {
  // expected-error @+1 {{'lm.cache_append' op expected 1 scales for a cache of 'i8', but got 0}}
  %r = lm.cache_append ins(%k, %n, %n : tensor<8x1x64xf32>) outs(%c : tensor<1x16x64xi8>) -> tensor<1x16x64xi8>
  return
}

// -----

func.func @cache_append_c2_keys(%k: tensor<80x1x64xf32>, %n: index, %c: tensor<1x1x64x64xf16>) {
  // expected-error @+1 {{expected at most capacity (64) rows, but got 80}}
  %r = lm.cache_append ins(%k, %n, %n : tensor<80x1x64xf32>) outs(%c : tensor<1x1x64x64xf16>) -> tensor<1x1x64x64xf16>
  return
}

// -----

func.func @attention_parts_rows(%q: tensor<2x4x64xf32>, %k: tensor<1x8x64x64xf16>, %v: tensor<1x512x64xf16>, %n: index, %s: tensor<4x2x1x64xf32>, %t: tensor<4x2x1x2xf32>) {
  // expected-error @+1 {{'lm.attention_parts' op expected query dim 0 to be one row (1), but got 2}}
  %o:2 = lm.attention_parts ins(%q, %k, %v, %n, %n : tensor<2x4x64xf32>, tensor<1x8x64x64xf16>, tensor<1x512x64xf16>)
         outs(%s, %t : tensor<4x2x1x64xf32>, tensor<4x2x1x2xf32>) {scale = 1.0 : f32, slots = 2 : i64} -> tensor<4x2x1x64xf32>, tensor<4x2x1x2xf32>
  return
}

// -----

func.func @attention_parts_c6(%q: tensor<1x4x64xf32>, %k: tensor<1x8x64x64xf16>, %v: tensor<1x512x64xf16>, %n: index, %s: tensor<4x2x1x64xf32>, %t: tensor<4x2x1x2xf32>) {
  // expected-error @+1 {{expected slots to be a power of two, but got 3}}
  %o:2 = lm.attention_parts ins(%q, %k, %v, %n, %n : tensor<1x4x64xf32>, tensor<1x8x64x64xf16>, tensor<1x512x64xf16>)
         outs(%s, %t : tensor<4x2x1x64xf32>, tensor<4x2x1x2xf32>) {scale = 1.0 : f32, slots = 3 : i64} -> tensor<4x2x1x64xf32>, tensor<4x2x1x2xf32>
  return
}

// -----

func.func @attention_parts_c7(%q: tensor<1x4x64xf32>, %k: tensor<1x8x64x64xf16>, %v: tensor<1x512x64xf16>, %n: index, %s: tensor<4x2x1x64xf32>, %t: tensor<4x2x1x3xf32>) {
  // expected-error @+1 {{expected stats dim 3 to be max and sum (2), but got 3}}
  %o:2 = lm.attention_parts ins(%q, %k, %v, %n, %n : tensor<1x4x64xf32>, tensor<1x8x64x64xf16>, tensor<1x512x64xf16>)
         outs(%s, %t : tensor<4x2x1x64xf32>, tensor<4x2x1x3xf32>) {scale = 1.0 : f32, slots = 2 : i64} -> tensor<4x2x1x64xf32>, tensor<4x2x1x3xf32>
  return
}

// -----

func.func @attention_parts_c7_slots(%q: tensor<1x4x64xf32>, %k: tensor<1x8x64x64xf16>, %v: tensor<1x512x64xf16>, %n: index, %s: tensor<4x4x1x64xf32>, %t: tensor<4x4x1x2xf32>) {
  // expected-error @+1 {{expected sums dim 1 to be at most slots (2), but got 4}}
  %o:2 = lm.attention_parts ins(%q, %k, %v, %n, %n : tensor<1x4x64xf32>, tensor<1x8x64x64xf16>, tensor<1x512x64xf16>)
         outs(%s, %t : tensor<4x4x1x64xf32>, tensor<4x4x1x2xf32>) {scale = 1.0 : f32, slots = 2 : i64} -> tensor<4x4x1x64xf32>, tensor<4x4x1x2xf32>
  return
}

// -----

func.func @attention_parts_c8(%q: tensor<1x4x64xf32>, %k: tensor<1x8x64x64xf16>, %v: tensor<1x512x64xf16>, %n: index, %s: tensor<4x1x1x64xf32>, %t: tensor<4x1x1x2xf32>) {
  // expected-error @+1 {{expected room for 2 parts, but got 1}}
  %o:2 = lm.attention_parts ins(%q, %k, %v, %n, %n : tensor<1x4x64xf32>, tensor<1x8x64x64xf16>, tensor<1x512x64xf16>)
         outs(%s, %t : tensor<4x1x1x64xf32>, tensor<4x1x1x2xf32>) {scale = 1.0 : f32, slots = 1 : i64} -> tensor<4x1x1x64xf32>, tensor<4x1x1x2xf32>
  return
}

// -----

func.func @merge_parts_c1(%s: tensor<3x2x1x64xf32>, %t: tensor<3x2x1x2xf32>, %n: index, %i: tensor<1x4x64xf32>) {
  // expected-error @+1 {{'lm.merge_parts' op expected sums dim 0 to be H (4), but got 3}}
  %o = lm.merge_parts ins(%s, %t, %n : tensor<3x2x1x64xf32>, tensor<3x2x1x2xf32>) outs(%i : tensor<1x4x64xf32>)  -> tensor<1x4x64xf32>
  return
}

// -----

func.func @merge_parts_c2(%s: tensor<4x3x1x64xf32>, %t: tensor<4x3x1x2xf32>, %n: index, %i: tensor<1x4x64xf32>) {
  // expected-error @+1 {{expected sums dim 1 (slots) to be a power of two, but got 3}}
  %o = lm.merge_parts ins(%s, %t, %n : tensor<4x3x1x64xf32>, tensor<4x3x1x2xf32>) outs(%i : tensor<1x4x64xf32>)  -> tensor<1x4x64xf32>
  return
}

// -----

func.func @merge_parts_c3(%s: tensor<4x2x1x64xf32>, %t: tensor<4x2x1x2xf32>, %n: index, %i: tensor<1x4x64xf32>) {
  // expected-error @+1 {{expected part to be a multiple of 64, but got 0}}
  %o = lm.merge_parts ins(%s, %t, %n : tensor<4x2x1x64xf32>, tensor<4x2x1x2xf32>) outs(%i : tensor<1x4x64xf32>) {part = 0 : i64} -> tensor<1x4x64xf32>
  return
}

// -----

func.func @merge_parts_c4(%s: tensor<4x2x1x64xf32>, %t: tensor<4x2x1x2xf32>, %n: index, %i: tensor<1x4x64xf32>) {
  // expected-error @+1 {{expected window not to be negative, but got -5}}
  %o = lm.merge_parts ins(%s, %t, %n : tensor<4x2x1x64xf32>, tensor<4x2x1x2xf32>) outs(%i : tensor<1x4x64xf32>) {window = -5 : i64} -> tensor<1x4x64xf32>
  return
}
