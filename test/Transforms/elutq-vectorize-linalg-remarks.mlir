// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-vectorize-linalg{remarks=true}))" -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func.func @nibbles(
// CHECK-NOT:     vector.load
// CHECK-LABEL: func.func @floats(
// CHECK:         vector.load
func.func @nibbles(%x: memref<40xi4>, %y: memref<40xi4>) {
  // expected-remark @+1 {{linalg.copy stays scalar}}
  linalg.copy ins(%x : memref<40xi4>) outs(%y : memref<40xi4>)
  return
}

func.func @floats(%x: memref<40xf32>, %y: memref<40xf32>) {
  linalg.copy ins(%x : memref<40xf32>) outs(%y : memref<40xf32>)
  return
}
