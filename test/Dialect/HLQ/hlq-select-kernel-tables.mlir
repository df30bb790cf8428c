// RUN: elutq-opt %s -hlq-select-kernel="isa=avx2 wide-tables=down_proj" | FileCheck %s
// RUN: not elutq-opt %s -hlq-select-kernel="isa=avx2 wide-tables=(" 2>&1 | FileCheck %s --check-prefix=REGEX

// REGEX: error: expected wide-tables to be a regular expression, but got '(': parentheses not balanced

// CHECK-DAG: #[[$WIDE:kernel.*]] = #hlq.kernel<isa = "avx2", {{.*}}, n_tile = 1, table_bits = 16>
// CHECK-DAG: #[[$NARROW:kernel.*]] = #hlq.kernel<isa = "avx2", {{.*}}, n_tile = 1>

// Only the product with a matching name gets tables of 16 bits.
// CHECK-LABEL: func.func @by_name(
// CHECK:         hlq.linear {{.*}} hlq.kernel = #[[$WIDE]],
// CHECK:         hlq.linear {{.*}} hlq.kernel = #[[$NARROW]],
func.func @by_name(%x: tensor<1x32xf32>, %p: tensor<2x16x4xi8>, %s: tensor<16x1x2xf16>, %z: tensor<16x1xf16>,
                   %init: tensor<1x16xf32>) -> (tensor<1x16xf32>, tensor<1x16xf32>) {
  %0 = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<1x16xf32>) {group_size = 32 : i64} -> tensor<1x16xf32> loc("layers.0/mlp/down_proj")
  %1 = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<1x16xf32>) {group_size = 32 : i64} -> tensor<1x16xf32> loc("layers.0/mlp/up_proj")
  return %0, %1 : tensor<1x16xf32>, tensor<1x16xf32>
}
