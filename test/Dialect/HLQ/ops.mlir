// RUN: elutq-opt %s | elutq-opt | FileCheck %s
// RUN: elutq-opt %s -mlir-print-op-generic | elutq-opt | FileCheck %s

// CHECK-DAG: #[[$LAYOUT:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
// CHECK-DAG: #[[$SYMMETRIC:layout.*]] = #hlq.layout<lane = byte, rows = 32, bits = 4, group_size = 64, params = symmetric, param_type = f32, zero_point = 8>
// CHECK-DAG: #[[$KERNEL:kernel.*]] = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 4>
#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#symmetric = #hlq.layout<lane = byte, rows = 32, bits = 4, group_size = 64, params = symmetric, param_type = f32, zero_point = 8>

// CHECK-LABEL: func.func @linear(
// CHECK:         hlq.linear ins(%{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} : tensor<4x128xf32>, tensor<2x64x16xi8>, tensor<64x4x2xf16>, tensor<64x4xf16>) outs(%{{.+}} : tensor<4x64xf32>) {group_size = 32 : i64} -> tensor<4x64xf32>
func.func @linear(%x: tensor<4x128xf32>, %planes: tensor<2x64x16xi8>, %scales: tensor<64x4x2xf16>, %zeros: tensor<64x4xf16>,
                  %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %y = hlq.linear ins(%x, %planes, %scales, %zeros : tensor<4x128xf32>, tensor<2x64x16xi8>, tensor<64x4x2xf16>, tensor<64x4xf16>)
                  outs(%init : tensor<4x64xf32>) {group_size = 32 : i64} -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

// One scale per group, a zero point in place of zeros, one group per row.
// CHECK-LABEL: func.func @linear_symmetric_per_row(
// CHECK:         hlq.linear {{.*}} {group_size = 320 : i64, zero_point = 8 : i64}
func.func @linear_symmetric_per_row(%x: tensor<1x300xf32>, %planes: tensor<4x5x40xi8>, %scales: tensor<5x1x1xf32>,
                                    %init: tensor<1x5xf32>) -> tensor<1x5xf32> {
  %y = hlq.linear ins(%x, %planes, %scales : tensor<1x300xf32>, tensor<4x5x40xi8>, tensor<5x1x1xf32>)
                  outs(%init : tensor<1x5xf32>) {group_size = 320 : i64, zero_point = 8 : i64} -> tensor<1x5xf32>
  return %y : tensor<1x5xf32>
}

// CHECK-LABEL: func.func @gather(
// CHECK:         hlq.gather ins({{.*}} : tensor<4xi64>, tensor<4x64x16xi8>, tensor<64x4x4xf16>, tensor<64x4xf16>) outs({{.*}} : tensor<4x128xf32>)
func.func @gather(%ids: tensor<4xi64>, %planes: tensor<4x64x16xi8>, %scales: tensor<64x4x4xf16>, %zeros: tensor<64x4xf16>,
                  %init: tensor<4x128xf32>) -> tensor<4x128xf32> {
  %e = hlq.gather ins(%ids, %planes, %scales, %zeros : tensor<4xi64>, tensor<4x64x16xi8>, tensor<64x4x4xf16>, tensor<64x4xf16>)
                  outs(%init : tensor<4x128xf32>) {group_size = 32 : i64} -> tensor<4x128xf32>
  return %e : tensor<4x128xf32>
}

// CHECK-LABEL: func.func @pack(
// CHECK:         hlq.pack {{.*}} {layout = #[[$LAYOUT]]} : (tensor<2x64x16xi8>, tensor<64x4x2xf16>, tensor<64x4xf16>) -> tensor<4x896xi8>
func.func @pack(%planes: tensor<2x64x16xi8>, %scales: tensor<64x4x2xf16>, %zeros: tensor<64x4xf16>) -> tensor<4x896xi8> {
  %p = hlq.pack %planes, %scales, %zeros {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>}
     : (tensor<2x64x16xi8>, tensor<64x4x2xf16>, tensor<64x4xf16>) -> tensor<4x896xi8>
  return %p : tensor<4x896xi8>
}

// CHECK-LABEL: func.func @pack_symmetric(
// CHECK:         hlq.pack {{.*}} {layout = #[[$SYMMETRIC]]}
func.func @pack_symmetric(%planes: tensor<4x33x16xi8>, %scales: tensor<33x2x1xf32>) -> tensor<2x2304xi8> {
  %p = hlq.pack %planes, %scales {layout = #symmetric} : (tensor<4x33x16xi8>, tensor<33x2x1xf32>) -> tensor<2x2304xi8>
  return %p : tensor<2x2304xi8>
}

// CHECK-LABEL: func.func @build_lut(
// CHECK:         hlq.build_lut ins(%{{.+}} : tensor<4x128xf32>) outs({{.*}}) {lane = 1 : i32, table_group = 32 : i64}
func.func @build_lut(%x: tensor<4x128xf32>, %t0: tensor<1x8x4x64xi8>, %s0: tensor<1x4x4xf32>, %u0: tensor<1x4x4xf32>)
    -> (tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>) {
  %t:3 = hlq.build_lut ins(%x : tensor<4x128xf32>)
           outs(%t0, %s0, %u0 : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>
  return %t#0, %t#1, %t#2 : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>
}

// CHECK-LABEL: func.func @lut_matmul(
// CHECK:         hlq.lut_matmul {{.*}} {kernel = #[[$KERNEL]], layout = #[[$LAYOUT]], table_group = 32 : i64} -> tensor<4x64xf32>
func.func @lut_matmul(%t: tensor<1x8x4x64xi8>, %s: tensor<1x4x4xf32>, %u: tensor<1x4x4xf32>, %p: tensor<4x896xi8>,
                      %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %y = hlq.lut_matmul ins(%t, %s, %u, %p : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<4x896xi8>)
         outs(%init : tensor<4x64xf32>)
         {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>,
          kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 4>, table_group = 32 : i64} -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

// CHECK-LABEL: func.func @packed_gather(
// CHECK:         hlq.packed_gather ins({{.*}} : tensor<4xi64>, tensor<4x896xi8>) outs({{.*}} : tensor<4x128xf32>) {layout = #[[$LAYOUT]]}
func.func @packed_gather(%ids: tensor<4xi64>, %p: tensor<4x896xi8>, %init: tensor<4x128xf32>) -> tensor<4x128xf32> {
  %e = hlq.packed_gather ins(%ids, %p : tensor<4xi64>, tensor<4x896xi8>) outs(%init : tensor<4x128xf32>)
         {layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>} -> tensor<4x128xf32>
  return %e : tensor<4x128xf32>
}

// The memref form has no results.
// CHECK-LABEL: func.func @memrefs(
// CHECK:         hlq.packed_gather ins({{.*}} : memref<4xi64>, memref<4x896xi8>) outs(%{{.+}} : memref<4x128xf32>) {layout = #[[$LAYOUT]]}
// CHECK-NEXT:    return
func.func @memrefs(%ids: memref<4xi64>, %p: memref<4x896xi8>, %init: memref<4x128xf32>) {
  hlq.packed_gather ins(%ids, %p : memref<4xi64>, memref<4x896xi8>) outs(%init : memref<4x128xf32>) {layout = #layout}
  return
}

// CHECK-LABEL: func.func @lookup(
// CHECK:         hlq.lookup %{{.+}}[%{{.+}}] : vector<16xi8>, vector<32xi8>
func.func @lookup(%table: vector<16xi8>, %idx: vector<32xi8>) -> vector<32xi8> {
  %r = hlq.lookup %table[%idx] : vector<16xi8>, vector<32xi8>
  return %r : vector<32xi8>
}

// CHECK-LABEL: func.func @accumulate(
// CHECK:         hlq.accumulate %{{.+}}, %{{.+}} : vector<16xi32>, vector<64xi8>
func.func @accumulate(%acc: vector<16xi32>, %bytes: vector<64xi8>) -> vector<16xi32> {
  %r = hlq.accumulate %acc, %bytes : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}

// CHECK-LABEL: func.func @dot(
// CHECK:         hlq.dot %{{.+}}, %{{.+}}, %{{.+}} : vector<16xi32>, vector<64xi8>
func.func @dot(%acc: vector<16xi32>, %codes: vector<64xi8>, %bytes: vector<64xi8>) -> vector<16xi32> {
  %r = hlq.dot %acc, %codes, %bytes : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}
