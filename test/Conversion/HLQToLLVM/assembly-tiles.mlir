// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx512amx -convert-scf-to-cf -expand-strided-metadata -convert-vector-to-llvm=enable-amx=1 \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c,+amx-int8 \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c,+amx-int8 | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 128, params = hlq, param_type = f16>

// A group is two products of tiles; the sums go through memory, and 16 rows of y stay in registers.
// CHECK-LABEL:    prefill:
// CHECK:          ldtilecfg
// CHECK:          tilezero
// CHECK-COUNT-2:  tileloadd
// CHECK:          tdpbssd
// CHECK-COUNT-2:  tileloadd
// CHECK:          tdpbssd
// CHECK:          tilestored
// CHECK-NOT:      {{Spill|Reload|vpinsrb|call|ldtilecfg}}
// CHECK-COUNT-32: vfmadd{{.*}}{1to16}
// CHECK:          jne
// CHECK:          tilerelease
func.func @prefill(%e: memref<2x32x16x128xi8>, %s: memref<2x32x16xf32>, %u: memref<2x32x16xf32>, %o: memref<2x32x16xi32>, %w: memref<4x19456xi8>, %y: memref<32x64xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %w : memref<2x32x16x128xi8>, memref<2x32x16xf32>, memref<2x32x16xf32>, memref<2x32x16xi32>, memref<4x19456xi8>)
    outs(%y : memref<32x64xf32>) {layout = #layout, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 16, n_tile = 4>}
  return
}

// Compact codes are bytes: of words of activations there are two products in place of four, and no second multiplication by sums.
#compact = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 128, params = compact, param_type = f16>
// CHECK-LABEL:    compact:
// CHECK:          tilezero
// CHECK-COUNT-4:  {{tdpb(ss|us)d}}
// CHECK-NOT:      {{tdpb(ss|us)d}}
// CHECK:          tilestored
// CHECK-NOT:      {{vpinsrb|call|ldtilecfg}}
// CHECK-COUNT-16: vfmadd{{.*}}{1to16}
// CHECK-NOT:      vfmadd{{.*}}{1to16}
// CHECK:          jne
// CHECK:          tilerelease
func.func @compact(%e: memref<2x32x16x256xi8>, %s: memref<2x32x16xf32>, %u: memref<2x32x16xf32>, %o: memref<2x32x16xi32>, %w: memref<4x18944xi8>, %y: memref<32x64xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %w : memref<2x32x16x256xi8>, memref<2x32x16xf32>, memref<2x32x16xf32>, memref<2x32x16xi32>, memref<4x18944xi8>)
    outs(%y : memref<32x64xf32>) {layout = #compact, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 16, n_tile = 4, table_bits = 16>}
  return
}
