// RUN: elutq-opt %s -convert-hlq-to-loops -canonicalize -split-input-file | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 4>

// One element is a fold over groups: per plane a sum of table entries, scaled, and the centred zero at the end.
// CHECK-LABEL: func.func @lut_matmul(
// CHECK-SAME:    %[[T:[^:]*]]: memref<1x8x4x64xi8>
// CHECK:         %[[Y:.*]] = scf.for {{.*}} iter_args({{.*}}) -> (f32)
// CHECK-COUNT-2:   memref.load %[[T]]
// CHECK:           math.fma
// CHECK:           scf.yield
// CHECK:         memref.store %[[Y]]
// CHECK-NOT:     hlq.
func.func @lut_matmul(%t: memref<1x8x4x64xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>, %w: memref<4x896xi8>, %y: memref<4x64xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>, memref<4x896xi8>)
    outs(%y : memref<4x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64}
  return
}

// -----

// Entries are rounded half to even, and moved by 128 for byte lanes.
// CHECK-LABEL: func.func @build_lut_byte(
// CHECK-DAG:     %[[BIAS:.*]] = arith.constant 128 : i32
// CHECK:         math.roundeven
// CHECK:         arith.addi %{{.*}}, %[[BIAS]] : i32
// CHECK-NOT:     hlq.
func.func @build_lut_byte(%x: memref<3x100xf32>, %t: memref<1x8x4x64xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>) {
  hlq.build_lut ins(%x : memref<3x100xf32>) outs(%t, %s, %u : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>)
    {table_group = 32 : i64, lane = 0 : i32}
  return
}

// -----

// Signed entries are not moved.
// CHECK-LABEL: func.func @build_lut_dword(
// CHECK-NOT:     arith.constant 128 : i32
func.func @build_lut_dword(%x: memref<3x100xf32>, %t: memref<1x8x4x64xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>) {
  hlq.build_lut ins(%x : memref<3x100xf32>) outs(%t, %s, %u : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>)
    {table_group = 32 : i64, lane = 1 : i32}
  return
}

// -----

// CHECK-LABEL: func.func @packed_gather(
// CHECK-COUNT-2: math.fma
// CHECK:         memref.store
// CHECK-NOT:     hlq.
func.func @packed_gather(%i: memref<4xi64>, %w: memref<4x896xi8>, %y: memref<4x128xf32>) {
  hlq.packed_gather ins(%i, %w : memref<4xi64>, memref<4x896xi8>) outs(%y : memref<4x128xf32>)
    {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>}
  return
}

// -----

// Activations are rounded half to even, and their sum, times -128, goes to the offsets.
// CHECK-LABEL: func.func @quantize_rows(
// CHECK-SAME:    %[[X:[^:]*]]: memref<3x100xf32>, {{.*}}, %[[O:[^:]*]]: memref<1x4x4xi32>)
// CHECK-DAG:     %[[CENTRE:.*]] = arith.constant -128 : i32
// CHECK:         math.absf
// CHECK:         %[[SUM:.*]] = scf.for {{.*}} -> (i32)
// CHECK:           math.roundeven
// CHECK:         %[[OFFSET:.*]] = arith.muli %[[SUM]], %[[CENTRE]]
// CHECK:         memref.store %[[OFFSET]], %[[O]]
func.func @quantize_rows(%x: memref<3x100xf32>, %e: memref<1x8x4x32xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>, %o: memref<1x4x4xi32>) {
  hlq.quantize_rows ins(%x : memref<3x100xf32>) outs(%e, %s, %u, %o : memref<1x8x4x32xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>, memref<1x4x4xi32>)
    {table_group = 32 : i64}
  return
}

// -----

// A sum of products of unsigned codes and signed entries starts at the offset.
// CHECK-LABEL: func.func @code_matmul(
// CHECK-SAME:    %[[E:[^:]*]]: memref<1x8x4x16xi8>, {{.*}}, %[[O:[^:]*]]: memref<1x4x4xi32>, %[[P:[^:]*]]: memref<4x2304xi8>
// CHECK:         %[[OFFSET:.*]] = memref.load %[[O]]
// CHECK:         scf.for {{.*}} iter_args(%{{.*}} = %[[OFFSET]]) -> (i32)
// CHECK-DAG:       arith.extsi
// CHECK-DAG:       arith.extui
// CHECK:           arith.muli
// CHECK-NOT:     hlq.
func.func @code_matmul(%e: memref<1x8x4x16xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>, %o: memref<1x4x4xi32>, %p: memref<4x2304xi8>, %y: memref<4x64xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %p : memref<1x8x4x16xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>, memref<1x4x4xi32>, memref<4x2304xi8>)
    outs(%y : memref<4x64xf32>) {table_group = 32 : i64,
    layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>,
    kernel = #hlq.kernel<isa = "generic", algorithm = "dot", m_tile = 4, n_tile = 4>}
  return
}

// -----

// CHECK-LABEL: func.func @packed_gather_codes(
// CHECK:         %[[CODE:.*]] = arith.sitofp
// CHECK:         math.fma %{{.*}}, %[[CODE]], %{{.*}} : f32
// CHECK-NOT:     math.fma
func.func @packed_gather_codes(%i: memref<4xi64>, %w: memref<4x2304xi8>, %y: memref<4x128xf32>) {
  hlq.packed_gather ins(%i, %w : memref<4xi64>, memref<4x2304xi8>) outs(%y : memref<4x128xf32>)
    {layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>}
  return
}
