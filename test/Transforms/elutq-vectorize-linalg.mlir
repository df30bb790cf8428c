// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-vectorize-linalg,canonicalize))" | FileCheck %s
// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-vectorize-linalg{vectors=false}))" | FileCheck %s --check-prefix=SCALAR
// SCALAR-NOT: vector<

// 40 elements are two vectors and a loop over the rest.
// CHECK-LABEL: func.func @elementwise(
// CHECK-SAME:    %[[X:.+]]: memref<40xf32>, %[[Y:.+]]: memref<40xf32>)
// CHECK:         scf.for %[[I:.+]] = %c0 to %c32 step %c16
// CHECK:           %[[V:.+]] = vector.load %[[X]][%[[I]]] : memref<40xf32>, vector<16xf32>
// CHECK:           %[[E:.+]] = math.exp %[[V]]
// CHECK:           vector.store %[[E]], %[[Y]][%[[I]]]
// CHECK:         scf.for %{{.+}} = %c32 to %c40 step %c1
func.func @elementwise(%x: memref<40xf32>, %y: memref<40xf32>) {
  linalg.exp ins(%x : memref<40xf32>) outs(%y : memref<40xf32>)
  return
}

// A sum has 16 partial sums, added as a tree: halves, quarters, and so on.
// CHECK-LABEL: func.func @sum(
// CHECK:         %[[PARTIAL:.+]] = scf.for {{.*}} -> (vector<16xf32>)
// CHECK:           arith.addf %{{.+}}, %{{.+}} : vector<16xf32>
// CHECK:         vector.extract_strided_slice %[[PARTIAL]] {offsets = [0], sizes = [8]
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<8xf32>
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<2xf32>
func.func @sum(%x: memref<4x64xf32>, %y: memref<4xf32>) {
  linalg.reduce ins(%x : memref<4x64xf32>) outs(%y : memref<4xf32>) dimensions = [1]
    (%in: f32, %acc: f32) {
      %0 = arith.addf %in, %acc : f32
      linalg.yield %0 : f32
    }
  return
}

// A product with B[K, N] broadcasts an activation and loads columns of a row of B.
// CHECK-LABEL: func.func @matmul(
// CHECK-SAME:    %[[A:.+]]: memref<1x8xf32>, %[[B:.+]]: memref<8x64xf32>
// CHECK:         scf.for %[[K:.+]] = %c0 to %c8 step %c1 iter_args
// CHECK:           %[[W:.+]] = vector.load %[[B]][%[[K]], %{{.+}}] : memref<8x64xf32>, vector<16xf32>
// CHECK:           %[[S:.+]] = memref.load %[[A]][%{{.+}}, %[[K]]]
// CHECK:           vector.broadcast %[[S]] : f32 to vector<16xf32>
// CHECK:           math.fma {{.*}} : vector<16xf32>
func.func @matmul(%a: memref<1x8xf32>, %b: memref<8x64xf32>, %c: memref<1x64xf32>) {
  linalg.matmul ins(%a, %b : memref<1x8xf32>, memref<8x64xf32>) outs(%c : memref<1x64xf32>)
  return
}

// A product with B[N, K] runs along K in both operands.
// CHECK-LABEL: func.func @matmul_transposed(
// CHECK-SAME:    %[[A:.+]]: memref<1x64xf32>, %[[B:.+]]: memref<8x64xf32>
// CHECK:         scf.for %[[K:.+]] = %c0 to %c64 step %c16 iter_args
// CHECK:           vector.load %[[A]][%{{.+}}, %[[K]]] : memref<1x64xf32>, vector<16xf32>
// CHECK-COUNT-4:   vector.load %[[B]][%{{.+}}, %[[K]]] : memref<8x64xf32>, vector<16xf32>
func.func @matmul_transposed(%a: memref<1x64xf32>, %b: memref<8x64xf32>, %c: memref<1x8xf32>) {
  linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%a, %b : memref<1x64xf32>, memref<8x64xf32>) outs(%c : memref<1x8xf32>)
  return
}

// A copy is vectorized as what it is: an elementwise op.
// CHECK-LABEL: func.func @copy(
// CHECK-NOT:     memref.copy
// CHECK:         vector.load
// CHECK:         vector.store
func.func @copy(%x: memref<4x32xf32>, %y: memref<4x32xf32>) {
  memref.copy %x, %y : memref<4x32xf32> to memref<4x32xf32>
  return
}

// Bits are bytes in memory.
// CHECK-LABEL: func.func @bits(
// CHECK:         %[[BYTES:.+]] = vector.load %{{.+}} : memref<32xi8>, vector<16xi8>
// CHECK:         %[[BITS:.+]] = arith.cmpi ne, %[[BYTES]]
// CHECK:         %[[RESULT:.+]] = arith.xori %[[BITS]]
// CHECK:         %[[STORED:.+]] = arith.extui %[[RESULT]] : vector<16xi1> to vector<16xi8>
// CHECK:         vector.store %[[STORED]], %{{.+}} : memref<32xi8>, vector<16xi8>
func.func @bits(%x: memref<32xi1>, %y: memref<32xi1>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : memref<32xi1>) outs(%y : memref<32xi1>) {
  ^bb0(%in: i1, %out: i1):
    %true = arith.constant true
    %0 = arith.xori %in, %true : i1
    linalg.yield %0 : i1
  }
  return
}
