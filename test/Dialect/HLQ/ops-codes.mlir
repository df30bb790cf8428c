// RUN: elutq-opt %s | elutq-opt | FileCheck %s
// RUN: elutq-opt %s -mlir-print-op-generic | elutq-opt | FileCheck %s

// Weights of 8 bits: codes and not planes.
// CHECK-DAG: #[[$LAYOUT:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
// CHECK-DAG: #[[$KERNEL:kernel.*]] = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 4, n_tile = 4, table_bits = 16>
#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>

// CHECK-LABEL: func.func @linear(
// CHECK:         hlq.linear ins({{.*}} : tensor<4x128xf32>, tensor<64x128xi8>, tensor<64x4x1xf16>, tensor<64x4xf16>) outs({{.*}}) {group_size = 32 : i64}
func.func @linear(%x: tensor<4x128xf32>, %codes: tensor<64x128xi8>, %scales: tensor<64x4x1xf16>, %zeros: tensor<64x4xf16>,
                  %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %y = hlq.linear ins(%x, %codes, %scales, %zeros : tensor<4x128xf32>, tensor<64x128xi8>, tensor<64x4x1xf16>, tensor<64x4xf16>)
                  outs(%init : tensor<4x64xf32>) {group_size = 32 : i64} -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

// CHECK-LABEL: func.func @gather(
// CHECK:         hlq.gather ins({{.*}} : tensor<4xi64>, tensor<64x128xi8>, tensor<64x1x1xf32>) outs({{.*}}) {group_size = 128 : i64, zero_point = 128 : i64}
func.func @gather(%ids: tensor<4xi64>, %codes: tensor<64x128xi8>, %scales: tensor<64x1x1xf32>, %init: tensor<4x100xf32>) -> tensor<4x100xf32> {
  %e = hlq.gather ins(%ids, %codes, %scales : tensor<4xi64>, tensor<64x128xi8>, tensor<64x1x1xf32>)
                  outs(%init : tensor<4x100xf32>) {group_size = 128 : i64, zero_point = 128 : i64} -> tensor<4x100xf32>
  return %e : tensor<4x100xf32>
}

// CHECK-LABEL: func.func @pack(
// CHECK:         hlq.pack {{.*}} {layout = #[[$LAYOUT]]} : (tensor<64x128xi8>, tensor<64x4x1xf16>, tensor<64x4xf16>) -> tensor<4x2304xi8>
func.func @pack(%codes: tensor<64x128xi8>, %scales: tensor<64x4x1xf16>, %zeros: tensor<64x4xf16>) -> tensor<4x2304xi8> {
  %p = hlq.pack %codes, %scales, %zeros {layout = #layout}
     : (tensor<64x128xi8>, tensor<64x4x1xf16>, tensor<64x4xf16>) -> tensor<4x2304xi8>
  return %p : tensor<4x2304xi8>
}

// CHECK-LABEL: func.func @quantize_rows(
// CHECK:         hlq.quantize_rows ins(%{{.+}} : tensor<4x128xf32>) outs({{.*}}) {table_group = 32 : i64} -> tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>
func.func @quantize_rows(%x: tensor<4x128xf32>, %e0: tensor<1x8x4x32xi8>, %s0: tensor<1x4x4xf32>, %u0: tensor<1x4x4xf32>,
                         %o0: tensor<1x4x4xi32>) -> tensor<1x8x4x32xi8> {
  %e:4 = hlq.quantize_rows ins(%x : tensor<4x128xf32>)
           outs(%e0, %s0, %u0, %o0 : tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>) {table_group = 32 : i64}
           -> tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>
  return %e#0 : tensor<1x8x4x32xi8>
}

// CHECK-LABEL: func.func @code_matmul(
// CHECK:         hlq.code_matmul {{.*}} {kernel = #[[$KERNEL]], layout = #[[$LAYOUT]], table_group = 32 : i64} -> tensor<4x64xf32>
func.func @code_matmul(%e: tensor<1x8x4x32xi8>, %s: tensor<1x4x4xf32>, %u: tensor<1x4x4xf32>, %o: tensor<1x4x4xi32>,
                       %p: tensor<4x2304xi8>, %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %y = hlq.code_matmul ins(%e, %s, %u, %o, %p : tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>, tensor<4x2304xi8>)
         outs(%init : tensor<4x64xf32>)
         {layout = #layout, table_group = 32 : i64,
          kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 4, n_tile = 4, table_bits = 16>} -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}
