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
  // expected-error @+1 {{'lm.cache_append' op expected init dim 0 to be heads (2), but got 1}}
  %r = lm.cache_append ins(%k, %n, %n : tensor<8x2x64xf32>) outs(%c : tensor<1x16x64xf16>) -> tensor<1x16x64xf16>
  return
}

// -----

func.func @cache_append_c1_type(%k: tensor<8x1x64xf32>, %n: index, %c: tensor<1x16x64xbf16>) {
  // expected-error @+1 {{expected init to have element type 'f16' or 'f32', but got 'bf16'}}
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

func.func @attention_c1_rank(%q: tensor<8x64xf32>, %k: tensor<1x32x64xf16>, %n: index) {
  // expected-error @+1 {{'lm.attention' op expected query to be a tensor or memref of rank 3, but got 'tensor<8x64xf32>'}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x64xf32>, tensor<1x32x64xf16>, tensor<1x32x64xf16>)
         outs(%q : tensor<8x64xf32>) {scale = 1.0 : f32} -> tensor<8x64xf32>
  return
}

// -----

func.func @attention_c1_head_size(%q: tensor<8x4x64xf32>, %k: tensor<1x32x32xf16>, %n: index) {
  // expected-error @+1 {{expected key dim 2 to be D (64), but got 32}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<1x32x32xf16>, tensor<1x32x32xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c1_heads(%q: tensor<8x4x64xf32>, %k: tensor<3x32x64xf16>, %n: index) {
  // expected-error @+1 {{expected query dim 1 (H) to be a multiple of KVH (3), but got 4}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<3x32x64xf16>, tensor<3x32x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c2(%q: tensor<8x4x64xf32>, %k: tensor<1x40x64xf16>, %n: index) {
  // expected-error @+1 {{expected capacity to be a multiple of block (16), but got 40}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<1x40x64xf16>, tensor<1x40x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c3(%q: tensor<8x4x64xf32>, %k: tensor<1x32x64xf16>, %n: index) {
  // expected-error @+1 {{expected capacity to be at least window + M - 1 (39), but got 32}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<1x32x64xf16>, tensor<1x32x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, window = 32 : i64} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c4_scale(%q: tensor<8x4x64xf32>, %k: tensor<1x32x64xf16>, %n: index) {
  // expected-error @+1 {{expected scale to be positive, but got 0.000000e+00 : f32}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<1x32x64xf16>, tensor<1x32x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 0.0 : f32} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c4_window(%q: tensor<8x4x64xf32>, %k: tensor<1x32x64xf16>, %n: index) {
  // expected-error @+1 {{expected window not to be negative, but got -1}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<1x32x64xf16>, tensor<1x32x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, window = -1 : i64} -> tensor<8x4x64xf32>
  return
}

// -----

func.func @attention_c4_softcap(%q: tensor<8x4x64xf32>, %k: tensor<1x32x64xf16>, %n: index) {
  // expected-error @+1 {{expected softcap not to be negative, but got -1.000000e+00 : f32}}
  %o = lm.attention ins(%q, %k, %k, %n : tensor<8x4x64xf32>, tensor<1x32x64xf16>, tensor<1x32x64xf16>)
         outs(%q : tensor<8x4x64xf32>) {scale = 1.0 : f32, softcap = -1.0 : f32} -> tensor<8x4x64xf32>
  return
}
