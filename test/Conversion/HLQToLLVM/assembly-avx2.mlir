// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx2 -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx2,+fma,+f16c \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx2,+fma,+f16c | FileCheck %s

#layout = #hlq.layout<lane = byte, rows = 32, bits = 2, group_size = 128, params = hlq, param_type = f16>

// A 16-byte table reaches both halves of a register in one load; rows come out of 16-bit sums without extractions.
// CHECK-LABEL: decode:
// CHECK-NOT:   {{vpinsrb|vpextrb|call}}
// CHECK:       vbroadcasti128
// CHECK:       vpshufb %ymm
// CHECK-NOT:   {{Spill|Reload}}
// CHECK:       j{{n?e|b|ae}}
// CHECK-NOT:   {{vpinsrb|vpextrb|call}}
// CHECK:       retq
func.func @decode(%t: memref<1x32x1x64xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %w: memref<32x4864xi8>, %y: memref<1x1024xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x32x1x64xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<32x4864xi8>)
    outs(%y : memref<1x1024xf32>) {layout = #layout, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 4>}
  return
}
