// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-split-attention))" | FileCheck %s

// One KV head and more than one part: 16 slots, as far as there are parts.
// CHECK-LABEL: func.func @few_heads(
// CHECK:         %[[C0:.+]] = arith.constant 0 : index
// CHECK:         %[[P:.+]]:2 = lm.attention_parts ins(%{{.+}}, %[[C0]] : {{.*}}) outs({{.*}} : tensor<4x16x2x64xf32>, tensor<4x16x2x2xf32>) {scale = 1.000000e+00 : f32, slots = 16 : i64}
// CHECK:         %[[O:.+]] = lm.merge_parts ins(%[[P]]#0, %[[P]]#1, %{{.+}} : {{.*}}) outs(%{{.+}} : tensor<1x4x64xf32>)
// CHECK:         return %[[O]]
func.func @few_heads(%q: tensor<1x4x64xf32>, %k: tensor<1x128x64x64xf16>, %v: tensor<1x8192x64xf16>, %p: index, %i: tensor<1x4x64xf32>) -> tensor<1x4x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %p : tensor<1x4x64xf32>, tensor<1x128x64x64xf16>, tensor<1x8192x64xf16>)
         outs(%i : tensor<1x4x64xf32>) {scale = 1.0 : f32} -> tensor<1x4x64xf32>
  return %o : tensor<1x4x64xf32>
}

// A window of 512 touches three parts of 256 at most; a power of two of slots has room for them.
// CHECK-LABEL: func.func @window(
// CHECK:         lm.attention_parts {{.*}} outs({{.*}} : tensor<4x4x1x64xf32>, tensor<4x4x1x2xf32>) {scale = 1.000000e+00 : f32, slots = 4 : i64, window = 512 : i64}
func.func @window(%q: tensor<1x4x64xf32>, %k: tensor<1x9x64x64xf16>, %v: tensor<1x576x64xf16>, %p: index, %i: tensor<1x4x64xf32>) -> tensor<1x4x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %p : tensor<1x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>)
         outs(%i : tensor<1x4x64xf32>) {scale = 1.0 : f32, window = 512 : i64} -> tensor<1x4x64xf32>
  return %o : tensor<1x4x64xf32>
}

// Many rows, many heads or a single part stay whole.
// CHECK-LABEL: func.func @whole(
// CHECK-NOT:     lm.attention_parts
// CHECK-COUNT-3: lm.attention ins
// CHECK-NOT:     lm.attention_parts
func.func @whole(%m: tensor<8x4x64xf32>, %q: tensor<1x32x64xf32>, %k: tensor<1x128x64x64xf16>, %v: tensor<1x8192x64xf16>, %kk: tensor<16x8x64x64xf16>,
                 %vv: tensor<16x512x64xf16>, %sk: tensor<1x4x64x64xf16>, %sv: tensor<1x256x64xf16>, %p: index)
    -> (tensor<8x4x64xf32>, tensor<1x32x64xf32>, tensor<1x32x64xf32>) {
  %rows = lm.attention ins(%m, %k, %v, %p : tensor<8x4x64xf32>, tensor<1x128x64x64xf16>, tensor<1x8192x64xf16>)
         outs(%m : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  %heads = lm.attention ins(%q, %kk, %vv, %p : tensor<1x32x64xf32>, tensor<16x8x64x64xf16>, tensor<16x512x64xf16>)
         outs(%q : tensor<1x32x64xf32>) {scale = 1.0 : f32} -> tensor<1x32x64xf32>
  %part = lm.attention ins(%q, %sk, %sv, %p : tensor<1x32x64xf32>, tensor<1x4x64x64xf16>, tensor<1x256x64xf16>)
         outs(%q : tensor<1x32x64xf32>) {scale = 1.0 : f32} -> tensor<1x32x64xf32>
  return %rows, %heads, %part : tensor<8x4x64xf32>, tensor<1x32x64xf32>, tensor<1x32x64xf32>
}
