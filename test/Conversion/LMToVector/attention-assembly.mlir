// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(convert-lm-to-vector{accumulators=16},canonicalize,cse))" | elutq-opt -elutq-lower-to-llvm \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mcpu=znver4 | llc -O3 -mtriple=x86_64 -mcpu=znver4 | FileCheck %s --check-prefix=AVX512
// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(convert-lm-to-vector,canonicalize,cse))" | elutq-opt -elutq-lower-to-llvm \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=x86_64 -mcpu=x86-64-v3 | llc -O3 -mtriple=x86_64 -mcpu=x86-64-v3 | FileCheck %s --check-prefix=AVX2
// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(convert-lm-to-vector,canonicalize,cse))" | elutq-opt -elutq-lower-to-llvm \
// RUN: | mlir-translate --mlir-to-llvmir | opt -O3 -mtriple=aarch64 | llc -O3 -mtriple=aarch64 | FileCheck %s --check-prefix=NEON

// Scores of a tile: keys are converted as they are loaded, every product is a multiply-add of registers, and nothing is spilled.
// AVX512-LABEL: tile:
// AVX512:       vcvtph2ps {{.*}}, %zmm
// AVX512-NOT:   {{Spill|Reload|vgather}}
// AVX512-COUNT-16: vfmadd{{[0-9]+}}ps {{.*}}%zmm
// AVX512-NOT:   {{Spill|Reload|vgather}}
// AVX512:       j{{[a-z]+}} .LBB
// AVX2-LABEL:   tile:
// AVX2:         vcvtph2ps {{.*}}, %ymm
// AVX2-NOT:     {{Spill|Reload|vgather}}
// AVX2-COUNT-12: vfmadd{{[0-9]+}}ps {{.*}}%ymm
// AVX2-NOT:     {{Spill|Reload|vgather}}
// AVX2:         j{{[a-z]+}} .LBB
// NEON-LABEL:   tile:
// NEON:         fcvtl2
// NEON-NOT:     {{Spill|Reload}}
// NEON-COUNT-24: fmla v{{[0-9]+}}.4s
// NEON-NOT:     {{Spill|Reload}}
// NEON:         b.{{[a-z]+}} .LBB
func.func @tile(%q: memref<4x4x64xf32>, %k: memref<1x4x64x64xf16>, %v: memref<1x256x64xf16>, %p: index, %o: memref<4x4x64xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<4x4x64xf32>, memref<1x4x64x64xf16>, memref<1x256x64xf16>)
    outs(%o : memref<4x4x64xf32>) {scale = 0.125 : f32}
  return
}

// A step with four heads to a KV head: the lines of the values come to the second-level cache while the scores are summed. The loop is
// unrolled once for AVX-512: 256 bytes of keys, 256 of values. Then those of the next part's keys, while the values are.
// AVX512-LABEL: decode:
// AVX512:       vcvtph2ps {{.*}}, %zmm
// AVX512-COUNT-4: prefetcht1
// AVX512-NOT:   {{Spill|Reload|vgather|prefetch}}
// AVX512-COUNT-32: vfmadd{{[0-9]+}}ps {{.*}}%zmm
// AVX512-NOT:   {{Spill|Reload|vgather|prefetch}}
// AVX512:       j{{[a-z]+}} .LBB
// AVX512:       prefetcht1
// AVX2-LABEL:   decode:
// AVX2:         vcvtph2ps {{.*}}, %ymm
// AVX2:         prefetcht1
// AVX2-NOT:     {{Spill|Reload|vgather|prefetch}}
// AVX2-COUNT-8: vfmadd{{[0-9]+}}ps {{.*}}%ymm
// AVX2-NOT:     {{Spill|Reload|vgather|prefetch}}
// AVX2:         j{{[a-z]+}} .LBB
// NEON-LABEL:   decode:
// NEON:         prfm pldl2keep
// NEON:         fcvtl2
// NEON-NOT:     {{Spill|Reload}}
// NEON-COUNT-16: fmla v{{[0-9]+}}.4s
// NEON:         b.{{[a-z]+}} .LBB
func.func @decode(%q: memref<1x4x128xf32>, %k: memref<1x4x128x64xf16>, %v: memref<1x256x128xf16>, %p: index, %o: memref<1x4x128xf32>) {
  lm.attention ins(%q, %k, %v, %p : memref<1x4x128xf32>, memref<1x4x128x64xf16>, memref<1x256x128xf16>)
    outs(%o : memref<1x4x128xf32>) {scale = 0.125 : f32}
  return
}
