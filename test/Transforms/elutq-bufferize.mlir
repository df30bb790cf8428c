// RUN: elutq-opt %s -split-input-file -elutq-bufferize | FileCheck %s
// RUN: elutq-opt %s -split-input-file -elutq-bufferize -mlir-disable-threading | FileCheck %s

// Functions keep their order, and equal constants become one global. One with the same name in its own function gets another.
// CHECK-DAG:     memref.global "private" constant @[[$ONES:.+]] : memref<4xf32> = dense<1.{{0+}}e+00>
// CHECK-DAG:     memref.global "private" constant @[[$TWOS:.+]] : memref<4xf32> = dense<2.{{0+}}e+00>
// CHECK-NOT:     memref.global
// CHECK-LABEL: func.func @decode(
// CHECK-SAME:      %{{.+}}: memref<4xf32>) -> memref<4xf32>
// CHECK:         memref.get_global @[[$ONES]]
// CHECK:         memref.alloc
// CHECK:         linalg.add ins({{.*}} : memref<4xf32>, memref<4xf32>)
// CHECK-LABEL: func.func @prefill(
// CHECK-DAG:     memref.get_global @[[$TWOS]]
// CHECK-DAG:     memref.get_global @[[$ONES]]
// CHECK-LABEL: func.func private @declared(tensor<4xf32>)
func.func @decode(%x: tensor<4xf32>) -> tensor<4xf32> {
  %ones = arith.constant dense<1.0> : tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.add ins(%x, %ones : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @prefill(%x: tensor<4xf32>) -> tensor<4xf32> {
  %twos = arith.constant dense<2.0> : tensor<4xf32>
  %ones = arith.constant dense<1.0> : tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.add ins(%twos, %ones : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @declared(tensor<4xf32>)

// -----

// A function is bufferized with what is around it kept, a global of the same name included.
// CHECK-DAG:   memref.global "private" constant @__constant_4xf32 : memref<4xf32> = dense<5.
// CHECK-DAG:   memref.global "private" constant @[[$OWN:.+]] : memref<4xf32> = dense<1.
// CHECK-LABEL: func.func @entry(
// CHECK:         memref.get_global @[[$OWN]]
memref.global "private" constant @__constant_4xf32 : memref<4xf32> = dense<5.0>
func.func @entry() -> tensor<4xf32> {
  %ones = arith.constant dense<1.0> : tensor<4xf32>
  return %ones : tensor<4xf32>
}
