// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx512vbmi -convert-scf-to-cf -expand-strided-metadata -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c | FileCheck %s --check-prefix=VBMI
// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx2 -convert-scf-to-cf -expand-strided-metadata -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx2,+fma,+f16c \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx2,+fma,+f16c | FileCheck %s --check-prefix=AVX2

#dword = #hlq.layout<lane = dword, rows = 16, bits = 4, group_size = 128, params = hlq, param_type = f16>
#byte = #hlq.layout<lane = byte, rows = 32, bits = 4, group_size = 128, params = hlq, param_type = f16>

// A bit per lane becomes a mask, and the mask adds a plane's step. Then every product is one instruction, whose operand repeats
// the entries: 32 of 8 rows in a row, with nothing between them but the loads of codes.
// VBMI-LABEL:    vbmi:
// VBMI:          vptestmb
// VBMI-NEXT:     vpaddb {{.*}} {%k{{[0-9]}}}
// VBMI-COUNT-32: vpdpbusd {{.*}}{1to16}
// VBMI-NOT:      {{Spill|Reload|vpinsrb|vpextrb|call}}
// VBMI:          jne
func.func @vbmi(%e: memref<2x32x8x16xi8>, %s: memref<2x4x8xf32>, %u: memref<2x4x8xf32>, %o: memref<2x4x8xi32>, %w: memref<32x4736xi8>, %y: memref<16x512xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %w : memref<2x32x8x16xi8>, memref<2x4x8xf32>, memref<2x4x8xf32>, memref<2x4x8xi32>, memref<32x4736xi8>)
    outs(%y : memref<16x512xf32>) {layout = #dword, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 8, n_tile = 4>}
  return
}

// Words: two columns of eight rows of weights at a time, four rows of activations, no spill in the loop.
// AVX2-LABEL: avx2:
// AVX2:       vpbroadcastd {{.*}}, %ymm
// AVX2:       vpmaddwd %ymm
// AVX2-NEXT:  vpaddd %ymm
// AVX2-NOT:   {{Spill|Reload|vpinsrb|vpextrb|call|vmovdq.*[(]%rsp}}
// AVX2:       jne
func.func @avx2(%e: memref<2x32x4x32xi8>, %s: memref<2x4x4xf32>, %u: memref<2x4x4xf32>, %o: memref<2x4x4xi32>, %w: memref<16x9472xi8>, %y: memref<8x512xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %w : memref<2x32x4x32xi8>, memref<2x4x4xf32>, memref<2x4x4xf32>, memref<2x4x4xi32>, memref<16x9472xi8>)
    outs(%y : memref<8x512xf32>) {layout = #byte, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx2", algorithm = "dot", m_tile = 4, n_tile = 4, table_bits = 16>}
  return
}
