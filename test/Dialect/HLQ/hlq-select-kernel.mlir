// RUN: elutq-opt %s -hlq-select-kernel=isa=avx512vbmi | FileCheck %s --check-prefixes=CHECK,VBMI
// RUN: elutq-opt %s -hlq-select-kernel=isa=avx2 | FileCheck %s --check-prefixes=CHECK,AVX2
// RUN: not elutq-opt %s -hlq-select-kernel=isa=sse2 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// RUN: elutq-opt %s -hlq-select-kernel="isa=avx512vbmi algorithm=lut" | FileCheck %s --check-prefix=LUT
// RUN: not elutq-opt %s -hlq-select-kernel=algorithm=gemm 2>&1 | FileCheck %s --check-prefix=ALGORITHM

// LUT-NOT:   algorithm = "dot"
// ALGORITHM: error: expected algorithm to be auto, lut or dot, but got 'gemm'

// UNKNOWN: error: expected isa to be avx512amx, avx512vbmi, avx512bw, avx2, neon, neon_dotprod or generic, but got 'sse2'

// Decode and prefill have the same layout. One row is looked up; many rows share codes, of words where bytes gain nothing.
// VBMI-DAG: #[[$DECODE:kernel.*]] = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 2>
// VBMI-DAG: #[[$PREFILL:kernel.*]] = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 8, n_tile = 2>
// VBMI-DAG: #[[$HLQ:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 4, group_size = 128, params = hlq, param_type = f16>
// VBMI-DAG: #[[$UNIFORM:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 4, group_size = 32, params = uniform, param_type = f32>
// VBMI-DAG: #[[$SYMMETRIC:layout.*]] = #hlq.layout<lane = dword, rows = 16, bits = 4, group_size = 32, params = symmetric, param_type = f32, zero_point = 8>
// AVX2-DAG: #[[$DECODE:kernel.*]] = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 1>
// AVX2-DAG: #[[$PREFILL:kernel.*]] = #hlq.kernel<isa = "avx2", algorithm = "dot", m_tile = 4, n_tile = 1, table_bits = 16>
// AVX2-DAG: #[[$HLQ:layout.*]] = #hlq.layout<lane = byte, rows = 32, bits = 4, group_size = 128, params = hlq, param_type = f16>
// AVX2-DAG: #[[$UNIFORM:layout.*]] = #hlq.layout<lane = byte, rows = 32, bits = 4, group_size = 32, params = uniform, param_type = f32>
// AVX2-DAG: #[[$SYMMETRIC:layout.*]] = #hlq.layout<lane = byte, rows = 32, bits = 4, group_size = 32, params = symmetric, param_type = f32, zero_point = 8>

// CHECK-LABEL: func.func @decode(
// CHECK:         hlq.linear {{.*}} {group_size = 128 : i64, hlq.kernel = #[[$DECODE]], hlq.layout = #[[$HLQ]]}
func.func @decode(%x: tensor<1x640xf32>, %p: tensor<4x640x80xi8>, %s: tensor<640x5x4xf16>, %z: tensor<640x5xf16>,
                  %init: tensor<1x640xf32>) -> tensor<1x640xf32> {
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x640xf32>, tensor<4x640x80xi8>, tensor<640x5x4xf16>, tensor<640x5xf16>)
                  outs(%init : tensor<1x640xf32>) {group_size = 128 : i64} -> tensor<1x640xf32>
  return %y : tensor<1x640xf32>
}

// CHECK-LABEL: func.func @prefill(
// CHECK:         hlq.linear {{.*}} {group_size = 128 : i64, hlq.kernel = #[[$PREFILL]], hlq.layout = #[[$HLQ]]}
func.func @prefill(%x: tensor<64x640xf32>, %p: tensor<4x640x80xi8>, %s: tensor<640x5x4xf16>, %z: tensor<640x5xf16>,
                  %init: tensor<64x640xf32>) -> tensor<64x640xf32> {
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<64x640xf32>, tensor<4x640x80xi8>, tensor<640x5x4xf16>, tensor<640x5xf16>)
                  outs(%init : tensor<64x640xf32>) {group_size = 128 : i64} -> tensor<64x640xf32>
  return %y : tensor<64x640xf32>
}

// Imported weights keep the parameters that they have.
// CHECK-LABEL: func.func @parameters(
// CHECK:         hlq.gather {{.*}} {group_size = 32 : i64, hlq.layout = #[[$UNIFORM]]}
// CHECK:         hlq.gather {{.*}} {group_size = 32 : i64, hlq.layout = #[[$SYMMETRIC]], zero_point = 8 : i64}
func.func @parameters(%ids: tensor<1xi64>, %p: tensor<4x5x8xi8>, %s: tensor<5x2x1xf32>, %z: tensor<5x2xf32>,
                      %init: tensor<1x64xf32>) -> (tensor<1x64xf32>, tensor<1x64xf32>) {
  %0 = hlq.gather ins(%ids, %p, %s, %z : tensor<1xi64>, tensor<4x5x8xi8>, tensor<5x2x1xf32>, tensor<5x2xf32>)
                  outs(%init : tensor<1x64xf32>) {group_size = 32 : i64} -> tensor<1x64xf32>
  %1 = hlq.gather ins(%ids, %p, %s : tensor<1xi64>, tensor<4x5x8xi8>, tensor<5x2x1xf32>)
                  outs(%init : tensor<1x64xf32>) {group_size = 32 : i64, zero_point = 8 : i64} -> tensor<1x64xf32>
  return %0, %1 : tensor<1x64xf32>, tensor<1x64xf32>
}
