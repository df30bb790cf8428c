// RUN: elutq-opt %s -convert-hlq-to-vector -canonicalize -split-input-file | FileCheck %s
// RUN: elutq-opt %s -convert-hlq-to-vector=table-bytes=128 -canonicalize -split-input-file | FileCheck %s --check-prefix=PASSES

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4>

// Dword lanes: a vector of plane bytes is 16 rows of 32 columns. Each half indexes a 64-byte table; 2 planes of one step.
// CHECK-LABEL: func.func @dword(
// CHECK-SAME:    %[[T:[^:]*]]: memref<1x8x1x64xi8>
// CHECK:         scf.for {{.*}} iter_args(%{{.*}}) -> (vector<16xf32>)
// CHECK:         %[[TABLE:.*]] = vector.load %[[T]]{{.*}} vector<64xi8>
// CHECK:         %[[FOUND:.*]] = hlq.lookup %[[TABLE]][%{{.*}}] : vector<64xi8>, vector<64xi8>
// CHECK:         hlq.accumulate %{{.*}}, %[[FOUND]] : vector<16xi32>, vector<64xi8>
// CHECK-COUNT-3: hlq.accumulate
// CHECK-NOT:     hlq.
func.func @dword(%t: memref<1x8x1x64xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %w: memref<4x896xi8>, %y: memref<1x64xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x8x1x64xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<4x896xi8>)
    outs(%y : memref<1x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4>

// Two rows: both planes are looked up in a table while it is in a register.
// CHECK-LABEL: func.func @planes_at_once(
// CHECK-SAME:    %[[T:[^:]*]]: memref<1x8x2x64xi8>
// CHECK:         %[[LOW:.*]] = arith.ori
// CHECK:         %[[HIGH:.*]] = arith.ori
// CHECK:         %[[TABLE:.*]] = vector.load %[[T]]{{.*}} vector<64xi8>
// CHECK-NEXT:    hlq.lookup %[[TABLE]][%[[LOW]]]
// CHECK:         hlq.lookup %[[TABLE]][%[[HIGH]]]
// CHECK-COUNT-3: vector.load %[[T]]
// CHECK-NOT:     vector.load %[[T]]
func.func @planes_at_once(%t: memref<1x8x2x64xi8>, %s: memref<1x4x2xf32>, %u: memref<1x4x2xf32>, %w: memref<4x896xi8>, %y: memref<2x64xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x8x2x64xi8>, memref<1x4x2xf32>, memref<1x4x2xf32>, memref<4x896xi8>)
    outs(%y : memref<2x64xf32>) {layout = #layout, table_group = 32 : i64,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 2, n_tile = 4>}
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4>

// With one block of activations, weights come from memory: where each of the four lines of a unit of 224 bytes is read, the
// one 16384 bytes ahead is fetched to the second-level cache.
// CHECK-LABEL: func.func @prefetch(
// CHECK-SAME:    %[[W:[^:]*]]: memref<4x896xi8>
// CHECK:         scf.for %[[UNIT:[^ ]*]] = {{.*}} iter_args
// CHECK:         %[[BASE:.*]] = arith.muli %[[UNIT]], %c224
// CHECK:         %[[AHEAD:.*]] = arith.addi %[[BASE]], %c16384
// CHECK:         memref.prefetch %[[W]][%{{.*}}, %[[AHEAD]]], read, locality<2>, data
// CHECK-COUNT-3: memref.prefetch
// CHECK-NOT:     memref.prefetch
func.func @prefetch(%t: memref<1x8x1x64xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %w: memref<4x896xi8>, %y: memref<1x64xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x8x1x64xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<4x896xi8>)
    outs(%y : memref<1x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4>

// Of several blocks, only the first would find the weights in memory. In passes of one unit of two chunks, two lines of tables,
// it is the tables that each of four row blocks fetches a part of: those of the next block of rows.
// PASSES-LABEL: func.func @no_prefetch(
// PASSES-SAME:    %[[T:[^:]*]]: memref<2x8x1x64xi8>
// PASSES:         scf.for {{.*}} to %c4
// PASSES:         scf.for %[[MB:[^ ]*]] =
// PASSES:           %[[NEXT:.*]] = arith.addi %[[MB]], %c1
// PASSES:           memref.prefetch %[[T]][%[[NEXT]], {{.*}}], read, locality<2>, data
// PASSES-NOT:       memref.prefetch
// PASSES:         return
// CHECK-LABEL: func.func @no_prefetch(
// CHECK-NOT:     memref.prefetch
func.func @no_prefetch(%t: memref<2x8x1x64xi8>, %s: memref<2x4x1xf32>, %u: memref<2x4x1xf32>, %w: memref<4x896xi8>, %y: memref<2x64xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<2x8x1x64xi8>, memref<2x4x1xf32>, memref<2x4x1xf32>, memref<4x896xi8>)
    outs(%y : memref<2x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 32, bits = 1, group_size = 32, params = symmetric, param_type = f16, zero_point = 1>
#kernel = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 4>

// Byte lanes: 16-bit sums of words and of their high bytes, less 128 for each of 8 look-ups from the start.
// CHECK-LABEL: func.func @byte(
// CHECK-DAG:     %[[START:.*]] = arith.constant dense<-1024> : vector<16xi16>
// CHECK:         scf.for {{.*}} iter_args(%{{.*}} = %[[START]], %{{.*}} = %[[START]])
// CHECK-COUNT-4: hlq.lookup %{{.*}} : vector<16xi8>, vector<32xi8>
// CHECK-NOT:     hlq.
// CHECK:         vector.interleave %{{.*}} : vector<16xi16> -> vector<32xi16>
// CHECK-COUNT-2: arith.extsi %{{.*}} : vector<16xi16> to vector<16xi32>
func.func @byte(%t: memref<1x8x1x64xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %w: memref<1x768xi8>, %y: memref<1x32xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x8x1x64xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<1x768xi8>)
    outs(%y : memref<1x32xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}

// -----

#layout = #hlq.layout<lane = byte, rows = 32, bits = 1, group_size = 32, params = symmetric, param_type = f16, zero_point = 1>
#kernel = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 4>

// Byte lanes take few rows at once: the first of two blocks asks for weights, too.
// CHECK-LABEL: func.func @byte_prefetch(
// CHECK:         memref.prefetch
func.func @byte_prefetch(%t: memref<2x8x1x64xi8>, %s: memref<2x4x1xf32>, %u: memref<2x4x1xf32>, %w: memref<1x768xi8>, %y: memref<2x32xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<2x8x1x64xi8>, memref<2x4x1xf32>, memref<2x4x1xf32>, memref<1x768xi8>)
    outs(%y : memref<2x32xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 256, params = uniform, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 8, n_tile = 4>

// The tables of 1024 columns and 8 rows are more than one pass takes: later passes go on from what is in the result.
// CHECK-LABEL: func.func @passes(
// CHECK-SAME:    %[[Y:[^:]*]]: memref<8x16xf32>)
// CHECK-DAG:     %[[TWO:.*]] = arith.constant 2 : index
// CHECK:         scf.for %[[FIRST:.*]] = %{{.*}} to %{{.*}} step %[[TWO]] {
// CHECK:         %[[IS_FIRST:.*]] = arith.cmpi eq, %[[FIRST]]
// CHECK:         %[[OLD:.*]] = vector.load %[[Y]]
// CHECK:         arith.select %[[IS_FIRST]], %{{.*}}, %[[OLD]]
func.func @passes(%t: memref<1x64x8x64xi8>, %s: memref<1x8x8xf32>, %u: memref<1x8x8xf32>, %w: memref<1x4352xi8>, %y: memref<8x16xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x64x8x64xi8>, memref<1x8x8xf32>, memref<1x8x8xf32>, memref<1x4352xi8>)
    outs(%y : memref<8x16xf32>) {layout = #layout, kernel = #kernel, table_group = 128 : i64}
  return
}

// -----

// K = 100 ends in the second chunk of the fourth table group; rows from 3 on are zeros.
// CHECK-LABEL: func.func @build_lut(
// CHECK-DAG:     %[[MASK:.*]] = arith.constant dense<[true, true, true, true, false
// CHECK:         scf.if
// CHECK:           scf.for
// CHECK:           vector.maskedload %{{.*}}, %[[MASK]]
// CHECK:         } else {
// CHECK-NOT:     hlq.
func.func @build_lut(%x: memref<3x100xf32>, %t: memref<1x8x4x64xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>) {
  hlq.build_lut ins(%x : memref<3x100xf32>) outs(%t, %s, %u : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>)
    {table_group = 32 : i64, lane = 0 : i32}
  return
}

// -----

// K = 128 needs no mask.
// CHECK-LABEL: func.func @build_lut_whole(
// CHECK-NOT:     vector.maskedload
func.func @build_lut_whole(%x: memref<4x128xf32>, %t: memref<1x8x4x64xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>) {
  hlq.build_lut ins(%x : memref<4x128xf32>) outs(%t, %s, %u : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>)
    {table_group = 32 : i64, lane = 1 : i32}
  return
}

// -----

// CHECK-LABEL: func.func @packed_gather(
// CHECK-COUNT-2: math.fma %{{.*}} : vector<16xf32>
// CHECK:         vector.store %{{.*}} vector<16xf32>
// CHECK-NOT:     hlq.
func.func @packed_gather(%i: memref<4xi64>, %w: memref<4x896xi8>, %y: memref<4x128xf32>) {
  hlq.packed_gather ins(%i, %w : memref<4xi64>, memref<4x896xi8>) outs(%y : memref<4x128xf32>)
    {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>}
  return
}

// -----

#layout = #hlq.layout<lane = dword, rows = 16, bits = 1, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4, table_bits = 16>

// Entries of 16 bits: the same indices look up high and low bytes, and the sum of high bytes counts 256 times.
// CHECK-LABEL: func.func @wide_tables(
// CHECK-DAG:     %[[EIGHT:.*]] = arith.constant dense<8> : vector<16xi32>
// CHECK:         hlq.lookup %{{.*}}[%[[I:.*]]]
// CHECK:         hlq.lookup %{{.*}}[%[[I]]]
// CHECK-COUNT-2: hlq.lookup
// CHECK-NOT:     hlq.lookup
// CHECK:         %[[HIGH:.*]] = arith.shli %{{.*}}, %[[EIGHT]]
// CHECK:         arith.addi %[[HIGH]], %{{.*}} : vector<16xi32>
func.func @wide_tables(%t: memref<1x2x1x128xi8>, %s: memref<1x1x1xf32>, %u: memref<1x1x1xf32>, %w: memref<1x128xi8>, %y: memref<1x16xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x2x1x128xi8>, memref<1x1x1xf32>, memref<1x1x1xf32>, memref<1x128xi8>)
    outs(%y : memref<1x16xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}
