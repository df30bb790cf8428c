// RUN: elutq-opt %s -split-input-file -transform-interpreter -canonicalize -cse -verify-diagnostics | FileCheck %s

// A tile of rows starts at a later position; a tile of heads that share a KV head reads that one.
// CHECK:       #[[$ROW:.+]] = affine_map<(d0) -> (d0 * 4)>
// CHECK:       #[[$HEAD:.+]] = affine_map<(d0) -> (d0 * 2)>
// CHECK:       #[[$KV:.+]] = affine_map<(d0) -> (d0 floordiv 2)>
// CHECK:       #[[$POSITION:.+]] = affine_map<(d0)[s0] -> (d0 * 4 + s0)>
// CHECK-LABEL: func.func @rows_and_shared_heads(
// CHECK-SAME:    %[[Q:[a-z0-9]+]]: tensor<8x8x64xf32>, %[[K:[a-z0-9]+]]: tensor<2x32x64xf16>, %[[V:[a-z0-9]+]]: tensor<2x32x64xf16>, %[[POS:[a-z0-9]+]]: index
// CHECK:         scf.forall (%[[I:.+]], %[[J:.+]]) in (2, 4)
// CHECK-DAG:       %[[R:.+]] = affine.apply #[[$ROW]](%[[I]])
// CHECK-DAG:       %[[H:.+]] = affine.apply #[[$HEAD]](%[[J]])
// CHECK-DAG:       %[[KV:.+]] = affine.apply #[[$KV]](%[[J]])
// CHECK-DAG:       %[[QT:.+]] = tensor.extract_slice %[[Q]][%[[R]], %[[H]], 0] [4, 2, 64]
// CHECK-DAG:       %[[KT:.+]] = tensor.extract_slice %[[K]][%[[KV]], 0, 0] [1, 32, 64]
// CHECK-DAG:       %[[P:.+]] = affine.apply #[[$POSITION]](%[[I]])[%[[POS]]]
// CHECK:           lm.attention ins(%[[QT]], %[[KT]], %{{.+}}, %[[P]] : tensor<4x2x64xf32>, tensor<1x32x64xf16>, tensor<1x32x64xf16>)
func.func @rows_and_shared_heads(%q: tensor<8x8x64xf32>, %k: tensor<2x32x64xf16>, %v: tensor<2x32x64xf16>, %position: index,
                                 %init: tensor<8x8x64xf32>) -> tensor<8x8x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x8x64xf32>, tensor<2x32x64xf16>, tensor<2x32x64xf16>)
         outs(%init : tensor<8x8x64xf32>) {scale = 1.0 : f32} -> tensor<8x8x64xf32>
  return %o : tensor<8x8x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["lm.attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [4, 2] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// A tile of as many heads as share a KV head, twice, reads two KV heads.
// CHECK-LABEL: func.func @whole_kv_heads(
// CHECK:         lm.attention ins({{.*}} : tensor<8x4x64xf32>, tensor<2x32x64xf16>, tensor<2x32x64xf16>)
func.func @whole_kv_heads(%q: tensor<8x8x64xf32>, %k: tensor<4x32x64xf16>, %v: tensor<4x32x64xf16>, %position: index,
                          %init: tensor<8x8x64xf32>) -> tensor<8x8x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x8x64xf32>, tensor<4x32x64xf16>, tensor<4x32x64xf16>)
         outs(%init : tensor<8x8x64xf32>) {scale = 1.0 : f32} -> tensor<8x8x64xf32>
  return %o : tensor<8x8x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["lm.attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [0, 4] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// A tile of 3 heads would straddle KV heads of 2.
func.func @straddling_heads(%q: tensor<8x6x64xf32>, %k: tensor<3x32x64xf16>, %v: tensor<3x32x64xf16>, %position: index,
                            %init: tensor<8x6x64xf32>) -> tensor<8x6x64xf32> {
  // expected-error @+3 {{failed to generate tiling loops}}
  // expected-error @+2 {{to tile operation}}
  // expected-note @+1 {{when applied to this op}}
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x6x64xf32>, tensor<3x32x64xf16>, tensor<3x32x64xf16>)
         outs(%init : tensor<8x6x64xf32>) {scale = 1.0 : f32} -> tensor<8x6x64xf32>
  return %o : tensor<8x6x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["lm.attention"]} in %root : (!transform.any_op) -> !transform.any_op
    // expected-error @+1 {{failed to apply}}
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [0, 3] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
