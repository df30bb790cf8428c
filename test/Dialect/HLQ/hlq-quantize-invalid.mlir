// RUN: not elutq-opt %s -hlq-quantize=bits=5 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not elutq-opt %s -hlq-quantize=group-size=48 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not elutq-opt %s -hlq-quantize=embedding-bits=6 2>&1 | FileCheck %s --check-prefix=EMBEDDING
// RUN: not elutq-opt %s -hlq-quantize=head-bits=-1 2>&1 | FileCheck %s --check-prefix=HEAD
// RUN: not elutq-opt %s -hlq-quantize="exclude=(" 2>&1 | FileCheck %s --check-prefix=REGEX
// RUN: not elutq-opt %s -hlq-quantize 2>&1 | FileCheck %s --check-prefix=VALUE

// BITS:      error: expected bits to be 1 to 4 or 8, but got 5
// GROUP:     error: expected group-size to be 16, 32, 64, 128, 256, or 0 for one group per row, but got 48
// EMBEDDING: error: expected embedding-bits to be 0 to 4 or 8, but got 6
// HEAD:      error: expected head-bits to be 0 to 4 or 8, but got -1
// REGEX:     error: expected exclude to be a regular expression, but got '(': parentheses not balanced
// VALUE:     error: {{.*}}cannot quantize weight '/q_proj/MatMul':
func.func @not_finite(%x: tensor<1x16xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<0x7F800000> : tensor<16x2xf32>
  %init = arith.constant dense<0.0> : tensor<1x2xf32>
  %y = linalg.matmul ins(%x, %w : tensor<1x16xf32>, tensor<16x2xf32>) outs(%init : tensor<1x2xf32>) -> tensor<1x2xf32> loc("/q_proj/MatMul")
  return %y : tensor<1x2xf32>
}
