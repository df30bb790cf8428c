// RUN: elutq-opt %s -convert-onnx-to-hlq | FileCheck %s

// Codes of 8 bits stay as they are, columns beyond K are 0 whatever the model holds there. Zero points are bytes: z = -zp * s.
// CHECK-LABEL: func.func @matmul(
// CHECK-DAG:     %[[P:.*]] = arith.constant dense<{{\[\[}}0, 1, 2, 127, -128, -1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x32xi8>
// CHECK-DAG:     %[[Z:.*]] = arith.constant dense<{{\[\[}}-6.400000e+01, -5.100000e+02]]> : tensor<1x2xf32>
// CHECK:         hlq.linear ins(%{{.*}}, %[[P]], %{{.*}}, %[[Z]] : {{.*}}tensor<1x2x1xf32>{{.*}}) {{.*}} {group_size = 16 : i64}
func.func @matmul(%x: tensor<1x3x18xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<[[[0, 1, 2, 127, 128, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [16, 17, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99]]]> : tensor<1x2x16xui8>
  %s = arith.constant dense<[0.5, 2.0]> : tensor<2xf32>
  %z = arith.constant dense<[128, 255]> : tensor<2xui8>
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %z, %none, %none {K = 18 : i64, N = 1 : i64, bits = 8 : i64, block_size = 16 : i64}
    : (tensor<1x3x18xf32>, tensor<1x2x16xui8>, tensor<2xf32>, tensor<2xui8>, none, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// The default zero point is 128.
// CHECK-LABEL: func.func @gather(
// CHECK:         hlq.gather ins({{.*}} : tensor<3xi64>, tensor<2x16xi8>, tensor<2x1x1xf32>) {{.*}} {group_size = 16 : i64, zero_point = 128 : i64}
func.func @gather(%ids: tensor<1x3xi64>) -> tensor<1x3x16xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<2x16xui8>
  %s = arith.constant dense<0.5> : tensor<2x1xf32>
  %y = onnx.contrib.GatherBlockQuantized %b, %ids, %s, %none {bits = 8 : i64, block_size = 16 : i64}
    : (tensor<2x16xui8>, tensor<1x3xi64>, tensor<2x1xf32>, none) -> tensor<1x3x16xf32>
  return %y : tensor<1x3x16xf32>
}

// This project's own operator holds codes as one plane.
// CHECK-LABEL: func.func @own(
// CHECK:         hlq.linear ins({{.*}} : tensor<3x16xf32>, tensor<2x16xi8>, tensor<2x1x1xf16>, tensor<2x1xf16>) {{.*}} {group_size = 16 : i64}
func.func @own(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<1x2x16xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x1xf16>
  %z = arith.constant dense<0.5> : tensor<2x1xf16>
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 8 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<1x2x16xui8>, tensor<2x1x1xf16>, tensor<2x1xf16>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
