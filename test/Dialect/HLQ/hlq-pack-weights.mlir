// RUN: elutq-opt %s -hlq-pack-weights | FileCheck %s

// Two functions that need the same matrix share one constant. A row block of the layout: planes, scales, zeros, padded to 64 bytes.
// CHECK-LABEL: func.func @first(
// CHECK:         arith.constant dense_resource<[[$KEY:.+]]> : tensor<1x128xi8>
// CHECK-NOT:     hlq.pack %
func.func @first() -> tensor<1x128xi8> {
  %planes = arith.constant dense<[[[1, 2, 3, 4], [17, 18, 19, 20]]]> : tensor<1x2x4xi8>
  %scales = arith.constant dense<1.0> : tensor<2x1x1xf16>
  %zeros = arith.constant dense<[[-1.0], [2.0]]> : tensor<2x1xf16>
  %p = hlq.pack %planes, %scales, %zeros {layout = #hlq.layout<lane = byte, rows = 16, bits = 1, group_size = 32, params = hlq, param_type = f16>}
     : (tensor<1x2x4xi8>, tensor<2x1x1xf16>, tensor<2x1xf16>) -> tensor<1x128xi8>
  return %p : tensor<1x128xi8>
}

// CHECK-LABEL: func.func @second(
// CHECK:         arith.constant dense_resource<[[$KEY]]> : tensor<1x128xi8>
func.func @second() -> tensor<1x128xi8> {
  %planes = arith.constant dense<[[[1, 2, 3, 4], [17, 18, 19, 20]]]> : tensor<1x2x4xi8>
  %scales = arith.constant dense<1.0> : tensor<2x1x1xf16>
  %zeros = arith.constant dense<[[-1.0], [2.0]]> : tensor<2x1xf16>
  %p = hlq.pack %planes, %scales, %zeros {layout = #hlq.layout<lane = byte, rows = 16, bits = 1, group_size = 32, params = hlq, param_type = f16>}
     : (tensor<1x2x4xi8>, tensor<2x1x1xf16>, tensor<2x1xf16>) -> tensor<1x128xi8>
  return %p : tensor<1x128xi8>
}

// An argument cannot be packed here.
// CHECK-LABEL: func.func @not_constant(
// CHECK:         hlq.pack
func.func @not_constant(%planes: tensor<1x2x4xi8>) -> tensor<1x128xi8> {
  %scales = arith.constant dense<1.0> : tensor<2x1x1xf16>
  %zeros = arith.constant dense<1.0> : tensor<2x1xf16>
  %p = hlq.pack %planes, %scales, %zeros {layout = #hlq.layout<lane = byte, rows = 16, bits = 1, group_size = 32, params = hlq, param_type = f16>}
     : (tensor<1x2x4xi8>, tensor<2x1x1xf16>, tensor<2x1xf16>) -> tensor<1x128xi8>
  return %p : tensor<1x128xi8>
}

// The four steps of 8 columns, 16 rows each; then a row of 16 scales (1.0 is 3c00) and one of zeros (-1.0 is bc00, 2.0 is 4000).
// CHECK: [[$KEY]]: "0x40000000
// CHECK-SAME: {{^}}0111000000000000000000000000000002120000000000000000000000000000
// CHECK-SAME: {{^}}0313000000000000000000000000000004140000000000000000000000000000
// CHECK-SAME: {{^}}003C003C00000000000000000000000000000000000000000000000000000000
// CHECK-SAME: {{^}}00BC004000000000000000000000000000000000000000000000000000000000"
