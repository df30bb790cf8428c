// RUN: elutq-opt %s -split-input-file -hlq-select-kernel="isa=avx512vbmi algorithm=lut" -hlq-lower-linear | FileCheck %s

// Rows and columns are padded to whole blocks, and the padding is cut off.
// CHECK-LABEL: func.func @padded(
// CHECK-SAME:    %[[X:.+]]: tensor<11x40xf32>, %[[P:.+]]: tensor<2x20x8xi8>, %[[S:.+]]: tensor<20x2x2xf16>, %[[Z:.+]]: tensor<20x2xf16>
// CHECK:         %[[LUT:.+]]:3 = hlq.build_lut ins(%[[X]] : tensor<11x40xf32>) outs({{.*}} : tensor<2x4x6x64xi8>, tensor<2x2x6xf32>, tensor<2x2x6xf32>) {lane = 1 : i32, table_group = 32 : i64}
// CHECK:         %[[W:.+]] = hlq.pack %[[P]], %[[S]], %[[Z]] {{.*}} -> tensor<2x448xi8>
// CHECK:         %[[Y:.+]] = hlq.lut_matmul ins(%[[LUT]]#0, %[[LUT]]#1, %[[LUT]]#2, %[[W]] : {{.*}}) outs({{.*}} : tensor<12x32xf32>)
// CHECK:         tensor.extract_slice %[[Y]][0, 0] [11, 20] [1, 1] : tensor<12x32xf32> to tensor<11x20xf32>
func.func @padded(%x: tensor<11x40xf32>, %p: tensor<2x20x8xi8>, %s: tensor<20x2x2xf16>, %z: tensor<20x2xf16>) -> tensor<11x20xf32> {
  %init = tensor.empty() : tensor<11x20xf32>
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<11x40xf32>, tensor<2x20x8xi8>, tensor<20x2x2xf16>, tensor<20x2xf16>)
                  outs(%init : tensor<11x20xf32>) {group_size = 32 : i64} -> tensor<11x20xf32>
  return %y : tensor<11x20xf32>
}

// -----

// An odd number of groups of 16 is padded to whole steps of dword lanes.
// CHECK-LABEL: func.func @odd_groups_of_16(
// CHECK:         hlq.build_lut {{.*}} outs({{.*}} : tensor<1x4x1x64xi8>, tensor<1x4x1xf32>, tensor<1x4x1xf32>)
// CHECK:         hlq.lut_matmul
// CHECK-NOT:     tensor.extract_slice
func.func @odd_groups_of_16(%x: tensor<1x48xf32>, %p: tensor<2x16x6xi8>, %s: tensor<16x3x2xf16>, %z: tensor<16x3xf16>) -> tensor<1x16xf32> {
  %init = tensor.empty() : tensor<1x16xf32>
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x48xf32>, tensor<2x16x6xi8>, tensor<16x3x2xf16>, tensor<16x3xf16>)
                  outs(%init : tensor<1x16xf32>) {group_size = 16 : i64} -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}

// -----

// Products of the same activations share a table, whatever their number of rows and bits.
// CHECK-LABEL: func.func @shared_table(
// CHECK:         hlq.build_lut
// CHECK-NOT:     hlq.build_lut
// CHECK-COUNT-2: hlq.lut_matmul
func.func @shared_table(%x: tensor<1x32xf32>, %p: tensor<2x16x4xi8>, %s: tensor<16x1x2xf16>, %z: tensor<16x1xf16>,
                        %p1: tensor<3x32x4xi8>, %s1: tensor<32x1x3xf16>, %z1: tensor<32x1xf16>) -> (tensor<1x16xf32>, tensor<1x32xf32>) {
  %init = tensor.empty() : tensor<1x16xf32>
  %init1 = tensor.empty() : tensor<1x32xf32>
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<1x16xf32>) {group_size = 32 : i64} -> tensor<1x16xf32>
  %y1 = hlq.linear ins(%x, %p1, %s1, %z1 : tensor<1x32xf32>, tensor<3x32x4xi8>, tensor<32x1x3xf16>, tensor<32x1xf16>)
                  outs(%init1 : tensor<1x32xf32>) {group_size = 32 : i64} -> tensor<1x32xf32>
  return %y, %y1 : tensor<1x16xf32>, tensor<1x32xf32>
}

