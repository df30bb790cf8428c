// RUN: elutq-opt %s -hlq-quantize="bits=2 group-size=32" | FileCheck %s

// A matrix in f16, transposed and widened by linalg ops as models have it, is quantized from f16; its widening goes away.
// CHECK-LABEL: func.func @product(
// CHECK-NOT:     linalg.generic
// CHECK:         hlq.linear ins({{.*}} : tensor<1x64xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
#id = affine_map<(i, j) -> (i, j)>
#swap = affine_map<(i, j) -> (j, i)>
func.func @product(%x: tensor<1x64xf32>) -> tensor<1x3xf32> {
  %w = arith.constant dense<1.0> : tensor<64x3xf16>
  %e = tensor.empty() : tensor<64x3xf32>
  %init = arith.constant dense<0.0> : tensor<1x3xf32>
  %wide = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%w : tensor<64x3xf16>) outs(%e : tensor<64x3xf32>) {
  ^bb0(%in: f16, %out: f32):
    %0 = arith.extf %in : f16 to f32
    linalg.yield %0 : f32
  } -> tensor<64x3xf32>
  %y = linalg.matmul ins(%x, %wide : tensor<1x64xf32>, tensor<64x3xf32>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %y : tensor<1x3xf32>
}

// What does more than widen is no matrix of the model's.
// CHECK-LABEL: func.func @not_widened(
// CHECK-COUNT-2: linalg.generic
// CHECK-COUNT-2: linalg.matmul
func.func @not_widened(%x: tensor<1x64xf32>) -> (tensor<1x64xf32>, tensor<1x64xf32>) {
  %w = arith.constant dense<1.0> : tensor<64x64xf16>
  %e = tensor.empty() : tensor<64x64xf32>
  %init = arith.constant dense<0.0> : tensor<1x64xf32>
  %turned = linalg.generic {indexing_maps = [#swap, #id], iterator_types = ["parallel", "parallel"]} ins(%w : tensor<64x64xf16>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%in: f16, %out: f32):
    %0 = arith.extf %in : f16 to f32
    linalg.yield %0 : f32
  } -> tensor<64x64xf32>
  %squared = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%w : tensor<64x64xf16>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%in: f16, %out: f32):
    %0 = arith.extf %in : f16 to f32
    %1 = arith.mulf %0, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<64x64xf32>
  %y = linalg.matmul ins(%x, %turned : tensor<1x64xf32>, tensor<64x64xf32>) outs(%init : tensor<1x64xf32>) -> tensor<1x64xf32>
  %z = linalg.matmul ins(%x, %squared : tensor<1x64xf32>, tensor<64x64xf32>) outs(%init : tensor<1x64xf32>) -> tensor<1x64xf32>
  return %y, %z : tensor<1x64xf32>, tensor<1x64xf32>
}

// Rows of a table in f16 that are used in f32 are not rounded between; others are.
// CHECK-LABEL: func.func @gather(
// CHECK:         %[[ROWS:.+]] = hlq.gather {{.*}} -> tensor<2x32xf32>
// CHECK:         %[[HALF:.+]] = linalg.generic {{.*}} ins(%[[ROWS]] : tensor<2x32xf32>)
// CHECK:           arith.truncf
// CHECK:         return %[[ROWS]], %[[HALF]]
func.func @gather(%ids: tensor<2xi64>) -> (tensor<2x32xf32>, tensor<2x32xf16>) {
  %table = arith.constant dense<1.0> : tensor<3x32xf16>
  %e = tensor.empty() : tensor<2x32xf16>
  %f = tensor.empty() : tensor<2x32xf32>
  %rows = lm.gather ins(%ids, %table : tensor<2xi64>, tensor<3x32xf16>) outs(%e : tensor<2x32xf16>) -> tensor<2x32xf16>
  %wide = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%rows : tensor<2x32xf16>) outs(%f : tensor<2x32xf32>) {
  ^bb0(%in: f16, %out: f32):
    %0 = arith.extf %in : f16 to f32
    linalg.yield %0 : f32
  } -> tensor<2x32xf32>
  return %wide, %rows : tensor<2x32xf32>, tensor<2x32xf16>
}
