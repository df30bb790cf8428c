// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// Two elements of the one dimension that changes, weighted by the fraction.
// CHECK-LABEL: func.func @linear(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<1x1x2x4xf32>
// CHECK:         %[[LOW:.*]] = math.floor
// CHECK:         arith.subf %{{.*}}, %[[LOW]]
// CHECK-COUNT-2: tensor.extract %[[X]]
// CHECK-NOT:     tensor.extract
// CHECK:         linalg.yield
func.func @linear(%x: tensor<1x1x2x4xf32>) -> tensor<1x1x2x8xf32> {
  %none = onnx.None
  %s = arith.constant dense<[1.0, 1.0, 1.0, 2.0]> : tensor<4xf32>
  %0 = onnx.Resize %x, %none, %s, %none {mode = "linear"} : (tensor<1x1x2x4xf32>, none, tensor<4xf32>, none) -> tensor<1x1x2x8xf32>
  return %0 : tensor<1x1x2x8xf32>
}