// -----

// A tied embedding and head share one packed matrix.
// CHECK-LABEL: func.func @tied(
// CHECK:         %[[W:.+]] = hlq.pack
// CHECK-NOT:     hlq.pack %
// CHECK:         hlq.packed_gather ins(%{{.+}}, %[[W]]
// CHECK:         hlq.lut_matmul ins({{.*}}, %[[W]] :
func.func @tied(%ids: tensor<1xi64>, %p: tensor<2x16x4xi8>, %s: tensor<16x1x2xf16>, %z: tensor<16x1xf16>) -> tensor<1x16xf32> {
  %e = tensor.empty() : tensor<1x32xf32>
  %init = tensor.empty() : tensor<1x16xf32>
  %x = hlq.gather ins(%ids, %p, %s, %z : tensor<1xi64>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%e : tensor<1x32xf32>) {group_size = 32 : i64} -> tensor<1x32xf32>
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<1x16xf32>) {group_size = 32 : i64} -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}

// -----

#wide = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 1, table_bits = 16>

// Tables of 16 bits have two bytes per entry.
// CHECK-LABEL: func.func @wide_tables(
// CHECK:         hlq.build_lut {{.*}} outs({{.*}} : tensor<1x2x1x128xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
func.func @wide_tables(%x: tensor<1x32xf32>, %p: tensor<2x16x4xi8>, %s: tensor<16x1x2xf16>, %z: tensor<16x1xf16>) -> tensor<1x16xf32> {
  %init = tensor.empty() : tensor<1x16xf32>
  %y = hlq.linear ins(%x, %p, %s, %z : tensor<1x32xf32>, tensor<2x16x4xi8>, tensor<16x1x2xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<1x16xf32>) {group_size = 32 : i64, hlq.kernel = #wide} -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}

// -----

// Codes of 8 bits: activations are rounded once for both products, and a tied embedding reads the same matrix.
// CHECK-LABEL: func.func @codes(
// CHECK-SAME:    %[[X:.+]]: tensor<9x40xf32>, %[[P:.+]]: tensor<20x64xi8>
// CHECK:         %[[E:.+]]:4 = hlq.quantize_rows ins(%[[X]] : tensor<9x40xf32>) outs({{.*}} : tensor<2x4x5x16xi8>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xi32>) {table_group = 32 : i64}
// CHECK:         %[[W:.+]] = hlq.pack %[[P]]
// CHECK:         %[[Y:.+]] = hlq.code_matmul ins(%[[E]]#0, %[[E]]#1, %[[E]]#2, %[[E]]#3, %[[W]] : {{.*}}) outs({{.*}} : tensor<10x32xf32>)
// CHECK:         tensor.extract_slice %[[Y]][0, 0] [9, 20] [1, 1]
// CHECK:         hlq.code_matmul ins(%[[E]]#0
// CHECK:         hlq.packed_gather ins(%{{.+}}, %[[W]]
func.func @codes(%x: tensor<9x40xf32>, %p: tensor<20x64xi8>, %s: tensor<20x2x1xf16>, %z: tensor<20x2xf16>, %q: tensor<16x64xi8>,
                 %t: tensor<16x2x1xf16>, %ids: tensor<1xi64>) -> (tensor<9x20xf32>, tensor<9x16xf32>, tensor<1x40xf32>) {
  %i0 = tensor.empty() : tensor<9x20xf32>
  %i1 = tensor.empty() : tensor<9x16xf32>
  %i2 = tensor.empty() : tensor<1x40xf32>
  %y0 = hlq.linear ins(%x, %p, %s, %z : tensor<9x40xf32>, tensor<20x64xi8>, tensor<20x2x1xf16>, tensor<20x2xf16>)
                   outs(%i0 : tensor<9x20xf32>) {group_size = 32 : i64} -> tensor<9x20xf32>
  %y1 = hlq.linear ins(%x, %q, %t : tensor<9x40xf32>, tensor<16x64xi8>, tensor<16x2x1xf16>)
                   outs(%i1 : tensor<9x16xf32>) {group_size = 32 : i64, zero_point = 128 : i64} -> tensor<9x16xf32>
  %y2 = hlq.gather ins(%ids, %p, %s, %z : tensor<1xi64>, tensor<20x64xi8>, tensor<20x2x1xf16>, tensor<20x2xf16>)
                   outs(%i2 : tensor<1x40xf32>) {group_size = 32 : i64} -> tensor<1x40xf32>
  return %y0, %y1, %y2 : tensor<9x20xf32>, tensor<9x16xf32>, tensor<1x40xf32>
}

// -----

// Products with codes made from planes of dword lanes: words, transposed; two products share what is rounded.
// CHECK-LABEL: func.func @dot(
// CHECK-SAME:    %[[X:.+]]: tensor<64x128xf32>
// CHECK:         %[[E:.+]]:4 = hlq.quantize_rows ins(%[[X]] : tensor<64x128xf32>) outs({{.*}} : tensor<8x8x8x32xi8>, {{.*}}) {table_group = 128 : i64, transposed, words}
// CHECK-NOT:     hlq.quantize_rows
// CHECK-COUNT-2: hlq.code_matmul ins(%[[E]]#0, %[[E]]#1, %[[E]]#2, %[[E]]#3, %{{.+}} : {{.*}}) outs({{.*}} : tensor<64x16xf32>)
#dot = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 8, n_tile = 1, table_bits = 16>
func.func @dot(%x: tensor<64x128xf32>, %p: tensor<4x16x16xi8>, %q: tensor<4x16x16xi8>, %s: tensor<16x1x4xf16>, %z: tensor<16x1xf16>) -> (tensor<64x16xf32>, tensor<64x16xf32>) {
  %init = tensor.empty() : tensor<64x16xf32>
  %0 = hlq.linear ins(%x, %p, %s, %z : tensor<64x128xf32>, tensor<4x16x16xi8>, tensor<16x1x4xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<64x16xf32>) {group_size = 128 : i64, hlq.kernel = #dot} -> tensor<64x16xf32>
  %1 = hlq.linear ins(%x, %q, %s, %z : tensor<64x128xf32>, tensor<4x16x16xi8>, tensor<16x1x4xf16>, tensor<16x1xf16>)
                  outs(%init : tensor<64x16xf32>) {group_size = 128 : i64, hlq.kernel = #dot} -> tensor<64x16xf32>
  return %0, %1 : tensor<64x16xf32>, tensor<64x16xf32>
}

// -----

// Tiles take the entries of a table group row by row.
// CHECK-LABEL: func.func @tiles(
// CHECK:         %[[E:.+]]:4 = hlq.quantize_rows {{.*}} outs({{.*}} : tensor<4x2x16x256xi8>, {{.*}}) {by_row, table_group = 128 : i64, transposed, words}
// CHECK:         hlq.code_matmul ins(%[[E]]#0, {{.*}}) outs({{.*}} : tensor<64x16xf32>)
#tiles = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 16, n_tile = 1, table_bits = 16>
func.func @tiles(%x: tensor<64x256xf32>, %p: tensor<4x16x32xi8>, %s: tensor<16x2x4xf16>, %z: tensor<16x2xf16>) -> tensor<64x16xf32> {
  %init = tensor.empty() : tensor<64x16xf32>
  %0 = hlq.linear ins(%x, %p, %s, %z : tensor<64x256xf32>, tensor<4x16x32xi8>, tensor<16x2x4xf16>, tensor<16x2xf16>)
                  outs(%init : tensor<64x16xf32>) {group_size = 128 : i64, hlq.kernel = #tiles} -> tensor<64x16xf32>
  return %0 : tensor<64x16xf32>
}
