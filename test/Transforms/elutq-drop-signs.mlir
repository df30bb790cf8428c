// RUN: elutq-opt %s -elutq-drop-signs | FileCheck %s

// CHECK-NOT:     ui{{[0-9]}}
// CHECK-LABEL: func.func @f(
// CHECK-SAME:    %[[X:.*]]: tensor<2xi8>) -> tensor<2xi8>
// CHECK:         arith.constant dense<[1, -1]> : tensor<2xi8>
// CHECK-NOT:     ui{{[0-9]}}
// CHECK-NOT:     unrealized_conversion_cast
// CHECK:         ^bb0(%[[A:.*]]: i8, %[[B:.*]]: i8, %{{.*}}: i8):
// CHECK:           %[[Q:.*]] = arith.divui %[[A]], %[[B]] : i8
// CHECK:           linalg.yield %[[Q]] : i8
func.func @f(%x: tensor<2xui8>) -> tensor<2xui8> {
  %c = arith.constant dense<[1, 255]> : tensor<2xui8>
  %e = tensor.empty() : tensor<2xui8>
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x, %c : tensor<2xui8>, tensor<2xui8>) outs(%e : tensor<2xui8>) {
  ^bb0(%a: ui8, %b: ui8, %old: ui8):
    %0 = builtin.unrealized_conversion_cast %a : ui8 to i8
    %1 = builtin.unrealized_conversion_cast %b : ui8 to i8
    %2 = arith.divui %0, %1 : i8
    %3 = builtin.unrealized_conversion_cast %2 : i8 to ui8
    linalg.yield %3 : ui8
  } -> tensor<2xui8>
  return %y : tensor<2xui8>
}

// Small floats are their bits, and packed elements have a byte each.
// CHECK-LABEL: func.func @small
// CHECK-SAME: (%{{.*}}: tensor<2xi8>, %{{.*}}: tensor<3xi4>) -> tensor<5xi4>
func.func @small(%x: tensor<2xf8E4M3FN>, %y: tensor<3xf4E2M1FN>) -> tensor<5xui4> {
  // CHECK: arith.constant dense<[1, -2, 3, -4, 5]> : tensor<5xi4>
  %0 = arith.constant dense_resource<packed> : tensor<5xui4>
  return %0 : tensor<5xui4>
}

{-#
  dialect_resources: {
    builtin: {
      packed: "0x01000000E1C305"
    }
  }
#-}
