// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-tile-parallel,canonicalize,cse))" | FileCheck %s
// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-tile-parallel{min-work=100000}))" | FileCheck %s --check-prefix=MORE

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 32, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 2>
#kernel1 = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 4, n_tile = 1>

// A task is n_tile row blocks of the weights; it takes all rows of activations.
// CHECK-LABEL: func.func @lut_matmul(
// CHECK-SAME:    %[[T:.+]]: tensor<2x8x4x64xi8>
// CHECK:         scf.forall (%{{.+}}) = (0) to (4) step (2)
// CHECK:           hlq.lut_matmul ins(%[[T]], {{.*}} tensor<2x896xi8>) outs(%{{.+}} : tensor<8x32xf32>)
func.func @lut_matmul(%t: tensor<2x8x4x64xi8>, %s: tensor<2x4x4xf32>, %u: tensor<2x4x4xf32>, %p: tensor<4x896xi8>,
                      %init: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %y = hlq.lut_matmul ins(%t, %s, %u, %p : tensor<2x8x4x64xi8>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<4x896xi8>)
         outs(%init : tensor<8x64xf32>) {layout = #layout, kernel = #kernel, table_group = 32 : i64} -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// Four tasks are few: each takes 128 of 512 rows of activations. Of 128 rows it takes all.
// CHECK-LABEL: func.func @lut_matmul_rows(
// CHECK:         scf.forall (%{{.+}}, %{{.+}}) = (0, 0) to (128, 4) step (32, 1)
// CHECK:           hlq.lut_matmul ins(%{{.+}} tensor<32x8x4x64xi8>, {{.*}} tensor<1x896xi8>) outs(%{{.+}} : tensor<128x16xf32>)
// CHECK:         scf.forall (%{{.+}}) in (4)
// CHECK:           hlq.lut_matmul {{.*}} outs(%{{.+}} : tensor<128x16xf32>)
func.func @lut_matmul_rows(%t: tensor<128x8x4x64xi8>, %s: tensor<128x4x4xf32>, %u: tensor<128x4x4xf32>, %p: tensor<4x896xi8>, %init: tensor<512x64xf32>,
                           %t1: tensor<32x8x4x64xi8>, %s1: tensor<32x4x4xf32>, %u1: tensor<32x4x4xf32>, %init1: tensor<128x64xf32>)
    -> (tensor<512x64xf32>, tensor<128x64xf32>) {
  %y = hlq.lut_matmul ins(%t, %s, %u, %p : tensor<128x8x4x64xi8>, tensor<128x4x4xf32>, tensor<128x4x4xf32>, tensor<4x896xi8>)
         outs(%init : tensor<512x64xf32>) {layout = #layout, kernel = #kernel1, table_group = 32 : i64} -> tensor<512x64xf32>
  %y1 = hlq.lut_matmul ins(%t1, %s1, %u1, %p : tensor<32x8x4x64xi8>, tensor<32x4x4xf32>, tensor<32x4x4xf32>, tensor<4x896xi8>)
          outs(%init1 : tensor<128x64xf32>) {layout = #layout, kernel = #kernel1, table_group = 32 : i64} -> tensor<128x64xf32>
  return %y, %y1 : tensor<512x64xf32>, tensor<128x64xf32>
}

// Tables are built one block of rows per task.
// CHECK-LABEL: func.func @build_lut(
// CHECK:         scf.forall (%{{.+}}) in (2)
// CHECK:           hlq.build_lut ins(%{{.+}} : tensor<4x4096xf32>) outs({{.*}} : tensor<1x256x4x64xi8>,
func.func @build_lut(%x: tensor<8x4096xf32>, %t0: tensor<2x256x4x64xi8>, %s0: tensor<2x128x4xf32>, %u0: tensor<2x128x4xf32>) -> tensor<2x256x4x64xi8> {
  %t:3 = hlq.build_lut ins(%x : tensor<8x4096xf32>)
           outs(%t0, %s0, %u0 : tensor<2x256x4x64xi8>, tensor<2x128x4xf32>, tensor<2x128x4xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<2x256x4x64xi8>, tensor<2x128x4xf32>, tensor<2x128x4xf32>
  return %t#0 : tensor<2x256x4x64xi8>
}

// Of one block of rows, a task builds the tables of some table groups.
// CHECK-LABEL: func.func @build_one_block(
// CHECK:         scf.forall (%{{.+}}) = (0) to (128) step (8)
// CHECK:           hlq.build_lut ins(%{{.+}} : tensor<4x256xf32>) outs({{.*}} : tensor<1x16x4x64xi8>, tensor<1x8x4xf32>,
func.func @build_one_block(%x: tensor<4x4096xf32>, %t0: tensor<1x256x4x64xi8>, %s0: tensor<1x128x4xf32>, %u0: tensor<1x128x4xf32>) -> tensor<1x256x4x64xi8> {
  %t:3 = hlq.build_lut ins(%x : tensor<4x4096xf32>)
           outs(%t0, %s0, %u0 : tensor<1x256x4x64xi8>, tensor<1x128x4xf32>, tensor<1x128x4xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<1x256x4x64xi8>, tensor<1x128x4xf32>, tensor<1x128x4xf32>
  return %t#0 : tensor<1x256x4x64xi8>
}

// K = 4090 has no whole table groups.
// CHECK-LABEL: func.func @build_cut(
// CHECK-NOT:     scf.forall
// CHECK:         hlq.build_lut ins(%{{.+}} : tensor<1x4090xf32>)
func.func @build_cut(%x: tensor<1x4090xf32>, %t0: tensor<1x256x1x64xi8>, %s0: tensor<1x128x1xf32>, %u0: tensor<1x128x1xf32>) -> tensor<1x256x1x64xi8> {
  %t:3 = hlq.build_lut ins(%x : tensor<1x4090xf32>)
           outs(%t0, %s0, %u0 : tensor<1x256x1x64xi8>, tensor<1x128x1xf32>, tensor<1x128x1xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<1x256x1x64xi8>, tensor<1x128x1xf32>, tensor<1x128x1xf32>
  return %t#0 : tensor<1x256x1x64xi8>
}

// What only gives the tables their input is computed where they are built; what others read, too, is not.
// CHECK-LABEL: func.func @gated(
// CHECK-SAME:    %[[GATE:.+]]: tensor<1x2048xf32>, %[[UP:.+]]: tensor<1x2048xf32>, %[[E:.+]]: tensor<1x2048xf32>, %[[T:.+]]: tensor<1x128x1x64xi8>
// CHECK:         %[[ACTIVE:.+]] = linalg.exp ins(%[[GATE]] : tensor<1x2048xf32>)
// CHECK:         scf.forall (%{{.+}}) = (0) to (64) step (4)
// CHECK:           %[[PART:.+]] = tensor.extract_slice %[[ACTIVE]]
// CHECK:           %[[X:.+]] = linalg.mul ins(%[[PART]], %{{.+}} : tensor<1x128xf32>, tensor<1x128xf32>)
// CHECK:           hlq.build_lut ins(%[[X]] : tensor<1x128xf32>)
// CHECK:         return %{{.+}}, %[[ACTIVE]]
func.func @gated(%gate: tensor<1x2048xf32>, %up: tensor<1x2048xf32>, %e: tensor<1x2048xf32>, %t0: tensor<1x128x1x64xi8>, %s0: tensor<1x64x1xf32>,
                 %u0: tensor<1x64x1xf32>) -> (tensor<1x128x1x64xi8>, tensor<1x2048xf32>) {
  %active = linalg.exp ins(%gate : tensor<1x2048xf32>) outs(%e : tensor<1x2048xf32>) -> tensor<1x2048xf32>
  %x = linalg.mul ins(%active, %up : tensor<1x2048xf32>, tensor<1x2048xf32>) outs(%e : tensor<1x2048xf32>) -> tensor<1x2048xf32>
  %t:3 = hlq.build_lut ins(%x : tensor<1x2048xf32>)
           outs(%t0, %s0, %u0 : tensor<1x128x1x64xi8>, tensor<1x64x1xf32>, tensor<1x64x1xf32>) {table_group = 32 : i64, lane = 1 : i32}
           -> tensor<1x128x1x64xi8>, tensor<1x64x1xf32>, tensor<1x64x1xf32>
  return %t#0, %active : tensor<1x128x1x64xi8>, tensor<1x2048xf32>
}

// Attention: all heads that share a KV head, and as many rows as make a tile.
// CHECK-LABEL: func.func @attention(
// CHECK:         scf.forall (%{{.+}}) = (0) to (8) step (2)
// CHECK:           lm.attention {{.*}} outs(%{{.+}} : tensor<2x4x64xf32>)
func.func @attention(%q: tensor<8x4x64xf32>, %k: tensor<1x9x64x64xf16>, %v: tensor<1x576x64xf16>, %p: index, %i: tensor<8x4x64xf32>) -> tensor<8x4x64xf32> {
  %o = lm.attention ins(%q, %k, %v, %p : tensor<8x4x64xf32>, tensor<1x9x64x64xf16>, tensor<1x576x64xf16>)
         outs(%i : tensor<8x4x64xf32>) {scale = 1.250000e-01 : f32, window = 512 : i64} -> tensor<8x4x64xf32>
  return %o : tensor<8x4x64xf32>
}

// Parts: a KV head and a slot. So little to merge stays serial.
// CHECK-LABEL: func.func @parts(
// CHECK:         scf.forall (%{{.+}}, %{{.+}}) = (0, 0) to (4, 4) step (2, 1)
// CHECK:           lm.attention_parts {{.*}} outs(%{{.+}}, %{{.+}} : tensor<2x1x2x64xf32>, tensor<2x1x2x2xf32>)
// CHECK:         lm.merge_parts {{.*}} outs(%{{.+}} : tensor<1x4x64xf32>)
func.func @parts(%q: tensor<1x4x64xf32>, %k: tensor<2x8x64x64xf16>, %v: tensor<2x512x64xf16>, %p: index, %s: tensor<4x4x2x64xf32>,
                 %t: tensor<4x4x2x2xf32>, %i: tensor<1x4x64xf32>) -> tensor<1x4x64xf32> {
  %c0 = arith.constant 0 : index
  %a:2 = lm.attention_parts ins(%q, %k, %v, %p, %c0 : tensor<1x4x64xf32>, tensor<2x8x64x64xf16>, tensor<2x512x64xf16>)
           outs(%s, %t : tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>) {scale = 1.0 : f32, part = 64 : i64, slots = 4 : i64}
           -> tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>
  %o = lm.merge_parts ins(%a#0, %a#1, %p : tensor<4x4x2x64xf32>, tensor<4x4x2x2xf32>) outs(%i : tensor<1x4x64xf32>) {part = 64 : i64} -> tensor<1x4x64xf32>
  return %o : tensor<1x4x64xf32>
}

// The columns of a product: a task reads its weights once for all rows.
// CHECK-LABEL: func.func @product(
// CHECK:         scf.forall (%{{.+}}) = (0) to (1024) step (64)
// CHECK:           linalg.matmul ins({{.*}} : tensor<4x64xf32>, tensor<64x64xf32>)
// MORE-LABEL:  func.func @product(
// MORE:          scf.forall
func.func @product(%x: tensor<4x64xf32>, %w: tensor<64x1024xf32>, %init: tensor<4x1024xf32>) -> tensor<4x1024xf32> {
  %y = linalg.matmul ins(%x, %w : tensor<4x64xf32>, tensor<64x1024xf32>) outs(%init : tensor<4x1024xf32>) -> tensor<4x1024xf32>
  return %y : tensor<4x1024xf32>
}

// The rows of other ops with enough iterations; min-work says what is enough.
// CHECK-LABEL: func.func @rows(
// CHECK:         scf.forall (%{{.+}}) = (0) to (64) step (4)
// CHECK:           linalg.exp ins(%{{.+}} : tensor<4x1024xf32>)
// MORE-LABEL:  func.func @rows(
// MORE-NOT:      scf.forall
func.func @rows(%x: tensor<64x1024xf32>, %e: tensor<64x1024xf32>) -> tensor<64x1024xf32> {
  %r = linalg.exp ins(%x : tensor<64x1024xf32>) outs(%e : tensor<64x1024xf32>) -> tensor<64x1024xf32>
  return %r : tensor<64x1024xf32>
}

// Small ops, fills and dynamic shapes stay serial.
// CHECK-LABEL: func.func @serial(
// CHECK-NOT:     scf.forall
// CHECK:         return
func.func @serial(%x: tensor<4x64xf32>, %e: tensor<4x64xf32>, %f: tensor<64x1024xf32>, %d: tensor<?x1024xf32>)
    -> (tensor<4x64xf32>, tensor<64x1024xf32>, tensor<?x1024xf32>) {
  %zero = arith.constant 0.0 : f32
  %r = linalg.exp ins(%x : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
  %s = linalg.fill ins(%zero : f32) outs(%f : tensor<64x1024xf32>) -> tensor<64x1024xf32>
  %t = linalg.exp ins(%d : tensor<?x1024xf32>) outs(%d : tensor<?x1024xf32>) -> tensor<?x1024xf32>
  return %r, %s, %t : tensor<4x64xf32>, tensor<64x1024xf32>, tensor<?x1024xf32>
}
