// RUN: elutq-opt %s -convert-hlq-to-vector -split-input-file -verify-diagnostics

func.func @dynamic_columns(%x: memref<3x?xf32>, %t: memref<1x8x4x64xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>) {
  // expected-error @+1 {{'hlq.build_lut' op expected memref operands, a static number of columns and a multiple of 16 rows}}
  hlq.build_lut ins(%x : memref<3x?xf32>) outs(%t, %s, %u : memref<1x8x4x64xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>)
    {table_group = 32 : i64, lane = 0 : i32}
  return
}

// -----

func.func @dynamic_columns_codes(%x: memref<3x?xf32>, %e: memref<1x8x4x16xi8>, %s: memref<1x4x4xf32>, %u: memref<1x4x4xf32>, %o: memref<1x4x4xi32>) {
  // expected-error @+1 {{'hlq.quantize_rows' op expected memref operands, a static number of columns and a multiple of 16 rows}}
  hlq.quantize_rows ins(%x : memref<3x?xf32>) outs(%e, %s, %u, %o : memref<1x8x4x16xi8>, memref<1x4x4xf32>, memref<1x4x4xf32>, memref<1x4x4xi32>)
    {table_group = 32 : i64}
  return
}
