// RUN: elutq-opt %s -split-input-file -transform-interpreter -canonicalize -cse | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 2>

// A tile of row blocks reads its packed blocks and writes its columns; a tile of m-blocks reads its tables and writes its rows.
// CHECK:       #[[$BY2:.+]] = affine_map<(d0) -> (d0 * 2)>
// CHECK:       #[[$BY4:.+]] = affine_map<(d0) -> (d0 * 4)>
// CHECK:       #[[$BY32:.+]] = affine_map<(d0) -> (d0 * 32)>
// CHECK-LABEL: func.func @lut_matmul(
// CHECK-SAME:    %[[T:[a-z0-9]+]]: tensor<2x8x4x64xi8>, %[[S:[a-z0-9]+]]: tensor<2x4x4xf32>, %[[U:[a-z0-9]+]]: tensor<2x4x4xf32>, %[[P:[a-z0-9]+]]: tensor<4x896xi8>
// CHECK:         scf.forall (%[[I:.+]], %[[J:.+]]) in (2, 2) shared_outs(%[[OUT:.+]] = %{{.+}})
// CHECK-DAG:       %[[NB:.+]] = affine.apply #[[$BY2]](%[[J]])
// CHECK-DAG:       %[[ROW:.+]] = affine.apply #[[$BY4]](%[[I]])
// CHECK-DAG:       %[[COL:.+]] = affine.apply #[[$BY32]](%[[J]])
// CHECK-DAG:       %[[TT:.+]] = tensor.extract_slice %[[T]][%[[I]], 0, 0, 0] [1, 8, 4, 64]
// CHECK-DAG:       %[[PT:.+]] = tensor.extract_slice %[[P]][%[[NB]], 0] [2, 896]
// CHECK-DAG:       %[[OT:.+]] = tensor.extract_slice %[[OUT]][%[[ROW]], %[[COL]]] [4, 32]
// CHECK:           %[[Y:.+]] = hlq.lut_matmul ins(%[[TT]], %{{.+}}, %{{.+}}, %[[PT]] : {{.*}}) outs(%[[OT]] : tensor<4x32xf32>)
// CHECK:           tensor.parallel_insert_slice %[[Y]] into %[[OUT]][%[[ROW]], %[[COL]]] [4, 32]
func.func @lut_matmul(%t: tensor<2x8x4x64xi8>, %s: tensor<2x4x4xf32>, %u: tensor<2x4x4xf32>, %p: tensor<4x896xi8>,
                      %init: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %y = hlq.lut_matmul ins(%t, %s, %u, %p : tensor<2x8x4x64xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<4x896xi8>)
         outs(%init : tensor<8x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["hlq.lut_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [1, 2] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// The last block of rows is shorter: its tile has the rows that are left.
// CHECK:       #[[$ROWS:.+]] = affine_map<(d0) -> (d0 * -4 + 7, 4)>
// CHECK-LABEL: func.func @build_lut(
// CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<7x128xf32>
// CHECK:         scf.forall (%[[I:.+]]) in (2)
// CHECK:           %[[ROWS:.+]] = affine.min #[[$ROWS]](%[[I]])
// CHECK:           %[[XT:.+]] = tensor.extract_slice %[[X]][%{{.+}}, 0] [%[[ROWS]], 128]
// CHECK:           hlq.build_lut ins(%[[XT]] : tensor<?x128xf32>) outs({{.*}} : tensor<1x8x4x64xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>)
func.func @build_lut(%x: tensor<7x128xf32>, %t0: tensor<2x8x4x64xi8>, %s0: tensor<2x4x4xf32>, %u0: tensor<2x4x4xf32>) -> tensor<2x8x4x64xi8> {
  %t:3 = hlq.build_lut ins(%x : tensor<7x128xf32>)
           outs(%t0, %s0, %u0 : tensor<2x8x4x64xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<2x8x4x64xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>
  return %t#0 : tensor<2x8x4x64xi8>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["hlq.build_lut"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [1] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

#codes = #hlq.layout<lane = dword, rows = 16, bits = 8, group_size = 32, params = uniform, param_type = f16>
#dot = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 4, n_tile = 2>

// Offsets are cut like scales and sums.
// CHECK-LABEL: func.func @code_matmul(
// CHECK-SAME:    %{{[a-z0-9]+}}: tensor<2x8x4x16xi8>, %{{[a-z0-9]+}}: tensor<2x4x4xf32>, %{{[a-z0-9]+}}: tensor<2x4x4xf32>, %[[O:[a-z0-9]+]]: tensor<2x4x4xi32>, %[[P:[a-z0-9]+]]: tensor<4x2304xi8>
// CHECK:         scf.forall (%[[I:.+]], %[[J:.+]]) in (2, 2)
// CHECK-DAG:       %[[OT:.+]] = tensor.extract_slice %[[O]][%[[I]], 0, 0] [1, 4, 4]
// CHECK-DAG:       %[[PT:.+]] = tensor.extract_slice %[[P]][%{{.+}}, 0] [2, 2304]
// CHECK:           hlq.code_matmul ins(%{{.+}}, %{{.+}}, %{{.+}}, %[[OT]], %[[PT]] : {{.*}}) outs(%{{.+}} : tensor<4x32xf32>)
func.func @code_matmul(%e: tensor<2x8x4x16xi8>, %s: tensor<2x4x4xf32>, %u: tensor<2x4x4xf32>, %o: tensor<2x4x4xi32>,
                       %p: tensor<4x2304xi8>, %init: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %y = hlq.code_matmul ins(%e, %s, %u, %o, %p : tensor<2x8x4x16xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xi32>, tensor<4x2304xi8>)
         outs(%init : tensor<8x64xf32>) {layout = #codes, kernel = #dot, table_group = 32 : i64} -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["hlq.code_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [1, 2] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// CHECK:       #[[$ROWS:.+]] = affine_map<(d0) -> (d0 * -4 + 7, 4)>
// CHECK-LABEL: func.func @quantize_rows(
// CHECK:         scf.forall (%[[I:.+]]) in (2)
// CHECK:           %[[ROWS:.+]] = affine.min #[[$ROWS]](%[[I]])
// CHECK:           hlq.quantize_rows ins({{.*}} : tensor<?x128xf32>) outs({{.*}} : tensor<1x8x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>)
func.func @quantize_rows(%x: tensor<7x128xf32>, %e0: tensor<2x8x4x32xi8>, %s0: tensor<2x4x4xf32>, %u0: tensor<2x4x4xf32>,
                         %o0: tensor<2x4x4xi32>) -> tensor<2x8x4x32xi8> {
  %e:4 = hlq.quantize_rows ins(%x : tensor<7x128xf32>)
           outs(%e0, %s0, %u0, %o0 : tensor<2x8x4x32xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xi32>) {table_group = 32 : i64}
           -> tensor<2x8x4x32xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xi32>
  return %e#0 : tensor<2x8x4x32xi8>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["hlq.quantize_rows"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [1] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// A tile of table groups reads their columns, and writes their chunks, scales and sums.
// CHECK:       #[[$COLUMNS:.+]] = affine_map<(d0) -> (d0 * 64)>
// CHECK:       #[[$CHUNKS:.+]] = affine_map<(d0) -> (d0 * 4)>
// CHECK-LABEL: func.func @build_lut_groups(
// CHECK-SAME:    %[[X:[a-z0-9]+]]: tensor<1x128xf32>
// CHECK:         scf.forall (%[[I:.+]]) in (2)
// CHECK-DAG:       %[[COLUMN:.+]] = affine.apply #[[$COLUMNS]](%[[I]])
// CHECK-DAG:       %[[CHUNK:.+]] = affine.apply #[[$CHUNKS]](%[[I]])
// CHECK-DAG:       tensor.extract_slice %[[X]][0, %[[COLUMN]]] [1, 64]
// CHECK:           hlq.build_lut {{.*}} outs({{.*}} : tensor<1x4x1x64xi8>, tensor<1x2x1xf32>, tensor<1x2x1xf32>)
// CHECK:           tensor.parallel_insert_slice %{{.+}}#0 into %{{.+}}[0, %[[CHUNK]], 0, 0] [1, 4, 1, 64]
func.func @build_lut_groups(%x: tensor<1x128xf32>, %t0: tensor<1x8x1x64xi8>, %s0: tensor<1x4x1xf32>, %u0: tensor<1x4x1xf32>) -> tensor<1x8x1x64xi8> {
  %t:3 = hlq.build_lut ins(%x : tensor<1x128xf32>)
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

// -----

// Entries by row are cut like scales and sums.
// CHECK-LABEL: func.func @quantize_rows_by_row(
// CHECK:         scf.forall (%[[I:.+]]) in (2)
// CHECK:           hlq.quantize_rows ins({{.*}} : tensor<4x64xf32>) outs({{.*}} : tensor<1x2x4x32xi8>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xi32>)
func.func @quantize_rows_by_row(%x: tensor<4x128xf32>, %e0: tensor<1x4x4x32xi8>, %s0: tensor<1x4x4xf32>, %u0: tensor<1x4x4xf32>,
                                %o0: tensor<1x4x4xi32>) -> tensor<1x4x4x32xi8> {
  %e:4 = hlq.quantize_rows ins(%x : tensor<4x128xf32>)
           outs(%e0, %s0, %u0, %o0 : tensor<1x4x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>) {table_group = 32 : i64, by_row}
           -> tensor<1x4x4x32xi8>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xi32>
  return %e#0 : tensor<1x4x4x32xi8>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["hlq.quantize_rows"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %forall = transform.structured.tile_using_forall %op tile_sizes [0, 2] : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
