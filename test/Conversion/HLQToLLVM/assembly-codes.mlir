// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx512vbmi -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx512bw,+avx512vl,+avx512vbmi,+avx512vnni,+avx512dq,+fma,+f16c | FileCheck %s --check-prefix=VBMI
// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=avx2 -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mattr=+avx2,+fma,+f16c \
// RUN: | llc -O3 -mtriple=x86_64 -mattr=+avx2,+fma,+f16c | FileCheck %s --check-prefix=AVX2
// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=neon_dotprod -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=aarch64 -mattr=+dotprod \
// RUN: | llc -O3 -mtriple=aarch64 -mattr=+dotprod | FileCheck %s --check-prefix=DOT
// RUN: elutq-opt %s -convert-hlq-to-vector -convert-hlq-to-llvm=isa=neon -convert-scf-to-cf -convert-vector-to-llvm \
// RUN:   -convert-math-to-llvm -convert-func-to-llvm=use-bare-ptr-memref-call-conv=1 -finalize-memref-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=aarch64 \
// RUN: | llc -O3 -mtriple=aarch64 | FileCheck %s --check-prefix=NEON

#layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 128, params = uniform, param_type = f16>

// Every product is one instruction with the four entries repeated by its operand, or a few on words. None saturates; the
// innermost loop spills nothing and takes nothing apart.
// VBMI-LABEL: decode:
// VBMI-NOT:   {{vpinsrb|vpextrb|call|Spill|Reload|vpmaddubsw}}
// VBMI:       vpdpbusd {{.*}}{1to16}
// VBMI:       vcvtph2ps
// VBMI-NOT:   {{vpinsrb|vpextrb|call|Spill|Reload|vpmaddubsw}}
// VBMI:       retq

// AVX2-LABEL: decode:
// AVX2-NOT:   {{vpinsrb|vpextrb|call|vpmaddubsw}}
// AVX2:       vpmaddwd %ymm
// AVX2-NOT:   {{Spill|Reload}}
// AVX2:       j{{n?e|b|ae}}
// AVX2-NOT:   {{vpinsrb|vpextrb|call|vpmaddubsw}}
// AVX2:       retq

// DOT-LABEL: decode:
// DOT-NOT:   {{umov|	bl	}}
// DOT:       sdot
// DOT:       ret

// NEON-LABEL: decode:
// NEON-NOT:   {{umov|	bl	}}
// NEON:       sadalp
// NEON:       ret
func.func @decode(%e: memref<1x32x1x32xi8>, %s: memref<1x4x1xf32>, %u: memref<1x4x1xf32>, %o: memref<1x4x1xi32>, %w: memref<32x8448xi8>, %y: memref<1x512xf32>) {
  hlq.code_matmul ins(%e, %s, %u, %o, %w : memref<1x32x1x32xi8>, memref<1x4x1xf32>, memref<1x4x1xf32>, memref<1x4x1xi32>, memref<32x8448xi8>)
    outs(%y : memref<1x512xf32>) {layout = #layout, table_group = 128 : i64,
    kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 1, n_tile = 4, table_bits = 16>}
  return
}
