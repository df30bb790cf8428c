// RUN: elutq-opt %s -one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s

// The caches are updated in place, and attention reads them afterwards.
// CHECK-LABEL: func.func @update_in_place(
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<8x1x64xf32>, %[[Q:[a-z0-9]+]]: memref<8x4x64xf32>, %[[K:[a-z0-9]+]]: memref<1x8x64x64xf16>, %[[V:[a-z0-9]+]]: memref<1x512x64xf16>
// CHECK-NOT:     memref.copy
// CHECK:         lm.cache_append ins(%[[X]], {{.*}}) outs(%[[K]] : memref<1x8x64x64xf16>)
// CHECK:         lm.cache_append ins(%[[X]], {{.*}}) outs(%[[V]] : memref<1x512x64xf16>)
// CHECK-NOT:     memref.copy
// CHECK:         lm.attention ins(%[[Q]], %[[K]], %[[V]], {{.*}}) outs(%[[O:.+]] : memref<8x4x64xf32>)
// CHECK:         return %[[K]], %[[V]], %[[O]]
func.func @update_in_place(%x: tensor<8x1x64xf32>, %q: tensor<8x4x64xf32>, %keys: tensor<1x8x64x64xf16>, %values: tensor<1x512x64xf16>,
                           %position: index, %count: index) -> (tensor<1x8x64x64xf16>, tensor<1x512x64xf16>, tensor<8x4x64xf32>) {
  %k = lm.cache_append ins(%x, %position, %count : tensor<8x1x64xf32>) outs(%keys : tensor<1x8x64x64xf16>) -> tensor<1x8x64x64xf16>
  %v = lm.cache_append ins(%x, %position, %count : tensor<8x1x64xf32>) outs(%values : tensor<1x512x64xf16>) -> tensor<1x512x64xf16>
  %e = tensor.empty() : tensor<8x4x64xf32>
  %o = lm.attention ins(%q, %k, %v, %position : tensor<8x4x64xf32>, tensor<1x8x64x64xf16>, tensor<1x512x64xf16>)
         outs(%e : tensor<8x4x64xf32>) {scale = 1.0 : f32} -> tensor<8x4x64xf32>
  return %k, %v, %o : tensor<1x8x64x64xf16>, tensor<1x512x64xf16>, tensor<8x4x64xf32>
}

// A cache that is read in its old state, too, is copied: the slots that are not written keep their tokens.
// CHECK-LABEL: func.func @old_cache_read_later(
// CHECK-SAME:    %[[C:[a-z0-9]+]]: memref<1x512x64xf16>
// CHECK:         %[[NEW:.+]] = memref.alloc
// CHECK:         memref.copy %[[C]], %[[NEW]]
// CHECK:         lm.cache_append {{.*}} outs(%[[NEW]] :
func.func @old_cache_read_later(%cache: tensor<1x512x64xf16>, %x: tensor<8x1x64xf32>, %position: index, %count: index)
    -> (tensor<1x512x64xf16>, tensor<1x512x64xf16>) {
  %c = lm.cache_append ins(%x, %position, %count : tensor<8x1x64xf32>) outs(%cache : tensor<1x512x64xf16>) -> tensor<1x512x64xf16>
  return %c, %cache : tensor<1x512x64xf16>, tensor<1x512x64xf16>
}
