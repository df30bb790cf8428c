// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize -elutq-vectorize -elutq-lower-to-llvm=isa=avx512vbmi | FileCheck %s --check-prefixes=CHECK,VBMI --implicit-check-not=unrealized_conversion_cast --implicit-check-not=func.func --implicit-check-not='hlq.{{[b-z]}}'
// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize -elutq-vectorize -elutq-lower-to-llvm | FileCheck %s --check-prefixes=CHECK,GENERIC --implicit-check-not=llvm.x86
// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize -elutq-to-loops -elutq-lower-to-llvm | mlir-translate --mlir-to-llvmir | FileCheck %s --check-prefix=IR

// Bare pointers, the instructions that are asked for, and nothing that LLVM does not know.
// CHECK-LABEL: llvm.func @elutq_entry_decode(
// CHECK-SAME:    %{{[^:]+}}: !llvm.ptr, %{{[^:]+}}: i64, %{{[^:]+}}: i64, %{{[^:]+}}: !llvm.ptr, %{{[^:]+}}: !llvm.ptr, %{{[^:]+}}: !llvm.ptr, %{{[^:]+}}: !llvm.ptr)
// CHECK-LABEL: llvm.func internal @elutq_entry_decode_task_1(
// VBMI:          llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"
// GENERIC:       llvm.extractelement
// IR:          define void @elutq_entry_decode(ptr {{.*}}, i64 {{.*}}, i64 {{.*}}, ptr {{.*}}, ptr {{.*}}, ptr {{.*}}, ptr {{.*}})
