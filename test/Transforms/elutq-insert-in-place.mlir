// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-insert-in-place))" | FileCheck %s
// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-insert-in-place),elutq-bufferize,func.func(cse,canonicalize))" | FileCheck %s --check-prefix=BUFFERS

// Two ops that take over one tensor start as the slice that the second one's result is inserted into.
// CHECK-LABEL: func.func @chain(
// CHECK:         %[[SLICE:.+]] = tensor.extract_slice %{{.+}}[4] [4] [1] : tensor<8xf32> to tensor<4xf32>
// CHECK-NEXT:    %[[FILL:.+]] = linalg.fill ins({{.*}}) outs(%[[SLICE]] : tensor<4xf32>)
// CHECK-NEXT:    %[[SUM:.+]] = linalg.add {{.*}} outs(%[[FILL]] : tensor<4xf32>)
// CHECK-NEXT:    tensor.insert_slice %[[SUM]] into %{{.+}}[4] [4] [1]

// BUFFERS-LABEL: func.func @chain(
// BUFFERS-NOT:     memref.alloc
// BUFFERS-NOT:     memref.copy
func.func @chain(%x: tensor<4xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %1 = linalg.add ins(%x, %x : tensor<4xf32>, tensor<4xf32>) outs(%0 : tensor<4xf32>) -> tensor<4xf32>
  %2 = tensor.insert_slice %1 into %y[4] [4] [1] : tensor<4xf32> into tensor<8xf32>
  return %2 : tensor<8xf32>
}

// The result of a loop, and what an iteration of another inserts.
// CHECK-LABEL: func.func @loops(
// CHECK:         %[[HALF:.+]] = tensor.extract_slice %{{.+}}[0] [4] [1] : tensor<8xf32> to tensor<4xf32>
// CHECK:         scf.forall {{.*}} shared_outs(%[[O:.+]] = %[[HALF]]) -> (tensor<4xf32>)
// CHECK:           %[[PART:.+]] = tensor.extract_slice %[[O]][%{{.+}}] [2] [1] : tensor<4xf32> to tensor<2xf32>
// CHECK:           linalg.exp {{.*}} outs(%[[PART]] : tensor<2xf32>)
// BUFFERS-LABEL: func.func @loops(
// BUFFERS-NOT:     memref.alloc
// BUFFERS-NOT:     memref.copy
func.func @loops(%x: tensor<4xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %0 = scf.forall (%i) = (0) to (4) step (2) shared_outs(%o = %e) -> (tensor<4xf32>) {
    %s = tensor.extract_slice %x[%i] [2] [1] : tensor<4xf32> to tensor<2xf32>
    %f = tensor.empty() : tensor<2xf32>
    %r = linalg.exp ins(%s : tensor<2xf32>) outs(%f : tensor<2xf32>) -> tensor<2xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %r into %o[%i] [2] [1] : tensor<2xf32> into tensor<4xf32>
    }
  }
  %1 = tensor.insert_slice %0 into %y[0] [4] [1] : tensor<4xf32> into tensor<8xf32>
  return %1 : tensor<8xf32>
}

// What something else reads keeps its tensor.
// CHECK-LABEL: func.func @read_elsewhere(
// CHECK-NOT:     tensor.extract_slice
// CHECK:         return
// BUFFERS-LABEL: func.func @read_elsewhere(
// BUFFERS:         memref.alloc
func.func @read_elsewhere(%x: tensor<4xf32>, %y: tensor<8xf32>) -> (tensor<8xf32>, tensor<4xf32>) {
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %1 = tensor.insert_slice %0 into %y[0] [4] [1] : tensor<4xf32> into tensor<8xf32>
  return %1, %0 : tensor<8xf32>, tensor<4xf32>
}

// A tensor that starts with numbers, and one of another shape, are no empty ones.
// CHECK-LABEL: func.func @not_empty(
// CHECK-NOT:     tensor.extract_slice
// CHECK:         return
func.func @not_empty(%x: tensor<4xf32>, %y: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<2x2xf32>
  %f = tensor.collapse_shape %e [[0, 1]] : tensor<2x2xf32> into tensor<4xf32>
  %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%f : tensor<4xf32>) -> tensor<4xf32>
  %1 = tensor.insert_slice %0 into %y[0] [4] [1] : tensor<4xf32> into tensor<8xf32>
  %2 = linalg.exp ins(%x : tensor<4xf32>) outs(%x : tensor<4xf32>) -> tensor<4xf32>
  %3 = tensor.insert_slice %2 into %1[4] [4] [1] : tensor<4xf32> into tensor<8xf32>
  return %3 : tensor<8xf32>
}

// The larger tensor is read after the part is computed: bufferization keeps both apart.
// BUFFERS-LABEL: func.func @still_read(
// BUFFERS:         memref.alloc
func.func @still_read(%x: tensor<4xf32>, %y: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %e = tensor.empty() : tensor<4xf32>
  %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %1 = tensor.insert_slice %0 into %y[4] [4] [1] : tensor<4xf32> into tensor<8xf32>
  return %1, %y : tensor<8xf32>, tensor<8xf32>
}
