// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-schedule-tasks))" | FileCheck %s

func.func private @work(f32) -> f32

// Two loops that do not need each other become neighbours: the op between them goes first.
// CHECK-LABEL: func.func @independent(
// CHECK:         tensor.empty
// CHECK:         %[[Q:.+]] = scf.forall
// CHECK:         %[[K:.+]] = scf.forall
// CHECK:         return %[[Q]], %[[K]]
func.func @independent(%x: tensor<4xf32>, %v: f32) -> (tensor<4xf32>, tensor<4xf32>) {
  %q = scf.forall (%i) in (4) shared_outs(%o = %x) -> (tensor<4xf32>) {
    %t = tensor.from_elements %v : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %t into %o[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  }
  %e = tensor.empty() : tensor<4xf32>
  %k = scf.forall (%i) in (4) shared_outs(%o = %e) -> (tensor<4xf32>) {
    %t = tensor.from_elements %v : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %t into %o[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  }
  return %q, %k : tensor<4xf32>, tensor<4xf32>
}

// A loop that uses the other's result by way of a serial op stays behind both.
// CHECK-LABEL: func.func @dependent(
// CHECK:         %[[Q:.+]] = scf.forall
// CHECK:         %[[X:.+]] = tensor.extract %[[Q]]
// CHECK:         %[[Y:.+]] = call @work(%[[X]])
// CHECK:         scf.forall
// CHECK:           tensor.from_elements %[[Y]]
func.func @dependent(%x: tensor<4xf32>, %v: f32) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %q = scf.forall (%i) in (4) shared_outs(%o = %x) -> (tensor<4xf32>) {
    %t = tensor.from_elements %v : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %t into %o[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  }
  %0 = tensor.extract %q[%c0] : tensor<4xf32>
  %1 = func.call @work(%0) : (f32) -> f32
  %e = tensor.empty() : tensor<4xf32>
  %k = scf.forall (%i) in (4) shared_outs(%o = %e) -> (tensor<4xf32>) {
    %t = tensor.from_elements %1 : tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %t into %o[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  }
  return %k : tensor<4xf32>
}
