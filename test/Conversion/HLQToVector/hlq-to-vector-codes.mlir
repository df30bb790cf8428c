// RUN: elutq-opt %s -convert-hlq-to-vector -canonicalize -split-input-file | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 16, params = symmetric, param_type = f16, zero_point = 128>

// A step is four columns of 16 rows: the codes meet the same high, then low, bytes of the entries. The sum of low ones starts
// at the offset; that of high ones counts 256 times.
// CHECK-LABEL: func.func @code_matmul(
// CHECK-SAME:    %[[E:[^:]*]]: memref<1x1x1x32xi8>, {{.*}}, %[[O:[^:]*]]: memref<1x1x1xi32>, %[[P:[^:]*]]: memref<1x320xi8>
// CHECK:         %[[OFFSET:.*]] = memref.load %[[O]]
// CHECK:         %[[START:.*]] = vector.broadcast %[[OFFSET]] : i32 to vector<16xi32>
// CHECK:         %[[CODES:.*]] = vector.load %[[P]]{{.*}} vector<64xi8>
// CHECK:         hlq.dot %{{.*}}, %[[CODES]], %{{.*}} : vector<16xi32>, vector<64xi8>
// CHECK:         hlq.dot %[[START]], %[[CODES]], %{{.*}} : vector<16xi32>, vector<64xi8>
// CHECK-COUNT-6: hlq.dot
// CHECK-NOT:     hlq.
func.func @code_matmul(%e: memref<1x1x1x32xi8>, %s: memref<1x1x1xf32>, %u: memref<1x1x1xf32>, %o: memref<1x1x1xi32>, %p: memref<1x320xi8>, %y: memref<1x16xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %p : memref<1x1x1x32xi8>, memref<1x1x1xf32>, memref<1x1x1xf32>, memref<1x1x1xi32>, memref<1x320xi8>)
    outs(%y : memref<1x16xf32>) {table_group = 16 : i64, layout = #layout,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 4, table_bits = 16>}
  return
}

// -----

// K = 20 ends in the second chunk; the bits that rounding by addition leaves above the integers are taken off before the sum.
// CHECK-LABEL: func.func @quantize_rows(
// CHECK-SAME:    %{{[^:]*}}: memref<1x20xf32>, {{.*}}, %[[O:[^:]*]]: memref<1x1x1xi32>)
// CHECK-DAG:     %[[ROUNDING:.*]] = arith.constant dense<1262485504> : vector<16xi32>
// CHECK:         vector.maskedload
// CHECK:         %[[ENTRY:.*]] = arith.subi %{{.*}}, %[[ROUNDING]]
// CHECK:         %[[SUM:.*]] = vector.reduction <add>
// CHECK:         %[[OFFSET:.*]] = arith.muli %[[SUM]], %{{.*}} : i32
// CHECK:         memref.store %[[OFFSET]], %[[O]]
func.func @quantize_rows(%x: memref<1x20xf32>, %e: memref<1x2x1x16xi8>, %s: memref<1x1x1xf32>, %u: memref<1x1x1xf32>, %o: memref<1x1x1xi32>) {
  hlq.quantize_rows ins(%x : memref<1x20xf32>) outs(%e, %s, %u, %o : memref<1x2x1x16xi8>, memref<1x1x1xf32>, memref<1x1x1xf32>, memref<1x1x1xi32>)
    {table_group = 32 : i64}
  return
}

// -----

// Sixteen columns of a row are four bytes of four steps.
// CHECK-LABEL:   func.func @packed_gather(
// CHECK-COUNT-4:   vector.load {{.*}} vector<4xi8>
// CHECK:           %[[CODES:.*]] = arith.uitofp %{{.*}} : vector<16xi8> to vector<16xf32>
// CHECK:           math.fma %{{.*}}, %[[CODES]], %{{.*}} : vector<16xf32>
func.func @packed_gather(%i: memref<4xi64>, %w: memref<4x2304xi8>, %y: memref<4x128xf32>) {
  hlq.packed_gather ins(%i, %w : memref<4xi64>, memref<4x2304xi8>) outs(%y : memref<4x128xf32>)
    {layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>}
  return
}
