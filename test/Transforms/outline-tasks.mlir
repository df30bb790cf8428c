// RUN: elutq-opt %s -elutq-outline-tasks -split-input-file -verify-diagnostics | FileCheck %s

// A two-dimensional loop becomes a linear one; the last dimension varies fastest.
// CHECK-LABEL: func.func private @elutq_task_0(
// CHECK-SAME: %[[BEGIN:.*]]: index, %[[END:.*]]: index, %[[ARENA:.*]]: memref<1024xi8>, %{{.*}}: memref<64xi8>, %{{.*}}: memref<64xi8>, %[[ARGS:.*]]: memref<1024xi64>)
// CHECK: memref.load %[[ARGS]]
// CHECK: scf.for %[[T:.*]] = %[[BEGIN]] to %[[END]]
// CHECK: %[[COLUMN:.*]] = arith.remui %[[T]], %c4
// CHECK: %[[ROW:.*]] = arith.divui %[[T]], %c4
func.func @decode(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<1024xi8>, %weights: memref<64xi8>, %cache: memref<64xi8>, %logits: memref<16xf32>) {
  %c128 = arith.constant 128 : index
  %v = memref.view %arena[%c128][] : memref<1024xi8> to memref<2x8xf32>
  scf.forall (%i, %j) = (0, 0) to (2, 8) step (1, 2) {
    %x = arith.constant 1.0 : f32
    memref.store %x, %v[%i, %j] : memref<2x8xf32>
  }
  return
}

// -----

// A value that one task computes can't reach another.
func.func @decode(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<1024xi8>, %weights: memref<64xi8>, %cache: memref<64xi8>, %logits: memref<16xf32>) {
  %c128 = arith.constant 128 : index
  %v = memref.view %arena[%c128][] : memref<1024xi8> to memref<8xf32>
  %x = memref.load %v[%c128] : memref<8xf32>
  scf.forall (%i) = (0) to (8) step (1) {
    // expected-error @below {{uses a value that another task computes}}
    memref.store %x, %v[%i] : memref<8xf32>
  }
  return
}
