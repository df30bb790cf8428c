// RUN: elutq-opt %s -pass-pipeline='builtin.module(func.func(rewrite-onnx-convolutions))' | FileCheck %s

// A vision transformer's patches: each element of the input belongs to one of them.
// CHECK-LABEL: func.func @patches(
// CHECK-SAME:    %[[X:.+]]: tensor<2x3x24x16xf32>, %[[B:.+]]: tensor<5xf32>)
// CHECK:         %[[SPLIT:.+]] = onnx.Reshape %[[X]], %{{.+}} : (tensor<2x3x24x16xf32>, tensor<6xi64>) -> tensor<2x3x3x8x4x4xf32>
// CHECK:         %[[MOVED:.+]] = onnx.Transpose %[[SPLIT]] {perm = array<i64: 0, 2, 4, 1, 3, 5>} : (tensor<2x3x3x8x4x4xf32>) -> tensor<2x3x4x3x8x4xf32>
// CHECK:         %[[ROWS:.+]] = onnx.Reshape %[[MOVED]], %{{.+}} : (tensor<2x3x4x3x8x4xf32>, tensor<2xi64>) -> tensor<24x96xf32>
// CHECK:         %[[W:.+]] = arith.constant dense_resource<w> : tensor<5x96xf32>
// CHECK:         %[[Y:.+]] = onnx.Gemm %[[ROWS]], %[[W]], %[[B]] {transB = 1 : i64} : (tensor<24x96xf32>, tensor<5x96xf32>, tensor<5xf32>) -> tensor<24x5xf32>
// CHECK:         %[[LAST:.+]] = onnx.Reshape %[[Y]], %{{.+}} : (tensor<24x5xf32>, tensor<4xi64>) -> tensor<2x3x4x5xf32>
// CHECK:         onnx.Transpose %[[LAST]] {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x3x4x5xf32>) -> tensor<2x5x3x4xf32>
// CHECK-NOT:     onnx.Conv
func.func @patches(%x: tensor<2x3x24x16xf32>, %b: tensor<5xf32>) -> tensor<2x5x3x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<5x3x8x4xf32>
  %0 = onnx.Conv %x, %w, %b {strides = array<i64: 8, 4>} : (tensor<2x3x24x16xf32>, tensor<5x3x8x4xf32>, tensor<5xf32>) -> tensor<2x5x3x4xf32>
  return %0 : tensor<2x5x3x4xf32>
}

// Windows of a speech encoder overlap: a slice for each element of the window.
// CHECK-LABEL: func.func @windows(
// CHECK:         %[[PADDED:.+]] = onnx.Pad %{{.+}} : {{.*}} -> tensor<1x2x12xf32>
// CHECK-COUNT-3: onnx.Slice %[[PADDED]], %{{.+}} -> tensor<1x2x5xf32>
// CHECK:         onnx.Concat %{{.+}} {axis = 2 : i64} : {{.*}} -> tensor<1x2x3x5xf32>
// CHECK:         onnx.Transpose %{{.+}} {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x2x3x5xf32>) -> tensor<1x5x2x3xf32>
// CHECK:         onnx.Gemm %{{.+}} -> tensor<5x4xf32>
// CHECK-NOT:     onnx.Conv
func.func @windows(%x: tensor<1x2x10xf32>, %b: tensor<4xf32>) -> tensor<1x4x5xf32> {
  %w = arith.constant dense_resource<v> : tensor<4x2x3xf32>
  %0 = onnx.Conv %x, %w, %b {strides = array<i64: 2>, pads = array<i64: 1, 1>} : (tensor<1x2x10xf32>, tensor<4x2x3xf32>, tensor<4xf32>) -> tensor<1x4x5xf32>
  return %0 : tensor<1x4x5xf32>
}

// A row that no patch takes is left out: these are windows, of more elements than are put together.
// CHECK-LABEL: func.func @remainder(
// CHECK:         onnx.Conv
func.func @remainder(%x: tensor<1x3x17x16xf32>, %b: tensor<5xf32>) -> tensor<1x5x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<5x3x8x8xf32>
  %0 = onnx.Conv %x, %w, %b {strides = array<i64: 8, 8>} : (tensor<1x3x17x16xf32>, tensor<5x3x8x8xf32>, tensor<5xf32>) -> tensor<1x5x2x2xf32>
  return %0 : tensor<1x5x2x2xf32>
}

// CHECK-LABEL: func.func @groups(
// CHECK:         onnx.Conv
func.func @groups(%x: tensor<1x4x8xf32>, %b: tensor<4xf32>) -> tensor<1x4x4xf32> {
  %w = arith.constant dense<1.0> : tensor<4x1x2xf32>
  %0 = onnx.Conv %x, %w, %b {group = 4 : i64, strides = array<i64: 2>} : (tensor<1x4x8xf32>, tensor<4x1x2xf32>, tensor<4xf32>) -> tensor<1x4x4xf32>
  return %0 : tensor<1x4x4xf32>
}

// CHECK-LABEL: func.func @dilation(
// CHECK:         onnx.Conv
func.func @dilation(%x: tensor<1x4x8xf32>, %b: tensor<4xf32>) -> tensor<1x4x3xf32> {
  %w = arith.constant dense<1.0> : tensor<4x4x2xf32>
  %0 = onnx.Conv %x, %w, %b {dilations = array<i64: 2>, strides = array<i64: 2>} : (tensor<1x4x8xf32>, tensor<4x4x2xf32>, tensor<4xf32>) -> tensor<1x4x3xf32>
  return %0 : tensor<1x4x3xf32>
}

// CHECK-LABEL: func.func @computed_weights(
// CHECK:         onnx.Conv
func.func @computed_weights(%x: tensor<1x4x8xf32>, %w: tensor<4x4x2xf32>, %b: tensor<4xf32>) -> tensor<1x4x4xf32> {
  %0 = onnx.Conv %x, %w, %b {strides = array<i64: 2>} : (tensor<1x4x8xf32>, tensor<4x4x2xf32>, tensor<4xf32>) -> tensor<1x4x4xf32>
  return %0 : tensor<1x4x4xf32>
}

{-#
  dialect_resources: {
    builtin: {
      w: "0x04000000",
      v: "0x04000000"
    }
  }
#-}
