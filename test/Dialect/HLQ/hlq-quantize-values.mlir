// RUN: elutq-opt %s -hlq-quantize="bits=1 group-size=16 threads=2" | FileCheck %s

// Two values are exact with one bit: the larger one is plane 1, the smaller one the zero, the distance the scale.
// Row 0 is 1 where k < 8 and -1 otherwise: planes ff 00, scale 2 (f16 4000), zero -1 (f16 bc00).
// Row 1 is 3 for odd k and 1 otherwise: planes aa aa, scale 2, zero 1 (f16 3c00).
// CHECK-LABEL: func.func @two_values(
// CHECK:         hlq.linear
// CHECK-DAG:     w.planes: "0x40000000FF00AAAA"
// CHECK-DAG:     w.scales: "0x4000000000400040"
// CHECK-DAG:     w.zeros: "0x4000000000BC003C"
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func @two_values(%x: tensor<1x16xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0],
                             [1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0]]> : tensor<2x16xf16>
  %init = arith.constant dense<0.0> : tensor<1x2xf32>
  %y = linalg.matmul indexing_maps = [#a, #b, #c] ins(%x, %w : tensor<1x16xf32>, tensor<2x16xf16>) outs(%init : tensor<1x2xf32>) -> tensor<1x2xf32> loc("w")
  return %y : tensor<1x2xf32>
}
