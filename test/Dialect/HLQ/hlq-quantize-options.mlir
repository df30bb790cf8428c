// RUN: elutq-opt %s -hlq-quantize="exclude=q_proj|embed" | FileCheck %s --check-prefix=EXCLUDE
// RUN: elutq-opt %s -hlq-quantize="embedding-bits=0 head-bits=2" | FileCheck %s --check-prefix=FLOAT
// RUN: elutq-opt %s -hlq-quantize="bits=1 group-size=0 progress=true" 2>&1 >/dev/null | FileCheck %s --check-prefix=PROGRESS

// PROGRESS: remark: [1/2] {{.*}}: 3 x 40, 4 bits, relative squared error 0.00e+00
// PROGRESS: remark: [2/2] /layers.0/q_proj/MatMul: 3 x 64, 1 bits, relative squared error
// PROGRESS: remark: 1 bits: 192 weights of 1 matrices, {{[0-9.]+}} million weights/s per core
// PROGRESS: remark: 4 bits: 120 weights of 1 matrices, {{[0-9.]+}} million weights/s per core

// What `exclude` matches by node or weight name stays in float.
// EXCLUDE-LABEL: func.func @model(
// EXCLUDE:         lm.gather
// EXCLUDE:         linalg.matmul
// A tied table whose embedding stays in float is still the head, here quantized.
// FLOAT-LABEL: func.func @model(
// FLOAT:         lm.gather
// FLOAT:         hlq.linear {{.*}} tensor<4x3x16xi8>
// FLOAT:         hlq.linear {{.*}} tensor<2x3x16xi8>
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func @model(%ids: tensor<2xi64>, %x: tensor<1x64xf32>, %h: tensor<1x40xf32>) -> (tensor<2x40xf32>, tensor<1x3xf32>, tensor<1x3xf32>) {
  %w = arith.constant dense<1.0> : tensor<64x3xf32>
  %table = arith.constant dense<1.0> : tensor<3x40xf32>
  %e = tensor.empty() : tensor<2x40xf32>
  %init = arith.constant dense<0.0> : tensor<1x3xf32>
  %0 = lm.gather ins(%ids, %table : tensor<2xi64>, tensor<3x40xf32>) outs(%e : tensor<2x40xf32>) -> tensor<2x40xf32> loc("/embed_tokens/Gather")
  %1 = linalg.matmul ins(%x, %w : tensor<1x64xf32>, tensor<64x3xf32>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32> loc("/layers.0/q_proj/MatMul")
  %2 = linalg.matmul indexing_maps = [#a, #b, #c] ins(%h, %table : tensor<1x40xf32>, tensor<3x40xf32>) outs(%init : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %0, %1, %2 : tensor<2x40xf32>, tensor<1x3xf32>, tensor<1x3xf32>
}
