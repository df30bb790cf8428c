// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// A vector on the right is a column.
// CHECK-LABEL: func.func @vector(
// CHECK:         linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]} ins({{.*}} : tensor<4x3xf32>, tensor<3x1xf32>)
// CHECK:         tensor.collapse_shape {{.*}} into tensor<4xf32>
func.func @vector(%x: tensor<4x3xf32>, %v: tensor<3xf32>) -> tensor<4xf32> {
  %0 = onnx.MatMul %x, %v : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// Labels that the result lacks are summed.
// CHECK-LABEL: func.func @einsum(
// CHECK:         linalg.generic {indexing_maps = [#{{.*}}, #{{.*}}, #{{.*}}], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
// CHECK-SAME:      ins({{.*}} : tensor<2x3x4xf32>, tensor<2x4x5xf32>) outs({{.*}} : tensor<2x3x5xf32>)
func.func @einsum(%x: tensor<2x3x4xf32>, %y: tensor<2x4x5xf32>) -> tensor<2x3x5xf32> {
  %0 = onnx.Einsum %x, %y {equation = "...ij, ...jk -> ...ik"} : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  return %0 : tensor<2x3x5xf32>
}
