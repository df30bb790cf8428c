// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-hoist-allocas))" | FileCheck %s

// Stack memory of nested loops is taken once per call, in the order of the program.
// CHECK-LABEL: func.func @nested_loops(
// CHECK-NEXT:    %[[A:.+]] = memref.alloca() {alignment = 64 : i64} : memref<16xf32>
// CHECK-NEXT:    %[[B:.+]] = memref.alloca() : memref<8xf32>
// CHECK:         scf.for
// CHECK-NOT:       memref.alloca
// CHECK:           memref.store %{{.+}}, %[[A]]
// CHECK:           memref.store %{{.+}}, %[[B]]
func.func @nested_loops(%x: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %a = memref.alloca() {alignment = 64 : i64} : memref<16xf32>
    memref.store %x, %a[%c0] : memref<16xf32>
    scf.for %j = %c0 to %n step %c1 {
      %b = memref.alloca() : memref<8xf32>
      memref.store %x, %b[%c0] : memref<8xf32>
    }
  }
  return
}

// A size that is not known before the loop stays in it.
// CHECK-LABEL: func.func @dynamic_size(
// CHECK:         scf.for
// CHECK:           memref.alloca(%{{.+}}) : memref<?xf32>
func.func @dynamic_size(%x: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %a = memref.alloca(%i) : memref<?xf32>
    memref.store %x, %a[%c0] : memref<?xf32>
  }
  return
}

// A scope of its own frees its memory in every iteration.
// CHECK-LABEL: func.func @own_scope(
// CHECK:         memref.alloca_scope
// CHECK-NEXT:      memref.alloca()
func.func @own_scope(%x: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    memref.alloca_scope {
      %a = memref.alloca() : memref<16xf32>
      memref.store %x, %a[%c0] : memref<16xf32>
    }
  }
  return
}
