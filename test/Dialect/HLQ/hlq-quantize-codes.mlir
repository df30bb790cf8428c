// RUN: elutq-opt %s -hlq-quantize="bits=2 group-size=16 embedding-bits=8 head-bits=4" | FileCheck %s

// A tied table has the larger number of bits, one code and one scale per group; other layers keep their planes.
// The row runs from -1 to 2.984375 in steps of 1/64: 15 of them are 17 steps apart, so that the codes are exact.
// CHECK-LABEL: func.func @tied(
// CHECK-DAG:     arith.constant dense_resource<[[$KEY:.+]].planes> : tensor<1x16xi8>
// CHECK-DAG:     arith.constant dense_resource<[[$KEY]].scales> : tensor<1x1x1xf16>
// CHECK:         hlq.gather {{.*}} tensor<1x16xi8>
// CHECK:         hlq.linear {{.*}} tensor<1x16xi8>
// CHECK:         hlq.linear {{.*}} tensor<2x3x2xi8>
// CHECK-DAG:     [[$KEY]].planes: "0x4000000000112233445566778899AABBCCDDEEFF"
// CHECK-DAG:     [[$KEY]].scales: "0x400000000024"
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func @tied(%ids: tensor<2xi64>, %x: tensor<1x16xf32>) -> (tensor<2x16xf32>, tensor<1x1xf32>, tensor<1x3xf32>) {
  %w = arith.constant dense<[[-1.0, -0.734375, -0.46875, -0.203125, 0.0625, 0.328125, 0.59375, 0.859375,
                              1.125, 1.390625, 1.65625, 1.921875, 2.1875, 2.453125, 2.71875, 2.984375]]> : tensor<1x16xf32>
  %v = arith.constant dense<1.0> : tensor<3x16xf32>
  %e = tensor.empty() : tensor<2x16xf32>
  %i = arith.constant dense<0.0> : tensor<1x1xf32>
  %j = arith.constant dense<0.0> : tensor<1x3xf32>
  %0 = lm.gather ins(%ids, %w : tensor<2xi64>, tensor<1x16xf32>) outs(%e : tensor<2x16xf32>) -> tensor<2x16xf32> loc("table")
  %1 = linalg.matmul indexing_maps = [#a, #b, #c] ins(%x, %w : tensor<1x16xf32>, tensor<1x16xf32>) outs(%i : tensor<1x1xf32>) -> tensor<1x1xf32>
  %2 = linalg.matmul indexing_maps = [#a, #b, #c] ins(%x, %v : tensor<1x16xf32>, tensor<3x16xf32>) outs(%j : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %0, %1, %2 : tensor<2x16xf32>, tensor<1x1xf32>, tensor<1x3xf32>
}
