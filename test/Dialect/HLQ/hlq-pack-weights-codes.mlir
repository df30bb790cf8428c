// RUN: elutq-opt %s -hlq-pack-weights | FileCheck %s

// Four columns of 16 rows in each step: row 0 has the codes 01 .. 10, row 1 starts with 81, rows 2 to 15 do not exist.
// CHECK-LABEL: func.func @codes(
// CHECK:         arith.constant dense_resource<[[$KEY:.+]]> : tensor<1x320xi8>
// CHECK:       [[$KEY]]: "0x40000000
// CHECK-SAME:  {{^}}0102030481828384{{(0{112})}}0506070885868788{{(0{112})}}
// CHECK-SAME:  {{^}}090A0B0C898A8B8C{{(0{112})}}0D0E0F108D8E8F90{{(0{112})}}
// CHECK-SAME:  {{^}}003C003C{{(0{56})}}00BC0040{{(0{56})}}"
func.func @codes() -> tensor<1x320xi8> {
  %codes = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
                                 [-127, -126, -125, -124, -123, -122, -121, -120, -119, -118, -117, -116, -115, -114, -113, -112]]> : tensor<2x16xi8>
  %scales = arith.constant dense<1.0> : tensor<2x1x1xf16>
  %zeros = arith.constant dense<[[-1.0], [2.0]]> : tensor<2x1xf16>
  %p = hlq.pack %codes, %scales, %zeros {layout = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 16, params = uniform, param_type = f16>}
     : (tensor<2x16xi8>, tensor<2x1x1xf16>, tensor<2x1xf16>) -> tensor<1x320xi8>
  return %p : tensor<1x320xi8>
}
