// RUN: elutq-opt %s -hlq-quantize="params=compact bits=2 group-size=32" -hlq-select-kernel=isa=avx512vbmi | FileCheck %s
// RUN: elutq-opt %s -hlq-quantize="params=compact bits=8 group-size=32" | FileCheck %s --check-prefix=CODES
// RUN: elutq-opt %s -hlq-quantize="params=compact bits=2 group-size=32" -hlq-select-kernel=isa=avx512vbmi -hlq-lower-linear -hlq-pack-weights | FileCheck %s --check-prefix=PACK
// RUN: not elutq-opt %s -hlq-quantize=params=dense 2>&1 | FileCheck %s --check-prefix=PARAMS

// One scale; bytes in place of zeros, for each plane and the code of a weight without bits.
// CHECK: #[[$LAYOUT:.*]] = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = compact, param_type = f16>
// CHECK-LABEL: func.func @fit(
// CHECK-DAG:     arith.constant dense_resource<{{.*}}.scales"> : tensor<16x2x1xf16>
// CHECK-DAG:     arith.constant dense_resource<{{.*}}.zeros"> : tensor<16x2x3xi8>
// CHECK:         hlq.linear ins({{.*}} : tensor<1x40xf32>, tensor<2x16x8xi8>, tensor<16x2x1xf16>, tensor<16x2x3xi8>) {{.*}}hlq.layout = #[[$LAYOUT]]}

// Codes of 8 bits have a scale and a zero as ever.
// CODES:         hlq.linear ins({{.*}} : tensor<1x40xf32>, tensor<16x64xi8>, tensor<16x2x1xf16>, tensor<16x2xf16>)

// Two groups of 16 rows: 128 bytes of planes, 32 of scales, 48 of ratios and codes each; padded to 448.
// PACK:          arith.constant dense_resource<{{.*}}> : tensor<1x448xi8>
// PACK:          hlq.lut_matmul

// PARAMS: error: expected params to be hlq or compact, but got 'dense'
func.func @fit(%x: tensor<1x40xf32>) -> tensor<1x16xf32> {
  %w = arith.constant dense<0.5> : tensor<40x16xf32>
  %init = arith.constant dense<0.0> : tensor<1x16xf32>
  %y = linalg.matmul ins(%x, %w : tensor<1x40xf32>, tensor<40x16xf32>) outs(%init : tensor<1x16xf32>) -> tensor<1x16xf32> loc("/q_proj/MatMul")
  return %y : tensor<1x16xf32>
}
