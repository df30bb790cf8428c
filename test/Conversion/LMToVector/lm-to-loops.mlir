// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(convert-lm-to-loops,canonicalize))" | FileCheck %s --implicit-check-not=vector --implicit-check-not='lm.{{[a-z]}}'

// The reference: part by part, the largest score, the sum of exponentials in 16 lanes, the weighted sum of values, the merging.
// CHECK-LABEL: func.func @attention(
// CHECK-DAG:     memref.alloca() {alignment = 64 : i64} : memref<256xf32>
// CHECK-DAG:     memref.alloca() {alignment = 64 : i64} : memref<16xf32>
// CHECK:         %[[IS_LARGER:.+]] = arith.cmpf ogt,
// CHECK:         arith.select %[[IS_LARGER]],
// CHECK:         math.exp %{{.+}} : f32
// CHECK:         arith.divf
func.func @attention(%q: memref<2x4x32xf32>, %k: memref<2x1x32x64xf16>, %v: memref<2x64x32xf16>, %p: index, %o: memref<2x4x32xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<2x4x32xf32>, memref<2x1x32x64xf16>, memref<2x64x32xf16>)
    outs(%o : memref<2x4x32xf32>) {scale = 1.767770e-01 : f32}
  return
}

// A cache rounds what it stores.
// CHECK-LABEL: func.func @cache_append(
// CHECK:         %[[H:.+]] = arith.truncf %{{.+}} : f32 to f16
// CHECK:         memref.store %[[H]]
func.func @cache_append(%u: memref<8x1x32xf32>, %p: index, %n: index, %c: memref<1x64x32xf16>) {
  lm.cache_append ins(%u, %p, %n : memref<8x1x32xf32>) outs(%c : memref<1x64x32xf16>)
  return
}
