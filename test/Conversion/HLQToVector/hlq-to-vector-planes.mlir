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

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 128, params = hlq, param_type = f16>

// Tiles: two of 64 columns of three rows of activations, which lie in a row per table group, meet 16 rows of weights, whose codes have a
// sign: nothing reads the offsets.
// CHECK-LABEL: func.func @tiles(
// CHECK-SAME:    %[[E:[a-z0-9]+]]: memref<1x2x3x128xi8>, {{.*}} %[[OFFSETS:[a-z0-9]+]]: memref<1x2x3xi32>
// CHECK-NOT:     %[[OFFSETS]]
// CHECK-DAG:     %[[SUMS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<3x16xi32>
// CHECK-DAG:     %[[CODES:.*]] = memref.alloca() {alignment = 64 : i64} : memref<16x4x64xi8>
// CHECK:         %[[ZERO:.*]] = amx.tile_zero : !amx.tile<3x16xi32>
// CHECK:         %[[A0:.*]] = amx.tile_load %[[E]]{{.*}} into !amx.tile<3x64xi8>
// CHECK:         %[[B0:.*]] = amx.tile_load %[[CODES]]{{.*}} into !amx.tile<16x64xi8>
// CHECK:         %[[FIRST:.*]] = amx.tile_muli %[[A0]], %[[B0]], %[[ZERO]]
// CHECK:         %[[BOTH:.*]] = amx.tile_muli %{{[0-9]*}}, %{{[0-9]*}}, %[[FIRST]]
// CHECK:         amx.tile_store %[[SUMS]][%{{.*}}], %[[BOTH]]
// CHECK-COUNT-3: vector.load %[[SUMS]]
// CHECK-NOT:     %[[OFFSETS]]
// CHECK-NOT:     hlq.dot
func.func @tiles(%e: memref<1x2x3x128xi8>, %s: memref<1x2x3xf32>, %u: memref<1x2x3xf32>, %o: memref<1x2x3xi32>, %p: memref<1x1216xi8>, %y: memref<3x16xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %p : memref<1x2x3x128xi8>, memref<1x2x3xf32>, memref<1x2x3xf32>, memref<1x2x3xi32>, memref<1x1216xi8>)
    outs(%y : memref<3x16xf32>) {table_group = 128 : i64, layout = #layout,
    kernel = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 3, n_tile = 1>}
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>

// Words are split into signed high and unsigned low bytes; both products of a high and a low byte have one sum.
// CHECK-LABEL: func.func @tiles_of_words(
// CHECK:         amx.tile_muli %[[EH:.*]], %[[CH:[0-9]+]], %{{.*}} : !amx.tile<2x32xi8>, !amx.tile<8x64xi8>
// CHECK:         %[[HL:.*]] = amx.tile_muli %[[EH]], %[[CL:.*]] zext
// CHECK:         amx.tile_muli %[[EL:.*]] zext, %[[CH]], %[[HL]]
// CHECK:         amx.tile_muli %[[EL]] zext, %[[CL]] zext
// CHECK-COUNT-3: amx.tile_store
func.func @tiles_of_words(%e: memref<1x1x2x64xi8>, %s: memref<1x1x2xf32>, %u: memref<1x1x2xf32>, %o: memref<1x1x2xi32>, %p: memref<1x256xi8>, %y: memref<2x16xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %p : memref<1x1x2x64xi8>, memref<1x1x2xf32>, memref<1x1x2xf32>, memref<1x1x2xi32>, memref<1x256xi8>)
    outs(%y : memref<2x16xf32>) {table_group = 32 : i64, layout = #layout,
    kernel = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 2, n_tile = 1, table_bits = 16>}
  return
}

// -----

// CHECK-LABEL: func.func @quantize_rows_by_row(
// CHECK:         vector.shuffle %{{.*}} [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15]
// CHECK-COUNT-2: vector.store %{{.*}} : memref<1x1x1x64xi8>, vector<16xi8>
func.func @quantize_rows_by_row(%x: memref<1x32xf32>, %e: memref<1x1x1x64xi8>, %s: memref<1x1x1xf32>, %u: memref<1x1x1xf32>, %o: memref<1x1x1xi32>) {
  hlq.quantize_rows ins(%x : memref<1x32xf32>) outs(%e, %s, %u, %o : memref<1x1x1x64xi8>, memref<1x1x1xf32>, memref<1x1x1xf32>, memref<1x1x1xi32>)
    {table_group = 32 : i64, words, transposed, by_row}
  return
}
