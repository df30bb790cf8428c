// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(convert-lm-to-vector,canonicalize))" | FileCheck %s

// Keys come in blocks of 16; partial products of 16 lanes, one exponential for a block, and no buffer but 16 floats.
// CHECK-LABEL: func.func @attention(
// CHECK-SAME:    %[[Q:[^:]+]]: memref<2x4x32xf32>, %[[K:[^:]+]]: memref<2x64x32xf16>
// CHECK:         memref.alloca() {alignment = 64 : i64} : memref<16xf32>
// CHECK:         vector.load %[[K]]{{.*}} : memref<2x64x32xf16>, vector<16xf16>
// CHECK:         arith.extf %{{.+}} : vector<16xf16> to vector<16xf32>
// CHECK:         math.exp %{{.+}} : vector<16xf32>
// CHECK-NOT:     lm.
func.func @attention(%q: memref<2x4x32xf32>, %k: memref<2x64x32xf16>, %v: memref<2x64x32xf16>, %p: index, %o: memref<2x4x32xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<2x4x32xf32>, memref<2x64x32xf16>, memref<2x64x32xf16>)
    outs(%o : memref<2x4x32xf32>) {scale = 1.767770e-01 : f32}
  return
}

// A head that is no multiple of 16 wide is computed by scalar loops.
// CHECK-LABEL: func.func @narrow_head(
// CHECK-NOT:     vector
// CHECK:         math.exp %{{.+}} : f32
// CHECK-NOT:     lm.
func.func @narrow_head(%q: memref<2x4x24xf32>, %k: memref<2x64x24xf32>, %v: memref<2x64x24xf32>, %p: index, %o: memref<2x4x24xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<2x4x24xf32>, memref<2x64x24xf32>, memref<2x64x24xf32>)
    outs(%o : memref<2x4x24xf32>) {scale = 2.041241e-01 : f32}
  return
}

// Position p lives in slot p mod capacity; only `count` rows are written.
// CHECK-LABEL: func.func @cache_append(
// CHECK-SAME:    %{{[^:]+}}: memref<8x1x32xf32>, %[[P:[^:]+]]: index, %[[N:[^:]+]]: index, %[[C:[^:]+]]: memref<1x64x32xf16>)
// CHECK:         scf.for %[[M:.+]] = %c0 to %[[N]]
// CHECK:           %[[AT:.+]] = arith.addi %[[P]], %[[M]]
// CHECK:           %[[SLOT:.+]] = arith.remui %[[AT]], %c64
// CHECK:           vector.store %{{.+}}, %[[C]][%{{.+}}, %[[SLOT]], %{{.+}}] : memref<1x64x32xf16>, vector<16xf16>
func.func @cache_append(%u: memref<8x1x32xf32>, %p: index, %n: index, %c: memref<1x64x32xf16>) {
  lm.cache_append ins(%u, %p, %n : memref<8x1x32xf32>) outs(%c : memref<1x64x32xf16>)
  return
}

// Rows of a table are copied as vectors.
// CHECK-LABEL: func.func @gather(
// CHECK-SAME:    %[[I:[^:]+]]: memref<2xi64>, %[[T:[^:]+]]: memref<96x32xf32>, %[[Y:[^:]+]]: memref<2x32xf32>)
// CHECK:         %[[ID:.+]] = memref.load %[[I]]
// CHECK:         %[[ROW:.+]] = arith.index_cast %[[ID]]
// CHECK:         %[[V:.+]] = vector.load %[[T]][%[[ROW]], %{{.+}}]
// CHECK:         vector.store %[[V]], %[[Y]]
func.func @gather(%i: memref<2xi64>, %t: memref<96x32xf32>, %y: memref<2x32xf32>) {
  lm.gather ins(%i, %t : memref<2xi64>, memref<96x32xf32>) outs(%y : memref<2x32xf32>)
  return
}
