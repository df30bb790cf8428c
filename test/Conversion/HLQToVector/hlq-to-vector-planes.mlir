// RUN: elutq-opt %s -convert-hlq-to-vector -canonicalize -split-input-file | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>

// Bytes. The scales give a step per plane; a set bit adds its plane's to a code. The codes go to a buffer on the stack, and are
// multiplied by two rows of activations.
// CHECK-LABEL: func.func @bytes(
// CHECK-DAG:     %[[CODES:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x4x64xi8>
// CHECK:         %[[STEP:.*]] = math.roundeven
// CHECK:         %[[PLANE:.*]] = vector.load %{{.*}} : memref<1x256xi8>, vector<64xi8>
// CHECK:         %[[BIT:.*]] = arith.andi %[[PLANE]]
// CHECK:         %[[SET:.*]] = arith.cmpi ne, %[[BIT]], %{{.*}} : vector<64xi8>
// CHECK:         arith.select %[[SET]]
// CHECK:         vector.store %{{.*}}, %[[CODES]]
// CHECK:         hlq.dot %{{.*}} : vector<16xi32>, vector<64xi8>
func.func @bytes(%e: memref<1x2x2x16xi8>, %s: memref<1x1x2xf32>, %u: memref<1x1x2xf32>, %o: memref<1x1x2xi32>, %p: memref<1x256xi8>, %y: memref<2x16xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %p : memref<1x2x2x16xi8>, memref<1x1x2xf32>, memref<1x1x2xf32>, memref<1x1x2xi32>, memref<1x256xi8>)
    outs(%y : memref<2x16xf32>) {table_group = 32 : i64, layout = #layout,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 2, n_tile = 1>}
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 32, bits = 2, group_size = 32, params = uniform, param_type = f16>

// Words, of byte lanes: the steps are 1 and 2; a row's two columns are put side by side; 16 of 32 rows are multiplied at a time.
// CHECK-LABEL: func.func @words(
// CHECK-DAG:     %[[CODES:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x8x128xi8>
// CHECK-NOT:     math.roundeven
// CHECK:         vector.interleave %{{.*}} : vector<32xi16> -> vector<64xi16>
// CHECK:         vector.store %{{.*}}, %[[CODES]]
// CHECK:         scf.for
// CHECK:         hlq.dot %{{.*}} : vector<16xi32>, vector<32xi16>
func.func @words(%e: memref<1x2x2x32xi8>, %s: memref<1x1x2xf32>, %u: memref<1x1x2xf32>, %o: memref<1x1x2xi32>, %p: memref<1x384xi8>, %y: memref<2x32xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %p : memref<1x2x2x32xi8>, memref<1x1x2xf32>, memref<1x1x2xf32>, memref<1x1x2xi32>, memref<1x384xi8>)
    outs(%y : memref<2x32xf32>) {table_group = 32 : i64, layout = #layout,
    kernel = #hlq.kernel<isa = "avx2", algorithm = "dot", m_tile = 2, n_tile = 1, table_bits = 16>}
  return
}

// -----

// Transposed words: 16 columns in the order 0, 8, 1, 9 and so on.
// CHECK-LABEL: func.func @quantize_rows(
// CHECK:         vector.shuffle %{{.*}} [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]
// CHECK:         arith.trunci %{{.*}} : vector<16xi32> to vector<16xi16>
func.func @quantize_rows(%x: memref<1x32xf32>, %e: memref<1x2x1x32xi8>, %s: memref<1x1x1xf32>, %u: memref<1x1x1xf32>, %o: memref<1x1x1xi32>) {
  hlq.quantize_rows ins(%x : memref<1x32xf32>) outs(%e, %s, %u, %o : memref<1x2x1x32xi8>, memref<1x1x1xf32>, memref<1x1x1xf32>, memref<1x1x1xi32>)
    {table_group = 32 : i64, words, transposed}
  return
}
