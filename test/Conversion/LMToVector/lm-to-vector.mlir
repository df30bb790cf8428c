// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(convert-lm-to-vector{accumulators=16},canonicalize))" | FileCheck %s

// Four rows of a KV head: 4 x 4 sums with keys in the lanes, each key converted once for all rows; masked scores; then 4 x 2 sums with
// elements of the values in the lanes.
// CHECK-LABEL: func.func @attention(
// CHECK-SAME:    %[[Q:[^:]+]]: memref<2x4x32xf32>, %[[K:[^:]+]]: memref<2x1x32x64xf16>, %[[V:[^:]+]]: memref<2x64x32xf16>
// CHECK:         %{{.+}}:16 = scf.for %{{.+}} = %c0 to %c32 step %c1
// CHECK-COUNT-4:   vector.load %[[K]]{{.*}}, vector<16xf16>
// CHECK:         arith.select %{{.+}}, %{{.+}}, %{{.+}} : vector<16xi1>, vector<16xf32>
// CHECK:         math.exp %{{.+}} : vector<16xf32>
// CHECK-COUNT-2:   vector.load %[[V]]{{.*}}, vector<16xf16>
// CHECK-NOT:     lm.
func.func @attention(%q: memref<2x4x32xf32>, %k: memref<2x1x32x64xf16>, %v: memref<2x64x32xf16>, %p: index, %o: memref<2x4x32xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<2x4x32xf32>, memref<2x1x32x64xf16>, memref<2x64x32xf16>)
    outs(%o : memref<2x4x32xf32>) {scale = 1.767770e-01 : f32}
  return
}

// The parts of a slot are neighbours. The scores of a part ask for its values: a loop over 64 keys of 32 elements asks for 32 times 64
// elements; the weighted sums ask for the keys of the next part, if there is one.
// CHECK-LABEL: func.func @parts(
// CHECK:         %[[FROM:.+]] = arith.divui %{{.+}}, %c4
// CHECK:         %[[TO:.+]] = arith.divui %{{.+}}, %c4
// CHECK:         scf.for %[[I:.+]] = %[[FROM]] to %[[TO]] step %c1 {
// CHECK:           %{{.+}}:8 = scf.for
// CHECK-COUNT-2:     memref.prefetch %arg2[%{{.+}}, %{{.+}}, %{{.+}}], read, locality<2>, data
// CHECK-NOT:         memref.prefetch
// CHECK:         memref.store %{{.+}}, %arg6[%{{.+}}, %{{.+}}, %{{.+}}, %c0]
// CHECK:             memref.prefetch %arg1[%{{.+}}, %{{.+}}, %c0, %{{.+}}], read, locality<2>, data
func.func @parts(%q: memref<1x4x32xf32>, %k: memref<2x4x32x64xf16>, %v: memref<2x256x32xf16>, %p: index, %slot: index,
                 %s: memref<4x1x2x32xf32>, %t: memref<4x1x2x2xf32>) {
  lm.attention_parts ins(%q, %k, %v, %p, %slot : memref<1x4x32xf32>, memref<2x4x32x64xf16>, memref<2x256x32xf16>)
    outs(%s, %t : memref<4x1x2x32xf32>, memref<4x1x2x2xf32>) {scale = 1.0 : f32, part = 64 : i64, slots = 4 : i64}
  return
}

// CHECK-LABEL: func.func @merge(
// CHECK:         math.exp %{{.+}} : f32
// CHECK:         math.fma %{{.+}}, %{{.+}}, %{{.+}} : vector<16xf32>
// CHECK-NOT:     lm.
func.func @merge(%s: memref<4x4x2x32xf32>, %t: memref<4x4x2x2xf32>, %p: index, %o: memref<1x4x32xf32>) {
  lm.merge_parts ins(%s, %t, %p : memref<4x4x2x32xf32>, memref<4x4x2x2xf32>) outs(%o : memref<1x4x32xf32>) {part = 64 : i64}
  return
}

// A head that is no multiple of 16 wide is computed by scalar loops.
// CHECK-LABEL: func.func @narrow_head(
// CHECK-NOT:     vector
// CHECK:         math.exp %{{.+}} : f32
// CHECK-NOT:     lm.
func.func @narrow_head(%q: memref<2x4x24xf32>, %k: memref<2x1x24x64xf32>, %v: memref<2x64x24xf32>, %p: index, %o: memref<2x4x24xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<2x4x24xf32>, memref<2x1x24x64xf32>, memref<2x64x24xf32>)
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

// Elements of a key go into different rows of its block, rounded with the scale of the row.
// CHECK-LABEL: func.func @append_keys(
// CHECK:         memref.store %{{.+}}, %[[S:.+]][%[[H:.+]], %[[SLOT:.+]]] : memref<1x128xf32>
// CHECK:         %[[BLOCK:.+]] = arith.divui %[[SLOT]], %c64
// CHECK:         %[[LANE:.+]] = arith.remui %[[SLOT]], %c64
// CHECK:         memref.store %{{.+}}, %{{.+}}[%[[H]], %[[BLOCK]], %{{.+}}, %[[LANE]]] : memref<1x2x32x64xi8>
func.func @append_keys(%u: memref<8x1x32xf32>, %p: index, %n: index, %c: memref<1x2x32x64xi8>, %s: memref<1x128xf32>) {
  lm.cache_append ins(%u, %p, %n : memref<8x1x32xf32>) outs(%c, %s : memref<1x2x32x64xi8>, memref<1x128xf32>)
  return
}

// Rows that fill vectors of the cache are transposed 16 by 16, in four rounds of 16 shuffles.
// CHECK-LABEL: func.func @append_squares(
// CHECK-COUNT-16: vector.load %arg0[{{.*}}] : {{.*}}, vector<16xf32>
// CHECK-NOT:     memref.store
// CHECK-COUNT-64: vector.shuffle {{.*}} : vector<16xf32>, vector<16xf32>
// CHECK-NOT:     memref.store
// CHECK-COUNT-16: vector.store %{{.+}}, %arg3[{{.*}}] : memref<1x2x32x64xf16>, vector<16xf16>
// CHECK:         memref.store
func.func @append_squares(%u: memref<32x1x32xf32>, %p: index, %n: index, %c: memref<1x2x32x64xf16>) {
  lm.cache_append ins(%u, %p, %n : memref<32x1x32xf32>) outs(%c : memref<1x2x32x64xf16>)
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
