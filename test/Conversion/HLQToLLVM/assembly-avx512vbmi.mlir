// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx512vbmi -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 128, params = hlq, param_type = f16>

// Prefill: an index of two instructions serves eight rows, a table in a register both planes; every look-up is vpermb and
// vpdpbusd. No table is kept in the stack for later: between look-ups, nothing is stored or loaded again.
// CHECK-LABEL: prefill:
// CHECK-NOT:   {{vpinsrb|vpextrb|call}}
// CHECK:       vpermb
// CHECK-NOT:   {{vmovdq.*[(]%rsp[)]|vpinsrb|vpextrb|call}}
// CHECK:       vcvtdq2ps
// CHECK-NOT:   {{vpermb .*[(]%rsp[)]|vpinsrb|vpextrb|call}}
// CHECK:       retq
func.func @prefill(%t: memref<8x32x8x64xi8>, %s: memref<8x4x8xf32>, %u: memref<8x4x8xf32>, %w: memref<64x2432xi8>, %y: memref<64x1024xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<8x32x8x64xi8>, memref<8x4x8xf32>, memref<8x4x8xf32>, memref<64x2432xi8>)
    outs(%y : memref<64x1024xf32>) {layout = #layout, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 8, n_tile = 4>}
  return
}

// CHECK-LABEL: decode:
// CHECK-NOT:   {{vpinsrb|vpextrb|call|Spill|Reload}}
// CHECK:       vpermb
// CHECK:       vpdpbusd
// CHECK-NOT:   {{vpinsrb|vpextrb|call|Spill|Reload}}
// CHECK:       retq
func.func @decode(%t: memref<1x32x1x64xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %w: memref<64x2432xi8>, %y: memref<1x1024xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x32x1x64xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<64x2432xi8>)
    outs(%y : memref<1x1024xf32>) {layout = #layout, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 4>}
  return
}

// Compact: vpdpbusd multiplies what is looked up by the planes' ratios, so that both planes are one sum and one conversion for a row.
#compact = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 128, params = compact, param_type = f16>
// CHECK-LABEL:   compact:
// CHECK-NOT:     {{vpinsrb|vpextrb|call}}
// CHECK:         vpdpbusd
// CHECK-NOT:     {{vpinsrb|vpextrb|call}}
// CHECK-COUNT-9: vcvtdq2ps
// CHECK-NOT:     {{vcvtdq2ps|vpinsrb|vpextrb|call}}
// CHECK:         retq
func.func @compact(%t: memref<8x32x8x64xi8>, %s: memref<8x4x8xf32>, %u: memref<8x4x8xf32>, %w: memref<64x2368xi8>, %y: memref<64x1024xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<8x32x8x64xi8>, memref<8x4x8xf32>, memref<8x4x8xf32>, memref<64x2368xi8>)
    outs(%y : memref<64x1024xf32>) {layout = #compact, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 8, n_tile = 4>}
  return
}
