// RUN: elutq-opt %s -split-input-file -recognize-onnx | FileCheck %s

// Matrices that a router chose for each row: each row with each matrix, and of the results the chosen one.
// CHECK-LABEL: func.func @chosen(
// CHECK-SAME:    %[[X:.*]]: tensor<4x3x1xf32>
// CHECK:         %[[TOP:.*]], %[[INDICES:.*]] = onnx.TopK
// CHECK-DAG:     %[[ROWS:.*]] = onnx.Reshape %[[X]], %{{.*}} : (tensor<4x3x1xf32>, tensor<2xi64>) -> tensor<4x3xf32>
// CHECK-DAG:     %[[CHOSEN:.*]] = onnx.Reshape %{{.*}}, %{{.*}} -> tensor<4x1xi64>
// CHECK-DAG:     %[[W0:.*]] = arith.constant dense<{{\[\[}}0.000000e+00, 1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00, 5.000000e+00]]> : tensor<2x3xf32>
// CHECK-DAG:     %[[W1:.*]] = arith.constant dense<{{\[\[}}6.000000e+00, 7.000000e+00, 8.000000e+00], [9.000000e+00, 1.000000e+01, 1.100000e+01]]> : tensor<2x3xf32>
// CHECK-DAG:     %[[T0:.*]] = onnx.Transpose %[[W0]] {perm = array<i64: 1, 0>}
// CHECK-DAG:     %[[Y0:.*]] = onnx.MatMul %[[ROWS]], %[[T0]]
// CHECK-DAG:     %[[T1:.*]] = onnx.Transpose %[[W1]] {perm = array<i64: 1, 0>}
// CHECK-DAG:     %[[Y1:.*]] = onnx.MatMul %[[ROWS]], %[[T1]]
// CHECK-DAG:     %[[ONE:.*]] = arith.constant dense<1> : tensor<i64>
// CHECK:         %[[IS:.*]] = onnx.Equal %[[CHOSEN]], %[[ONE]]
// CHECK:         %[[Y:.*]] = onnx.Where %[[IS]], %[[Y1]], %[[Y0]]
// CHECK:         %[[Z:.*]] = onnx.Where %{{.*}}, %{{.*}}, %[[Y]]
// CHECK:         onnx.Reshape %[[Z]], %{{.*}} -> tensor<4x2x1xf32>
// CHECK-NOT:     onnx.GatherND
func.func @chosen(%x: tensor<4x3x1xf32>, %scores: tensor<2x3xf32>) -> tensor<4x2x1xf32> {
  %w = arith.constant dense<[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], [[6.0, 7.0, 8.0], [9.0, 10.0, 11.0]], [[12.0, 13.0, 14.0], [15.0, 16.0, 17.0]]]> : tensor<3x2x3xf32>
  %two = arith.constant dense<2> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %values, %indices = onnx.TopK %scores, %two : (tensor<2x3xf32>, tensor<1xi64>) -> (tensor<2x2xf32>, tensor<2x2xi64>)
  %flat = onnx.Reshape %indices, %last : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<4xi64>
  %columns = onnx.Unsqueeze %flat, %last : (tensor<4xi64>, tensor<1xi64>) -> tensor<4x1xi64>
  %matrices = onnx.GatherND %w, %columns : (tensor<3x2x3xf32>, tensor<4x1xi64>) -> tensor<4x2x3xf32>
  %y = onnx.MatMul %matrices, %x : (tensor<4x2x3xf32>, tensor<4x3x1xf32>) -> tensor<4x2x1xf32>
  return %y : tensor<4x2x1xf32>
}

// -----

