// RUN: elutq-opt %s | elutq-opt | FileCheck %s
// RUN: elutq-opt %s -mlir-print-op-generic | elutq-opt | FileCheck %s

// CHECK-LABEL: func.func @gather(
// CHECK:         lm.gather ins(%{{.+}}, %{{.+}} : tensor<4xi64>, tensor<100x64xf32>) outs(%{{.+}} : tensor<4x64xf32>) -> tensor<4x64xf32>
func.func @gather(%ids: tensor<4xi64>, %table: tensor<100x64xf32>, %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %e = lm.gather ins(%ids, %table : tensor<4xi64>, tensor<100x64xf32>) outs(%init : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %e : tensor<4x64xf32>
}

// CHECK-LABEL: func.func @cache_append(
// CHECK:         lm.cache_append ins(%{{.+}}, %{{.+}}, %{{.+}} : tensor<8x1x64xf32>) outs(%{{.+}} : tensor<1x512x64xf16>) -> tensor<1x512x64xf16>
func.func @cache_append(%k: tensor<8x1x64xf32>, %position: index, %count: index, %cache: tensor<1x512x64xf16>) -> tensor<1x512x64xf16> {
  %c = lm.cache_append ins(%k, %position, %count : tensor<8x1x64xf32>) outs(%cache : tensor<1x512x64xf16>) -> tensor<1x512x64xf16>
  return %c : tensor<1x512x64xf16>
}

// CHECK-LABEL: func.func @attention(
// CHECK:         lm.attention ins({{.*}} : tensor<8x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>) outs({{.*}}) {scale = 1.250000e-01 : f32, window = 512 : i64}
func.func @attention(%q: tensor<8x4x64xf32>, %k: tensor<1x9x64x64xf16>, %v: tensor<1x576x64xf16>, %position: index,
                     %init: tensor<8x4x64xf32>) -> tensor<8x4x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>)
         outs(%init : tensor<8x4x64xf32>) {scale = 1.250000e-01 : f32, window = 512 : i64} -> tensor<8x4x64xf32>
  return %o : tensor<8x4x64xf32>
}

// The memref form has no results.
// CHECK-LABEL: func.func @memrefs(
// CHECK:         lm.attention ins({{.*}} : memref<8x4x64xf32>, memref<1x9x64x64xf32>, memref<1x576x64xf32>) outs(%{{.+}} : memref<8x4x64xf32>) {part = 128 : i64, scale = 1.000000e+00 : f32, softcap = 3.000000e+01 : f32}
// CHECK-NEXT:    return
func.func @memrefs(%q: memref<8x4x64xf32>, %k: memref<1x9x64x64xf32>, %v: memref<1x576x64xf32>, %position: index, %init: memref<8x4x64xf32>) {
  lm.attention ins(%q, %k, %v, %position : memref<8x4x64xf32>, memref<1x9x64x64xf32>, memref<1x576x64xf32>)
    outs(%init : memref<8x4x64xf32>) {scale = 1.0 : f32, softcap = 30.0 : f32, part = 128 : i64}
  return
}

// Keys and a cache of i8 with its scales.
// CHECK-LABEL: func.func @scaled_cache(
// CHECK:         %[[C:.+]]:2 = lm.cache_append ins(%{{.+}}, %{{.+}}, %{{.+}} : tensor<8x1x64xf32>) outs(%{{.+}}, %{{.+}} : tensor<1x9x64x64xi8>, tensor<1x576xf32>) -> tensor<1x9x64x64xi8>, tensor<1x576xf32>
// CHECK:         lm.attention ins({{.*}} : tensor<8x4x64xf32>, tensor<1x9x64x64xi8>, tensor<1x576x64xi8>) scales(%[[C]]#1, %{{.+}} : tensor<1x576xf32>, tensor<1x576xf32>) outs(
func.func @scaled_cache(%new: tensor<8x1x64xf32>, %q: tensor<8x4x64xf32>, %position: index, %count: index, %k: tensor<1x9x64x64xi8>,
                        %ks: tensor<1x576xf32>, %v: tensor<1x576x64xi8>, %vs: tensor<1x576xf32>, %init: tensor<8x4x64xf32>) -> tensor<8x4x64xf32> {
  %c:2 = lm.cache_append ins(%new, %position, %count : tensor<8x1x64xf32>) outs(%k, %ks : tensor<1x9x64x64xi8>, tensor<1x576xf32>)
           -> tensor<1x9x64x64xi8>, tensor<1x576xf32>
  %o = lm.attention ins(%q, %c#0, %v, %position : tensor<8x4x64xf32>, tensor<1x9x64x64xi8>, tensor<1x576x64xi8>)
         scales(%c#1, %vs : tensor<1x576xf32>, tensor<1x576xf32>) outs(%init : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return %o : tensor<8x4x64xf32>
}

// CHECK-LABEL: func.func @parts(
// CHECK:         %[[P:.+]]:2 = lm.attention_parts ins({{.*}} : tensor<1x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>) outs(%{{.+}}, %{{.+}} : tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>) {scale = 1.250000e-01 : f32, slots = 2 : i64, window = 512 : i64}
// CHECK:         lm.merge_parts ins(%[[P]]#0, %[[P]]#1, %{{.+}} : tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>) outs(%{{.+}} : tensor<1x4x64xf32>) {window = 512 : i64}
func.func @parts(%q: tensor<1x4x64xf32>, %k: tensor<1x9x64x64xf16>, %v: tensor<1x576x64xf16>, %position: index, %slot: index,
                 %s: tensor<4x2x2x64xf32>, %t: tensor<4x2x2x2xf32>, %init: tensor<1x4x64xf32>) -> tensor<1x4x64xf32> {
  %p:2 = lm.attention_parts ins(%q, %k, %v, %position, %slot : tensor<1x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>)
           outs(%s, %t : tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>) {scale = 1.25e-01 : f32, window = 512 : i64, slots = 2 : i64}
           -> tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>
  %o = lm.merge_parts ins(%p#0, %p#1, %position : tensor<4x2x2x64xf32>, tensor<4x2x2x2xf32>)
         outs(%init : tensor<1x4x64xf32>) {window = 512 : i64} -> tensor<1x4x64xf32>
  return %o : tensor<1x4x64xf32>
}
