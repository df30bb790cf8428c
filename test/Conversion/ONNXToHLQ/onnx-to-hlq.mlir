// RUN: elutq-opt %s -convert-onnx-to-hlq | FileCheck %s

// Codes 0 to 15 of a row: plane j holds bit j of each, eight columns to a byte. The default zero point is 8. Scales stay f32.
// CHECK-LABEL: func.func @matmul_4_bits(
// CHECK-DAG:     %[[P:.*]] = arith.constant dense<{{\[\[\[}}-86, -86]], {{\[\[}}-52, -52]], {{\[\[}}-16, -16]], {{\[\[}}0, -1]]]> : tensor<4x1x2xi8>
// CHECK-DAG:     %[[S:.*]] = arith.constant dense<5.000000e-01> : tensor<1x1x1xf32>
// CHECK:         hlq.linear ins(%{{.*}}, %[[P]], %[[S]] : {{.*}}) {{.*}} {group_size = 16 : i64, zero_point = 8 : i64}
func.func @matmul_4_bits(%x: tensor<1x3x16xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<[[[16, 50, 84, 118, 152, 186, 220, 254]]]> : tensor<1x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %none, %none {K = 16 : i64, N = 1 : i64, bits = 4 : i64, block_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<1x1x8xui8>, tensor<1xf32>, none, none, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// Two bits; packed zero points 1 and 2 of two blocks become zeros -zp * s. Columns beyond K are 0 whatever the model holds there.
// The bias is added after the product.
// CHECK-LABEL: func.func @matmul_2_bits(
// CHECK-DAG:     %[[P:.*]] = arith.constant dense<{{\[\[\[}}-1, -1, -1, 15]], {{\[\[}}-1, -1, -1, 15]]]> : tensor<2x1x4xi8>
// CHECK-DAG:     %[[Z:.*]] = arith.constant dense<{{\[\[}}-5.000000e-01, -4.000000e+00]]> : tensor<1x2xf32>
// CHECK:         hlq.linear ins(%{{.*}}, %[[P]], %{{.*}}, %[[Z]] : {{.*}}) {{.*}} {group_size = 16 : i64}
// CHECK:         arith.addf
func.func @matmul_2_bits(%x: tensor<1x3x28xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<255> : tensor<1x2x4xui8>
  %s = arith.constant dense<[0.5, 2.0]> : tensor<2xf32>
  %z = arith.constant dense<9> : tensor<1xui8>
  %bias = arith.constant dense<1.0> : tensor<1xf32>
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %z, %none, %bias {K = 28 : i64, N = 1 : i64, bits = 2 : i64, block_size = 16 : i64}
    : (tensor<1x3x28xf32>, tensor<1x2x4xui8>, tensor<2xf32>, tensor<1xui8>, none, tensor<1xf32>) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// A float zero point between the levels: z = -1.5 * s.
// CHECK-LABEL: func.func @matmul_float_zero_point(
// CHECK-DAG:     arith.constant dense<-7.500000e-01> : tensor<1x1xf32>
// CHECK:         hlq.linear
func.func @matmul_float_zero_point(%x: tensor<1x3x16xf32>) -> tensor<1x3x1xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<1x1x4xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<1.5> : tensor<1xf32>
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %z, %none, %none {K = 16 : i64, N = 1 : i64, bits = 2 : i64, block_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<1x1x4xui8>, tensor<1xf32>, tensor<1xf32>, none, none) -> tensor<1x3x1xf32>
  return %y : tensor<1x3x1xf32>
}

// CHECK-LABEL: func.func @gather(
// CHECK:         hlq.gather ins({{.*}} : tensor<3xi64>, tensor<4x2x2xi8>, tensor<2x1x1xf32>) {{.*}} {group_size = 16 : i64, zero_point = 8 : i64}
func.func @gather(%ids: tensor<1x3xi64>) -> tensor<1x3x16xf32> {
  %none = onnx.None
  %b = arith.constant dense<27> : tensor<2x8xui8>
  %s = arith.constant dense<0.5> : tensor<2x1xf32>
  %y = onnx.contrib.GatherBlockQuantized %b, %ids, %s, %none {bits = 4 : i64, block_size = 16 : i64}
    : (tensor<2x8xui8>, tensor<1x3xi64>, tensor<2x1xf32>, none) -> tensor<1x3x16xf32>
  return %y : tensor<1x3x16xf32>
}

// An embedding that shares the codes of the output head: reshaped, as wide as whole blocks, and cut to its columns.
// CHECK-LABEL: func.func @gather_cut(
// CHECK:         %[[P:.*]] = arith.constant dense<{{.*}}[-1, -1, -1, 0]]]>
// CHECK:         hlq.gather ins({{.*}}, %[[P]], {{.*}} : tensor<3xi64>, tensor<4x2x4xi8>, tensor<2x2x1xf32>) outs({{.*}} : tensor<3x24xf32>)
// CHECK-NOT:     onnx.Slice
func.func @gather_cut(%ids: tensor<1x3xi64>) -> tensor<1x3x24xf32> {
  %none = onnx.None
  %b = arith.constant dense<255> : tensor<2x2x8xui8>
  %shape = arith.constant dense<[2, 16]> : tensor<2xi64>
  %flat = onnx.Reshape %b, %shape : (tensor<2x2x8xui8>, tensor<2xi64>) -> tensor<2x16xui8>
  %s = arith.constant dense<0.5> : tensor<2x2xf32>
  %y = onnx.contrib.GatherBlockQuantized %flat, %ids, %s, %none {bits = 4 : i64, block_size = 16 : i64}
    : (tensor<2x16xui8>, tensor<1x3xi64>, tensor<2x2xf32>, none) -> tensor<1x3x32xf32>
  %start = arith.constant dense<0> : tensor<1xi64>
  %end = arith.constant dense<24> : tensor<1xi64>
  %axis = arith.constant dense<-1> : tensor<1xi64>
  %z = onnx.Slice %y, %start, %end, %axis, %none
    : (tensor<1x3x32xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, none) -> tensor<1x3x24xf32>
  return %z : tensor<1x3x24xf32>
}

// This project's own operator holds planes already.
// CHECK-LABEL: func.func @own(
// CHECK:         hlq.linear ins({{.*}} : tensor<3x16xf32>, tensor<3x2x2xi8>, tensor<2x1x3xf16>, tensor<2x1xf16>) {{.*}} {group_size = 16 : i64}
func.func @own(%x: tensor<1x3x16xf32>) -> tensor<1x3x2xf32> {
  %none = onnx.None
  %p = arith.constant dense<200> : tensor<3x2x2xui8>
  %s = arith.constant dense<0.5> : tensor<2x1x3xf16>
  %z = arith.constant dense<0.5> : tensor<2x1xf16>
  %y = onnx.elutq.HLQMatMul %x, %p, %s, %z, %none {K = 16 : i64, N = 2 : i64, bits = 3 : i64, group_size = 16 : i64}
    : (tensor<1x3x16xf32>, tensor<3x2x2xui8>, tensor<2x1x3xf16>, tensor<2x1xf16>, none) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
