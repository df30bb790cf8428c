// RUN: elutq-opt %s -split-input-file -widen-half-onnx | FileCheck %s

// Activations in f32; the matrix stays f16 and is widened where it is read, the small constants are f32, and so are inputs and outputs.
// CHECK-LABEL: func.func @half(
// CHECK-SAME:    %[[X:.*]]: tensor<1x3x4xf32>, %[[IDS:.*]]: tensor<1x3xi64>) -> tensor<1x3x5xf32>
// CHECK-DAG:     %[[SCALE:.*]] = arith.constant dense<5.000000e-01> : tensor<f32>
// CHECK-DAG:     %[[HIDDEN:.*]] = onnx.ConstantOfShape %{{.*}} {value = dense<-6.550400e+04> : tensor<1xf32>} : (tensor<1xi64>) -> tensor<5xf32>
// CHECK:         %[[ROW:.*]] = onnx.Gather %{{.*}}, %[[IDS]] : (tensor<9x4xf16>, tensor<1x3xi64>) -> tensor<1x3x4xf16>
// CHECK:         %[[WIDE:.*]] = onnx.Cast %[[ROW]] {to = 1 : i64} : (tensor<1x3x4xf16>) -> tensor<1x3x4xf32>
// CHECK:         %[[SUM:.*]] = onnx.Add %[[WIDE]], %[[X]] {{.*}} -> tensor<1x3x4xf32>
// CHECK:         %[[SCALED:.*]] = onnx.Mul %[[SUM]], %[[SCALE]] {{.*}} -> tensor<1x3x4xf32>
// CHECK:         %[[SAME:.*]] = onnx.Cast %[[SCALED]] {to = 1 : i64} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
// CHECK:         %[[Y:.*]] = onnx.MatMul %[[SAME]], %[[W:.*]] : (tensor<1x3x4xf32>, tensor<4x5xf32>) -> tensor<1x3x5xf32>
// CHECK:         onnx.Add %[[Y]], %[[HIDDEN]]
func.func @half(%x: tensor<1x3x4xf16>, %ids: tensor<1x3xi64>) -> tensor<1x3x5xf16> {
  %table = arith.constant dense_resource<table> : tensor<9x4xf16>
  %w = arith.constant dense_resource<w> : tensor<5x4xf16>
  %scale = arith.constant dense<0.5> : tensor<f16>
  %shape = arith.constant dense<5> : tensor<1xi64>
  %hidden = onnx.ConstantOfShape %shape {value = dense<-65504.0> : tensor<1xf16>} : (tensor<1xi64>) -> tensor<5xf16>
  %row = onnx.Gather %table, %ids {axis = 0 : i64} : (tensor<9x4xf16>, tensor<1x3xi64>) -> tensor<1x3x4xf16>
  %sum = onnx.Add %row, %x : (tensor<1x3x4xf16>, tensor<1x3x4xf16>) -> tensor<1x3x4xf16>
  %scaled = onnx.Mul %sum, %scale : (tensor<1x3x4xf16>, tensor<f16>) -> tensor<1x3x4xf16>
  %same = onnx.Cast %scaled {to = 10 : i64} : (tensor<1x3x4xf16>) -> tensor<1x3x4xf16>
  %wt = onnx.Transpose %w {perm = array<i64: 1, 0>} : (tensor<5x4xf16>) -> tensor<4x5xf16>
  %y = onnx.MatMul %same, %wt : (tensor<1x3x4xf16>, tensor<4x5xf16>) -> tensor<1x3x5xf16>
  %z = onnx.Add %y, %hidden : (tensor<1x3x5xf16>, tensor<5xf16>) -> tensor<1x3x5xf16>
  return %z : tensor<1x3x5xf16>
}

// -----

// The scales of quantized matrices stay as they are stored, those of bf16, too.
// CHECK-LABEL: func.func @quantized(
// CHECK-SAME:    %[[X:.*]]: tensor<2x64xf32>
// CHECK:         onnx.contrib.MatMulNBits %[[X]], %{{.*}} : (tensor<2x64xf32>, tensor<32x2x16xui8>, tensor<32x2xbf16>, none, none, none) -> tensor<2x32xf32>
func.func @quantized(%x: tensor<2x64xbf16>) -> tensor<2x32xbf16> {
  %none = onnx.None
  %b = arith.constant dense<17> : tensor<32x2x16xui8>
  %s = arith.constant dense<0.25> : tensor<32x2xbf16>
  %y = onnx.contrib.MatMulNBits %x, %b, %s, %none, %none, %none {K = 64 : i64, N = 32 : i64, bits = 4 : i64, block_size = 32 : i64}
      : (tensor<2x64xbf16>, tensor<32x2x16xui8>, tensor<32x2xbf16>, none, none, none) -> tensor<2x32xbf16>
  return %y : tensor<2x32xbf16>
}

// -----

// A model whose inputs and outputs are f32 is as it was.
// CHECK-LABEL: func.func @single(
// CHECK:         %[[W:.*]] = onnx.Cast %{{.*}} {to = 1 : i64} : (tensor<4x5xf16>) -> tensor<4x5xf32>
// CHECK-NEXT:    onnx.MatMul %{{.*}}, %[[W]]
func.func @single(%x: tensor<3x4xf32>) -> tensor<3x5xf32> {
  %w = arith.constant dense_resource<w> : tensor<4x5xf16>
  %wide = onnx.Cast %w {to = 1 : i64} : (tensor<4x5xf16>) -> tensor<4x5xf32>
  %y = onnx.MatMul %x, %wide : (tensor<3x4xf32>, tensor<4x5xf32>) -> tensor<3x5xf32>
  return %y : tensor<3x5xf32>
}

{-#
  dialect_resources: {
    builtin: {
      table: "0x0400000000010002000300040005000600070008000900100011001200130014001500160017001800190020002100220023002400250026002700280029003000310032003300340035",
      w: "0x0400000000010002000300040005000600070008000900100011001200130014001500160017001800190020"
    }
  }
#-}
