// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-tile-parallel{min-work=64},canonicalize,cse))" | FileCheck %s

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 2>
#rows = affine_map<(h, m, d) -> (m, h, d)>
#id = affine_map<(h, m, d) -> (h, m, d)>

// Of 16 rows, only %count reach the cache: the heads' loop stays whole, the rows' loop ends there, a product takes so many blocks.
// CHECK:       #[[$BLOCKS:.+]] = affine_map<()[s0] -> (s0 ceildiv 4)>
// CHECK-LABEL: func.func @short_step(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<16x128xf32>, %[[COUNT:[^:]+]]: index
// CHECK-DAG:     %[[MB:.+]] = affine.apply #[[$BLOCKS]]()[%[[COUNT]]]
// CHECK:         scf.forall (%{{.+}}) in (%[[MB]]) shared_outs
// CHECK:           hlq.build_lut
// CHECK:         scf.forall (%{{.+}}) = (0) to (4) step (2)
// CHECK:           hlq.lut_matmul {{.*}}tensor<?x8x4x64xi8>, {{.*}} outs(%{{.+}} : tensor<?x32xf32>)
// CHECK:         scf.forall (%{{.+}}) in (%[[COUNT]]) shared_outs
// CHECK:           linalg.generic {{.*}} ins(%{{.+}} : tensor<1x4x16xf32>) outs(%{{.+}} : tensor<4x1x16xf32>)
func.func @short_step(%x: tensor<16x128xf32>, %count: index, %position: index, %cache: tensor<4x64x16xf16>, %p: tensor<4x896xi8>,
                      %t0: tensor<4x8x4x64xi8>, %s0: tensor<4x4x4xf32>, %u0: tensor<4x4x4xf32>) -> tensor<4x64x16xf16> {
  %t:3 = hlq.build_lut ins(%x : tensor<16x128xf32>) outs(%t0, %s0, %u0 : tensor<4x8x4x64xi8>, tensor<4x4x4xf32>, tensor<4x4x4xf32>)
           {table_group = 32 : i64, lane = 1 : i32} -> tensor<4x8x4x64xi8>, tensor<4x4x4xf32>, tensor<4x4x4xf32>
  %init = tensor.empty() : tensor<16x64xf32>
  %y = hlq.lut_matmul ins(%t#0, %t#1, %t#2, %p : tensor<4x8x4x64xi8>, tensor<4x4x4xf32>, tensor<4x4x4xf32>, tensor<4x896xi8>)
         outs(%init : tensor<16x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<16x64xf32>
  %heads = tensor.expand_shape %y [[0], [1, 2]] output_shape [16, 4, 16] : tensor<16x64xf32> into tensor<16x4x16xf32>
  %e = tensor.empty() : tensor<4x16x16xf32>
  %first = linalg.generic {indexing_maps = [#rows, #id], iterator_types = ["parallel", "parallel", "parallel"]}
             ins(%heads : tensor<16x4x16xf32>) outs(%e : tensor<4x16x16xf32>) {
  ^bb0(%in: f32, %out: f32):
    %square = arith.mulf %in, %in : f32
    linalg.yield %square : f32
  } -> tensor<4x16x16xf32>
  %b = tensor.empty() : tensor<16x4x16xf32>
  %back = linalg.transpose ins(%first : tensor<4x16x16xf32>) outs(%b : tensor<16x4x16xf32>) permutation = [1, 0, 2]
  %c = lm.cache_append ins(%back, %position, %count : tensor<16x4x16xf32>) outs(%cache : tensor<4x64x16xf16>) -> tensor<4x64x16xf16>
  return %c : tensor<4x64x16xf16>
}

// The logits are those of the last row. What adds rows up needs all of them.
// CHECK-LABEL: func.func @last_row(
// CHECK-SAME:    %[[COUNT:[^:]+]]: index
// CHECK:         scf.forall (%{{.+}}) in (%[[COUNT]]) shared_outs
// CHECK:           linalg.exp
// CHECK:         scf.forall (%{{.+}}) in (16) shared_outs
// CHECK:           linalg.sqrt
// CHECK:         linalg.reduce
func.func @last_row(%x: tensor<16x64xf32>, %count: index, %position: index, %keys: tensor<16x4x16xf32>, %cache: tensor<4x64x16xf16>)
    -> (tensor<1x64xf32>, tensor<64xf32>, tensor<4x64x16xf16>) {
  %c1 = arith.constant 1 : index
  %e = tensor.empty() : tensor<16x64xf32>
  %f = tensor.empty() : tensor<64xf32>
  %y = linalg.exp ins(%x : tensor<16x64xf32>) outs(%e : tensor<16x64xf32>) -> tensor<16x64xf32>
  %z = linalg.sqrt ins(%x : tensor<16x64xf32>) outs(%e : tensor<16x64xf32>) -> tensor<16x64xf32>
  %sum = linalg.reduce {arith.addf} ins(%z : tensor<16x64xf32>) outs(%f : tensor<64xf32>) dimensions = [0]
  %number = arith.subi %count, %c1 : index
  %last = tensor.extract_slice %y[%number, 0] [1, 64] [1, 1] : tensor<16x64xf32> to tensor<1x64xf32>
  %c = lm.cache_append ins(%keys, %position, %count : tensor<16x4x16xf32>) outs(%cache : tensor<4x64x16xf16>) -> tensor<4x64x16xf16>
  return %last, %sum, %c : tensor<1x64xf32>, tensor<64xf32>, tensor<4x64x16xf16>
}

// A product of one task has no loop around it, and takes all rows.
// CHECK-LABEL: func.func @one_task(
// CHECK:         hlq.lut_matmul ins({{.*}} : tensor<4x8x4x64xi8>, {{.*}} outs(%{{.+}} : tensor<16x32xf32>)
func.func @one_task(%t: tensor<4x8x4x64xi8>, %s: tensor<4x4x4xf32>, %u: tensor<4x4x4xf32>, %p: tensor<2x896xi8>, %count: index, %position: index,
                    %cache: tensor<4x1x8x64xf16>) -> tensor<4x1x8x64xf16> {
  %init = tensor.empty() : tensor<16x32xf32>
  %y = hlq.lut_matmul ins(%t, %s, %u, %p : tensor<4x8x4x64xi8>, tensor<4x4x4xf32>, tensor<4x4x4xf32>, tensor<2x896xi8>)
         outs(%init : tensor<16x32xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<16x32xf32>
  %heads = tensor.expand_shape %y [[0], [1, 2]] output_shape [16, 4, 8] : tensor<16x32xf32> into tensor<16x4x8xf32>
  %c = lm.cache_append ins(%heads, %position, %count : tensor<16x4x8xf32>) outs(%cache : tensor<4x1x8x64xf16>) -> tensor<4x1x8x64xf16>
  return %c : tensor<4x1x8x64xf16>
}
