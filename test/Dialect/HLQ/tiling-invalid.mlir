// RUN: not elutq-opt %s -transform-interpreter 2>&1 | FileCheck %s

// Columns that K lacks belong to no part of the input.
// CHECK: error: 'hlq.build_lut' op expected whole table groups to tile, but got an input of shape 'tensor<1x120xf32>'
func.func @build_lut_groups(%x: tensor<1x120xf32>, %t0: tensor<1x8x1x64xi8>, %s0: tensor<1x4x1xf32>, %u0: tensor<1x4x1xf32>) -> tensor<1x8x1x64xi8> {
  %t:3 = hlq.build_lut ins(%x : tensor<1x120xf32>)
           outs(%t0, %s0, %u0 : tensor<1x8x1x64xi8>, tensor<1x4x1xf32>, tensor<1x4x1xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<1x8x1x64xi8>, tensor<1x4x1xf32>, tensor<1x4x1xf32>
  return %t#0 : tensor<1x8x1x64xi8>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["hlq.build_lut"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [0, 2] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
