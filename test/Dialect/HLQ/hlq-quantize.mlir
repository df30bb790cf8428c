// RUN: elutq-opt %s -split-input-file -hlq-quantize="bits=2 group-size=32 embedding-bits=4 head-bits=3" | FileCheck %s

// The constant of a plain matmul is [K, N]; its planes are [bits, N, K / 8].
// CHECK-LABEL: func.func @plain(
// CHECK-SAME:    %[[X:.+]]: tensor<4x64xf32>
// CHECK-DAG:     %[[P:.+]] = arith.constant dense_resource<{{.+}}.planes> : tensor<2x3x8xi8>
// CHECK-DAG:     %[[S:.+]] = arith.constant dense_resource<{{.+}}.scales> : tensor<3x2x2xf16>
// CHECK-DAG:     %[[Z:.+]] = arith.constant dense_resource<{{.+}}.zeros> : tensor<3x2xf16>
// CHECK-DAG:     %[[E:.+]] = tensor.empty() : tensor<4x3xf32>
// CHECK:         %[[Y:.+]] = hlq.linear ins(%[[X]], %[[P]], %[[S]], %[[Z]] : {{.*}}) outs(%[[E]] : {{.*}}) {group_size = 32 : i64}
// CHECK-NEXT:    return %[[Y]]
func.func @plain(%x: tensor<4x64xf32>) -> tensor<4x3xf32> {
  %w = arith.constant dense<1.0> : tensor<64x3xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x3xf32>
  %init = linalg.fill ins(%zero : f32) outs(%e : tensor<4x3xf32>) -> tensor<4x3xf32>
  %y = linalg.matmul ins(%x, %w : tensor<4x64xf32>, tensor<64x3xf32>) outs(%init : tensor<4x3xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}

// -----

// The constant of a transposed matmul is [N, K]; K is padded to a group. What the product adds to is added afterwards.
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func.func @transposed_with_addend(
// CHECK-SAME:    %{{.+}}: tensor<1x40xf32>, %[[INIT:.+]]: tensor<1x3xf32>
// CHECK:         %[[Y:.+]] = hlq.linear ins({{.*}} : tensor<1x40xf32>, tensor<2x3x8xi8>, tensor<3x2x2xf16>, tensor<3x2xf16>)
// CHECK-NEXT:    linalg.add ins(%[[Y]], %[[INIT]]
func.func @transposed_with_addend(%x: tensor<1x40xf32>, %init: tensor<1x3xf32>) -> tensor<1x3xf32> {
  %w = arith.constant dense<1.0> : tensor<3x40xbf16>
  %y = linalg.matmul indexing_maps = [#a, #b, #c] ins(%x, %w : tensor<1x40xf32>, tensor<3x40xbf16>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %y : tensor<1x3xf32>
}

// -----

// A tied embedding and head share planes, of the larger number of bits; both functions share them.
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func.func @embed(
// CHECK-DAG:     arith.constant dense_resource<[[$KEY:.+]].planes> : tensor<4x3x8xi8>
// CHECK:         hlq.gather
func.func @embed(%ids: tensor<2xi64>) -> tensor<2x64xf32> {
  %w = arith.constant dense<1.0> : tensor<3x64xf32>
  %e = tensor.empty() : tensor<2x64xf32>
  %y = lm.gather ins(%ids, %w : tensor<2xi64>, tensor<3x64xf32>) outs(%e : tensor<2x64xf32>) -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}
// CHECK-LABEL: func.func @head(
// CHECK-DAG:     arith.constant dense_resource<[[$KEY]].planes> : tensor<4x3x8xi8>
// CHECK:         hlq.linear
func.func @head(%x: tensor<1x64xf32>) -> tensor<1x3xf32> {
  %w = arith.constant dense<1.0> : tensor<3x64xf32>
  %init = arith.constant dense<0.0> : tensor<1x3xf32>
  %y = linalg.matmul indexing_maps = [#a, #b, #c] ins(%x, %w : tensor<1x64xf32>, tensor<3x64xf32>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %y : tensor<1x3xf32>
}

// -----

// The head is found by its node name, too.
// CHECK-LABEL: func.func @head_by_name(
// CHECK:         hlq.linear {{.*}} tensor<3x3x8xi8>
func.func @head_by_name(%x: tensor<1x64xf32>, %w2: tensor<64x3xf32>) -> tensor<1x3xf32> {
  %w = arith.constant dense<1.0> : tensor<64x3xf32>
  %init = arith.constant dense<0.0> : tensor<1x3xf32>
  %y = linalg.matmul ins(%x, %w : tensor<1x64xf32>, tensor<64x3xf32>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32> loc("/lm_head/MatMul")
  return %y : tensor<1x3xf32>
}

// -----

// A product of two activations stays.
// CHECK-LABEL: func.func @not_constant(
// CHECK-NOT:     hlq.linear
func.func @not_constant(%x: tensor<1x64xf32>, %w: tensor<64x3xf32>, %init: tensor<1x3xf32>) -> tensor<1x3xf32> {
  %y = linalg.matmul ins(%x, %w : tensor<1x64xf32>, tensor<64x3xf32>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %y : tensor<1x3xf32>
}
