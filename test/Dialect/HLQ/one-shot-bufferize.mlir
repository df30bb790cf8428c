// RUN: elutq-opt %s -one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 4>

// Inits are overwritten in place: nothing is copied.
// CHECK-LABEL: func.func @in_place(
// CHECK-SAME:    %[[X:.+]]: memref<4x128xf32>, %[[P:.+]]: memref<4x896xi8>, %[[INIT:.+]]: memref<4x64xf32>
// CHECK-NOT:     memref.copy
// CHECK:         hlq.build_lut ins(%[[X]] : memref<4x128xf32>) outs(%[[T:.+]], %[[S:.+]], %[[U:.+]] : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>)
// CHECK-NOT:     memref.copy
// CHECK:         hlq.lut_matmul ins(%[[T]], %[[S]], %[[U]], %[[P]] : {{.*}}) outs(%[[INIT]] : memref<4x64xf32>)
// CHECK-NEXT:    return %[[INIT]]
func.func @in_place(%x: tensor<4x128xf32>, %p: tensor<4x896xi8>, %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %t0 = tensor.empty() : tensor<1x8x4x64xi8>
  %s0 = tensor.empty() : tensor<1x4x4xf32>
  // One empty tensor for both parameters is not one buffer.
  %t:3 = hlq.build_lut ins(%x : tensor<4x128xf32>)
           outs(%t0, %s0, %s0 : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>
  %y = hlq.lut_matmul ins(%t#0, %t#1, %t#2, %p : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<4x896xi8>)
         outs(%init : tensor<4x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

// An init that is read later gets a buffer of its own, without a copy of what is overwritten.
// CHECK-LABEL: func.func @init_read_later(
// CHECK-SAME:    %[[IDS:.+]]: memref<4xi64>, %[[P:.+]]: memref<4x896xi8>, %[[INIT:.+]]: memref<4x128xf32>
// CHECK-NOT:     memref.copy
// CHECK:         %[[NEW:.+]] = memref.alloc
// CHECK-NOT:     memref.copy
// CHECK:         hlq.packed_gather ins(%[[IDS]], %[[P]] : {{.*}}) outs(%[[NEW]] : memref<4x128xf32>)
// CHECK-NEXT:    return %[[NEW]], %[[INIT]]
func.func @init_read_later(%ids: tensor<4xi64>, %p: tensor<4x896xi8>, %init: tensor<4x128xf32>) -> (tensor<4x128xf32>, tensor<4x128xf32>) {
  %e = hlq.packed_gather ins(%ids, %p : tensor<4xi64>, tensor<4x896xi8>) outs(%init : tensor<4x128xf32>) {layout = #layout} -> tensor<4x128xf32>
  return %e, %init : tensor<4x128xf32>, tensor<4x128xf32>
}

#codes = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#dot = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 4, n_tile = 4>

// CHECK-LABEL: func.func @codes_in_place(
// CHECK-SAME:    %[[X:.+]]: memref<4x128xf32>, %[[P:.+]]: memref<4x2304xi8>, %[[INIT:.+]]: memref<4x64xf32>
// CHECK-NOT:     memref.copy
// CHECK:         hlq.quantize_rows ins(%[[X]] : memref<4x128xf32>) outs(%[[E:.+]], %[[S:.+]], %[[U:.+]], %[[O:.+]] : memref<1x8x4x16xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>, memref<1x4x4xi32>)
// CHECK-NOT:     memref.copy
// CHECK:         hlq.code_matmul ins(%[[E]], %[[S]], %[[U]], %[[O]], %[[P]] : {{.*}}) outs(%[[INIT]] : memref<4x64xf32>)
// CHECK-NEXT:    return %[[INIT]]
func.func @codes_in_place(%x: tensor<4x128xf32>, %p: tensor<4x2304xi8>, %init: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %e0 = tensor.empty() : tensor<1x8x4x16xi8>
  %s0 = tensor.empty() : tensor<1x4x4xf32>
  %o0 = tensor.empty() : tensor<1x4x4xi32>
  %e:4 = hlq.quantize_rows ins(%x : tensor<4x128xf32>)
           outs(%e0, %s0, %s0, %o0 : tensor<1x8x4x16xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>) {table_group = 32 : i64}
           -> tensor<1x8x4x16xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>
  %y = hlq.code_matmul ins(%e#0, %e#1, %e#2, %e#3, %p : tensor<1x8x4x16xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>, tensor<4x2304xi8>)
         outs(%init : tensor<4x64xf32>) {layout = #codes, kernel = #dot, table_group = 32 : i64} -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}
