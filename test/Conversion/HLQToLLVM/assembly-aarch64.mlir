// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=neon -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=aarch64 | llc -O3 -mtriple=aarch64 | FileCheck %s

#layout = #hlq.layout<lane = byte, rows = 16, bits = 2, group_size = 128, params = hlq, param_type = f16>

// The high bytes are added by one shift that accumulates or one addition.
// CHECK-LABEL: decode:
// CHECK-NOT:   {{umov|	bl	}}
// CHECK:       tbl v{{[0-9]+}}.16b, { v{{[0-9]+}}.16b }
// CHECK:       fcvtl
// CHECK-NOT:   {{umov|	bl	}}
// CHECK:       ret
func.func @decode(%t: memref<1x32x1x64xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %w: memref<32x2432xi8>, %y: memref<1x512xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x32x1x64xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<32x2432xi8>)
    outs(%y : memref<1x512xf32>) {layout = #layout, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "neon", algorithm = "lut", m_tile = 1, n_tile = 4>}
  return
}
