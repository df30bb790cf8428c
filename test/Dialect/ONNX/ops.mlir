// RUN: elutq-opt %s | elutq-opt | FileCheck %s
// RUN: elutq-opt %s -mlir-print-op-generic | elutq-opt | FileCheck %s

// Attributes with defaults are optional; an absent operand is onnx.None.
// CHECK-LABEL: func.func @optional_operand(
// CHECK:         %[[NONE:.+]] = onnx.None
// CHECK:         onnx.Gemm %{{.+}}, %{{.+}}, %[[NONE]] {transB = 1 : i64} : (tensor<2x8xf32>, tensor<4x8xf32>, none) -> tensor<2x4xf32>
func.func @optional_operand(%a: tensor<2x8xf32>, %b: tensor<4x8xf32>) -> tensor<2x4xf32> {
  %none = onnx.None
  %y = onnx.Gemm %a, %b, %none {transB = 1 : i64} : (tensor<2x8xf32>, tensor<4x8xf32>, none) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// CHECK-LABEL: func.func @variadic(
// CHECK:         onnx.Concat %{{.+}}, %{{.+}}, %{{.+}} {axis = 0 : i64}
func.func @variadic(%a: tensor<2xf32>) -> tensor<6xf32> {
  %y = onnx.Concat %a, %a, %a {axis = 0 : i64} : (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<6xf32>
  return %y : tensor<6xf32>
}

// CHECK-LABEL: func.func @contrib(
// CHECK:         onnx.contrib.MatMulNBits
func.func @contrib(%a: tensor<2x32xf32>, %b: tensor<4x1x16xui8>, %s: tensor<4x1xf32>) -> tensor<2x4xf32> {
  %none = onnx.None
  %y = onnx.contrib.MatMulNBits %a, %b, %s, %none, %none, %none {K = 32 : i64, N = 4 : i64, block_size = 32 : i64}
    : (tensor<2x32xf32>, tensor<4x1x16xui8>, tensor<4x1xf32>, none, none, none) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
