// RUN: elutq-opt %s -elutq-plan-memory | FileCheck %s
// RUN: elutq-opt %s -elutq-plan-memory -elutq-outline-tasks | FileCheck %s --check-prefix=TASKS

// Equal constants are stored once. Behind the header of 64 bytes, `a` and later `c` share one place, `b` has another, and tokens and logits,
// whose lives touch only the ends of the function, fit between: 64 + 2 * 256.
// CHECK: module attributes {
// CHECK-SAME: elutq.plan = {arena_bytes = 576 : i64, cache_bytes = 1024 : i64, weights_bytes = 128 : i64}
// CHECK-SAME: elutq.weights = [{offset = 0 : i64, value = dense<{{.*}}> : tensor<2xf32>}, {offset = 64 : i64, value = dense<5.000000e-01> : tensor<2xf32>}]
memref.global "private" constant @w0 : memref<2xf32> = dense<[1.0, 2.0]>
memref.global "private" constant @w1 : memref<2xf32> = dense<0.5>
memref.global "private" constant @w2 : memref<2xf32> = dense<[1.0, 2.0]>

// CHECK-NOT: memref.global
// CHECK-LABEL: func.func @decode(
// CHECK-SAME: memref<1xi64>, %{{.*}}: index, %{{.*}}: index, %{{.*}}: memref<576xi8>, %{{.*}}: memref<128xi8>, %{{.*}}: memref<1024xi8>, %{{.*}}: memref<16xf32>)
// CHECK-NOT: memref.alloc

// Two layers that differ in their weights and caches are one task; count and position are in the arena's head.
// TASKS-LABEL: func.func @decode(
// TASKS: memref.copy
// TASKS: %[[TASK:.*]] = constant @[[LAYER:elutq_task_[0-9]+]]
// TASKS: call @elutq_parallel_for(%[[TASK]],
// TASKS: call @elutq_task_{{[0-9]+}}(
// TASKS: %[[SAME:.*]] = constant @[[LAYER]]
// TASKS: call @elutq_parallel_for(%[[SAME]],
// TASKS: call @elutq_task_{{[0-9]+}}(
// TASKS: memref.copy
// TASKS-NEXT: return
func.func @decode(%tokens: memref<1xi64>, %count: index, %position: index, %c0: memref<128xf32>, %c1: memref<128xf32>, %logits: memref<16xf32>) {
  %a = memref.alloc() : memref<64xf32>
  %b = memref.alloc() : memref<64xf32>
  %w0 = memref.get_global @w0 : memref<2xf32>
  scf.forall (%i) = (0) to (64) step (32) {
    %c = arith.constant 0 : index
    %x = memref.load %w0[%c] : memref<2xf32>
    memref.store %x, %a[%i] : memref<64xf32>
    memref.store %x, %c0[%position] : memref<128xf32>
  }
  memref.copy %a, %b : memref<64xf32> to memref<64xf32>
  %c = memref.alloc() : memref<64xf32>
  %w1 = memref.get_global @w1 : memref<2xf32>
  scf.forall (%i) = (0) to (64) step (32) {
    %z = arith.constant 0 : index
    %x = memref.load %w1[%z] : memref<2xf32>
    memref.store %x, %c[%i] : memref<64xf32>
    memref.store %x, %c1[%position] : memref<128xf32>
  }
  memref.copy %c, %b : memref<64xf32> to memref<64xf32>
  %w2 = memref.get_global @w2 : memref<2xf32>
  %h = memref.subview %logits[0] [2] [1] : memref<16xf32> to memref<2xf32, strided<[1]>>
  %last = memref.subview %b[0] [2] [1] : memref<64xf32> to memref<2xf32, strided<[1]>>
  memref.copy %w2, %last : memref<2xf32> to memref<2xf32, strided<[1]>>
  memref.copy %last, %h : memref<2xf32, strided<[1]>> to memref<2xf32, strided<[1]>>
  return
}
