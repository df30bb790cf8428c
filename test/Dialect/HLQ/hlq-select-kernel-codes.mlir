// RUN: elutq-opt %s -hlq-select-kernel="isa=avx512vbmi wide-tables=.*" | FileCheck %s --check-prefixes=CHECK,VBMI
// RUN: elutq-opt %s -hlq-select-kernel="isa=avx2 wide-tables=.*" | FileCheck %s --check-prefixes=CHECK,AVX2

// Codes of 8 bits have one layout on every instruction set; fewer rows share a pass where registers are few.
// VBMI-DAG:  #[[$PREFILL:kernel.*]] = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 8, n_tile = 2, table_bits = 16>
// AVX2-DAG:  #[[$PREFILL:kernel.*]] = #hlq.kernel<isa = "avx2", algorithm = "dot", m_tile = 2, n_tile = 2, table_bits = 16>
// CHECK-DAG: #[[$UNIFORM:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 128, params = uniform, param_type = f16>
// CHECK-DAG: #[[$SYMMETRIC:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 128, params = symmetric, param_type = f16, zero_point = 128>

// CHECK-LABEL: func.func @prefill(
// CHECK:         hlq.linear {{.*}} {group_size = 128 : i64, hlq.kernel = #[[$PREFILL]], hlq.layout = #[[$UNIFORM]]}
func.func @prefill(%x: tensor<64x640xf32>, %q: tensor<640x640xi8>, %s: tensor<640x5x1xf16>, %z: tensor<640x5xf16>,
                   %init: tensor<64x640xf32>) -> tensor<64x640xf32> {
  %y = hlq.linear ins(%x, %q, %s, %z : tensor<64x640xf32>, tensor<640x640xi8>, tensor<640x5x1xf16>, tensor<640x5xf16>)
                  outs(%init : tensor<64x640xf32>) {group_size = 128 : i64} -> tensor<64x640xf32> loc("proj")
  return %y : tensor<64x640xf32>
}

// CHECK-LABEL: func.func @embedding(
// CHECK:         hlq.gather {{.*}} {group_size = 128 : i64, hlq.layout = #[[$SYMMETRIC]], zero_point = 128 : i64}
func.func @embedding(%ids: tensor<1xi64>, %q: tensor<5x128xi8>, %s: tensor<5x1x1xf16>, %init: tensor<1x128xf32>) -> tensor<1x128xf32> {
  %e = hlq.gather ins(%ids, %q, %s : tensor<1xi64>, tensor<5x128xi8>, tensor<5x1x1xf16>)
                  outs(%init : tensor<1x128xf32>) {group_size = 128 : i64, zero_point = 128 : i64} -> tensor<1x128xf32>
  return %e : tensor<1x128xf32>
}