// Rows in front of matrices that Gather takes, of half precision.
// CHECK-LABEL: func.func @transposed(
// CHECK-DAG:     %[[W1:.*]] = onnx.Cast %{{.*}} {to = 1 : i64} : (tensor<2x3xf16>) -> tensor<2x3xf32>
// CHECK:         onnx.MatMul %{{.*}} : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
// CHECK:         onnx.Where
// CHECK-NOT:     onnx.Gather
func.func @transposed(%x: tensor<4x1x2xf32>, %scores: tensor<2x2xf32>) -> tensor<4x1x3xf32> {
  %w = arith.constant dense<1.0> : tensor<2x2x3xf16>
  %two = arith.constant dense<2> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %values, %indices = onnx.TopK %scores, %two : (tensor<2x2xf32>, tensor<1xi64>) -> (tensor<2x2xf32>, tensor<2x2xi64>)
  %flat = onnx.Reshape %indices, %last : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<4xi64>
  %wide = onnx.Cast %w {to = 1 : i64} : (tensor<2x2x3xf16>) -> tensor<2x2x3xf32>
  %matrices = onnx.Gather %wide, %flat {axis = 0 : i64} : (tensor<2x2x3xf32>, tensor<4xi64>) -> tensor<4x2x3xf32>
  %y = onnx.MatMul %x, %matrices : (tensor<4x1x2xf32>, tensor<4x2x3xf32>) -> tensor<4x1x3xf32>
  return %y : tensor<4x1x3xf32>
}

// -----

// None of these: indices that may be any; indices among more than there are; matrices that something else reads, too.
// CHECK-LABEL: func.func @any_index(
// CHECK:         onnx.GatherND
func.func @any_index(%x: tensor<4x3x1xf32>, %columns: tensor<4x1xi64>) -> tensor<4x2x1xf32> {
  %w = arith.constant dense<1.0> : tensor<3x2x3xf32>
  %matrices = onnx.GatherND %w, %columns : (tensor<3x2x3xf32>, tensor<4x1xi64>) -> tensor<4x2x3xf32>
  %y = onnx.MatMul %matrices, %x : (tensor<4x2x3xf32>, tensor<4x3x1xf32>) -> tensor<4x2x1xf32>
  return %y : tensor<4x2x1xf32>
}
// CHECK-LABEL: func.func @other_count(
// CHECK:         onnx.Gather %
// CHECK-LABEL: func.func @read_twice(
// CHECK:         onnx.Gather %
func.func @other_count(%x: tensor<4x3x1xf32>, %scores: tensor<2x5xf32>) -> tensor<4x2x1xf32> {
  %w = arith.constant dense<1.0> : tensor<3x2x3xf32>
  %two = arith.constant dense<2> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %values, %indices = onnx.TopK %scores, %two : (tensor<2x5xf32>, tensor<1xi64>) -> (tensor<2x2xf32>, tensor<2x2xi64>)
  %flat = onnx.Reshape %indices, %last : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<4xi64>
  %matrices = onnx.Gather %w, %flat {axis = 0 : i64} : (tensor<3x2x3xf32>, tensor<4xi64>) -> tensor<4x2x3xf32>
  %y = onnx.MatMul %matrices, %x : (tensor<4x2x3xf32>, tensor<4x3x1xf32>) -> tensor<4x2x1xf32>
  return %y : tensor<4x2x1xf32>
}
func.func @read_twice(%x: tensor<4x3x1xf32>, %scores: tensor<2x3xf32>) -> (tensor<4x2x1xf32>, tensor<4x2x3xf32>) {
  %w = arith.constant dense<1.0> : tensor<3x2x3xf32>
  %two = arith.constant dense<2> : tensor<1xi64>
  %last = arith.constant dense<-1> : tensor<1xi64>
  %values, %indices = onnx.TopK %scores, %two : (tensor<2x3xf32>, tensor<1xi64>) -> (tensor<2x2xf32>, tensor<2x2xi64>)
  %flat = onnx.Reshape %indices, %last : (tensor<2x2xi64>, tensor<1xi64>) -> tensor<4xi64>
  %matrices = onnx.Gather %w, %flat {axis = 0 : i64} : (tensor<3x2x3xf32>, tensor<4xi64>) -> tensor<4x2x3xf32>
  %y = onnx.MatMul %matrices, %x : (tensor<4x2x3xf32>, tensor<4x3x1xf32>) -> tensor<4x2x1xf32>
  return %y, %matrices : tensor<4x2x1xf32>, tensor<4x2x3xf32>
}
