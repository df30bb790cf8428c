// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx2 -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | FileCheck %s

// LLVM is told to keep the loop over the two chunks of a group, and hears it.
// CHECK-LABEL: define void @decode(
// CHECK:       br label {{.*}}, !llvm.loop [[LOOP:![0-9]+]]
// CHECK:       [[LOOP]] = distinct !{[[LOOP]], [[UNROLL:![0-9]+]]}
// CHECK:       [[UNROLL]] = !{!"llvm.loop.unroll.disable"}
#layout = #hlq.layout<lane = byte, rows = 32, bits = 2, group_size = 32, params = hlq, param_type = f16>
func.func @decode(%t: memref<1x32x1x64xi8>, %s: memref<1x16x1xf32>, %u: memref<1x16x1xf32>, %w: memref<32x7168xi8>, %y: memref<1x1024xf32>) {
  hlq.lut_matmul ins(%t, %s, %u, %w : memref<1x32x1x64xi8>, memref<1x16x1xf32>, memref<1x16x1xf32>, memref<32x7168xi8>)
    outs(%y : memref<1x1024xf32>) {layout = #layout, table_group = 32 : i64,
    kernel = #hlq.kernel<isa = "avx2", algorithm = "lut", m_tile = 1, n_tile = 4>}
  return
}
