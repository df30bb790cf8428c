// RUN: elutq-opt %s -elutq-verify-llvm | FileCheck %s

// A module of the llvm dialect passes as it is: stack memory in the first block up to the limit, vectors up to the limit.
// CHECK-LABEL: llvm.func @kernel(
// CHECK:         llvm.alloca
// CHECK:         llvm.call @elutq_parallel_for
llvm.func @elutq_parallel_for(!llvm.ptr, i64)

llvm.func @kernel(%x: !llvm.ptr, %n: i64) {
  %c16 = llvm.mlir.constant(16 : i64) : i64
  %scratch = llvm.alloca %c16 x f32 : (i64) -> !llvm.ptr
  %v = llvm.load %x : !llvm.ptr -> vector<16xf32>
  llvm.store %v, %scratch : vector<16xf32>, !llvm.ptr
  llvm.call @elutq_parallel_for(%scratch, %n) : (!llvm.ptr, i64) -> ()
  llvm.return
}
