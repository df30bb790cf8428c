// RUN: elutq-opt %s -split-input-file -transform-interpreter -canonicalize -cse -verify-diagnostics | FileCheck %s

// A tile of rows starts at a later position; a tile of heads that share a KV head reads that one.
// CHECK:       #[[$ROW:.+]] = affine_map<(d0) -> (d0 * 4)>
// CHECK:       #[[$HEAD:.+]] = affine_map<(d0) -> (d0 * 2)>
// CHECK:       #[[$KV:.+]] = affine_map<(d0) -> (d0 floordiv 2)>
// CHECK:       #[[$POSITION:.+]] = affine_map<(d0)[s0] -> (d0 * 4 + s0)>
// CHECK-LABEL: func.func @rows_and_shared_heads(
// CHECK-SAME:    %[[Q:[a-z0-9]+]]: tensor<8x8x64xf32>, %[[K:[a-z0-9]+]]: tensor<2x1x64x64xf16>, %[[V:[a-z0-9]+]]: tensor<2x64x64xf16>, %[[POS:[a-z0-9]+]]: index
// CHECK:         scf.forall (%[[I:.+]], %[[J:.+]]) in (2, 4)
// CHECK-DAG:       %[[R:.+]] = affine.apply #[[$ROW]](%[[I]])
// CHECK-DAG:       %[[H:.+]] = affine.apply #[[$HEAD]](%[[J]])
// CHECK-DAG:       %[[KV:.+]] = affine.apply #[[$KV]](%[[J]])
// CHECK-DAG:       %[[QT:.+]] = tensor.extract_slice %[[Q]][%[[R]], %[[H]], 0] [4, 2, 64]
// CHECK-DAG:       %[[KT:.+]] = tensor.extract_slice %[[K]][%[[KV]], 0, 0, 0] [1, 1, 64, 64]
// CHECK-DAG:       %[[P:.+]] = affine.apply #[[$POSITION]](%[[I]])[%[[POS]]]
// CHECK:           lm.attention ins(%[[QT]], %[[KT]], %{{.+}}, %[[P]] : tensor<4x2x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
func.func @rows_and_shared_heads(%q: tensor<8x8x64xf32>, %k: tensor<2x1x64x64xf16>, %v: tensor<2x64x64xf16>, %position: index,
                                 %init: tensor<8x8x64xf32>) -> tensor<8x8x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x8x64xf32>, tensor<2x1x64x64xf16>, tensor<2x64x64xf16>)
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
// CHECK:         lm.attention ins({{.*}} : tensor<8x4x64xf32>, tensor<2x1x64x64xf16>, tensor<2x64x64xf16>)
func.func @whole_kv_heads(%q: tensor<8x8x64xf32>, %k: tensor<4x1x64x64xf16>, %v: tensor<4x64x64xf16>, %position: index,
                          %init: tensor<8x8x64xf32>) -> tensor<8x8x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x8x64xf32>, tensor<4x1x64x64xf16>, tensor<4x64x64xf16>)
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
func.func @straddling_heads(%q: tensor<8x6x64xf32>, %k: tensor<3x1x64x64xf16>, %v: tensor<3x64x64xf16>, %position: index,
                            %init: tensor<8x6x64xf32>) -> tensor<8x6x64xf32> {
  // expected-error @+3 {{failed to generate tiling loops}}
  // expected-error @+2 {{to tile operation}}
  // expected-note @+1 {{when applied to this op}}
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x6x64xf32>, tensor<3x1x64x64xf16>, tensor<3x64x64xf16>)
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

// -----

// Parts are tiled by heads and slots; a tile knows which slot is its first.
// CHECK-LABEL: func.func @parts(
// CHECK:         scf.forall (%[[I:.+]], %[[J:.+]]) in (2, 4)
// CHECK-DAG:       %[[Q:.+]] = tensor.extract_slice %{{.+}}[0, %{{.+}}, 0] [1, 2, 64]
// CHECK-DAG:       %[[S:.+]] = tensor.extract_slice %{{.+}}[%{{.+}}, %[[J]], 0, 0] [2, 1, 2, 64]
// CHECK-DAG:       %[[SC:.+]] = tensor.extract_slice %{{.+}}[%[[I]], 0] [1, 512]
// CHECK:           lm.attention_parts ins(%[[Q]], %{{.+}}, %{{.+}}, %{{.+}}, %[[J]] : {{.*}}) scales(%[[SC]], {{.*}}) outs(%[[S]], %{{.+}} : tensor<2x1x2x64xf32>, tensor<2x1x2x2xf32>)
func.func @parts(%q: tensor<1x4x64xf32>, %k: tensor<2x8x64x64xi8>, %v: tensor<2x512x64xi8>, %c: tensor<2x512xf32>, %d: tensor<2x512xf32>,
                 %p: index, %s: tensor<4x4x2x64xf32>, %t: tensor<4x4x2x2xf32>) -> (tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>) {
  %zero = arith.constant 0 : index
  %o:2 = lm.attention_parts ins(%q, %k, %v, %p, %zero : tensor<1x4x64xf32>, tensor<2x8x64x64xi8>, tensor<2x512x64xi8>)
           scales(%c, %d : tensor<2x512xf32>, tensor<2x512xf32>) outs(%s, %t : tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>)
           {scale = 1.0 : f32, part = 64 : i64, slots = 4 : i64} -> tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>
  return %o#0, %o#1 : tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["lm.attention_parts"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [2, 1] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
