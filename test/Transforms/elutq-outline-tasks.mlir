// RUN: elutq-opt %s -split-input-file -elutq-outline-tasks -canonicalize -cse | FileCheck %s
// RUN: elutq-opt %s -split-input-file -elutq-outline-tasks | FileCheck %s --check-prefix=MERGED

// Loops on different memory are one parallel call of all their iterations; the task runs its part of each.
// CHECK:       memref.global "private" constant @independent_args_0 : memref<2xi64> = dense<[64, 128]>
// CHECK-LABEL: func.func @independent(
// CHECK:         %[[TASK:.+]] = constant @independent_task_0
// CHECK:         call @elutq_parallel_for(%[[TASK]], %c6, %{{.+}})
// CHECK-NOT:     scf.forall
// CHECK-LABEL: func.func private @independent_task_0(
// CHECK-SAME:    %[[BEGIN:[^:]+]]: index, %[[END:[^:]+]]: index,
// CHECK:         %[[END4:.+]] = arith.minsi %[[END]], %c4
// CHECK:         scf.for %{{.+}} = %{{.+}} to %[[END4]] step %c1
// CHECK:         %[[BEGIN4:.+]] = arith.maxsi %[[BEGIN]], %c4
// CHECK:         scf.for %{{.+}} = %[[BEGIN4]] to
func.func @independent(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                       %cache: memref<64xi8>, %result: memref<1xf32>) {
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %f = arith.constant 1.0 : f32
  %a = memref.view %arena[%c64][] : memref<256xi8> to memref<4xf32>
  scf.forall (%i) in (4) {
    memref.store %f, %a[%i] : memref<4xf32>
  }
  %b = memref.view %arena[%c128][] : memref<256xi8> to memref<2xf32>
  scf.forall (%i) in (2) {
    memref.store %f, %b[%i] : memref<2xf32>
  }
  return
}

// -----

// A loop that reads what another writes is a call of its own, behind it.
// CHECK-LABEL: func.func @dependent(
// CHECK-DAG:     %[[FIRST:.+]] = constant @dependent_task_0
// CHECK-DAG:     %[[SECOND:.+]] = constant @dependent_task_1
// CHECK:         call @elutq_parallel_for(%[[FIRST]], %c4,
// CHECK:         call @elutq_parallel_for(%[[SECOND]], %c2,
func.func @dependent(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                     %cache: memref<64xi8>, %result: memref<1xf32>) {
  %c64 = arith.constant 64 : index
  %c72 = arith.constant 72 : index
  %f = arith.constant 1.0 : f32
  %a = memref.view %arena[%c64][] : memref<256xi8> to memref<4xf32>
  scf.forall (%i) in (4) {
    memref.store %f, %a[%i] : memref<4xf32>
  }
  %b = memref.view %arena[%c72][] : memref<256xi8> to memref<2xf32>
  scf.forall (%i) in (2) {
    %x = memref.load %b[%i] : memref<2xf32>
    %y = arith.addf %x, %f : f32
    memref.store %y, %b[%i] : memref<2xf32>
  }
  return
}

// -----

// Serial ops are one iteration, and here only give the result, which the caller may not want. The position comes from the
// header, the result's address, too.
// CHECK-LABEL: func.func @serial(
// CHECK-SAME:    %{{.+}}: memref<1xi64>, %{{[^:]+}}: index, %[[POSITION:[^:]+]]: index, %[[ARENA:[^:]+]]: memref<64xi8>
// CHECK:         %[[HEADER:.+]] = memref.view %[[ARENA]][%c0][] : memref<64xi8> to memref<8xi64>
// CHECK:         %[[WORD:.+]] = arith.index_cast %[[POSITION]] : index to i64
// CHECK:         memref.store %[[WORD]], %[[HEADER]][%c1]
// CHECK:         %[[WANTED:.+]] = arith.cmpi ne, %{{.+}}, %c0 : index
// CHECK:         scf.if %[[WANTED]] {
// CHECK:           call @elutq_parallel_for(%{{.+}}, %c1,
// CHECK-LABEL: func.func private @serial_task_0(
// CHECK:         memref.load %{{.+}}[%c1] : memref<8xi64>
// CHECK:         llvm.inttoptr
func.func @serial(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<64xi8>, %weights: memref<64xi8>,
                  %cache: memref<64xi8>, %result: memref<1xi64>) {
  %c0 = arith.constant 0 : index
  %p = arith.index_cast %position : index to i64
  memref.store %p, %result[%c0] : memref<1xi64>
  return
}

// -----

// Layers differ in the offsets of their arguments only: one function is left.
// MERGED-DAG:    memref.global "private" constant @layers_args_0 : memref<2xi64> = dense<[0, 64]>
// MERGED-DAG:    memref.global "private" constant @layers_args_1 : memref<2xi64> = dense<64>
// MERGED-LABEL:  func.func @layers(
// MERGED-COUNT-2: constant @layers_task_0
// MERGED-LABEL:  func.func private @layers_task_0(
// MERGED-NOT:    @layers_task_1(
func.func @layers(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<128xi8>,
                  %cache: memref<64xi8>, %result: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %x = memref.view %arena[%c64][] : memref<256xi8> to memref<4xf32>
  %w0 = memref.view %weights[%c0][] : memref<128xi8> to memref<4xf32>
  %w1 = memref.view %weights[%c64][] : memref<128xi8> to memref<4xf32>
  scf.forall (%i) in (4) {
    %w = memref.load %w0[%i] : memref<4xf32>
    memref.store %w, %x[%i] : memref<4xf32>
  }
  scf.forall (%i) in (4) {
    %w = memref.load %w1[%i] : memref<4xf32>
    memref.store %w, %x[%i] : memref<4xf32>
  }
  return
}

// -----

// What follows the last write to the cache is skipped where the result is not wanted, and so is what only starts the result
// before. `elutq.tasks` tells ops and nodes.
// CHECK:       elutq.tasks = {cached = ["elementwise node/first", "elementwise node/second", "elementwise node/start", "elementwise"]}
// CHECK-LABEL: func.func @cached(
// CHECK:         call @elutq_parallel_for(%{{.+}}, %c4,
// CHECK:         call @elutq_parallel_for(%{{.+}}, %c1,
// CHECK:         scf.if
// CHECK:           call @elutq_parallel_for(%{{.+}}, %c1,
// CHECK:           call @elutq_parallel_for(%{{.+}}, %c4,
// CHECK:         }
// CHECK-NEXT:    return
func.func @cached(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                  %cache: memref<64xi8>, %result: memref<4xf32>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %f = arith.constant 1.0 : f32
  %x = memref.view %arena[%c64][] : memref<256xi8> to memref<4xf32>
  %k = memref.view %cache[%c0][] : memref<64xi8> to memref<4xf32>
  scf.forall (%i) in (4) {
    %row = memref.subview %x[%i] [1] [1] : memref<4xf32> to memref<1xf32, strided<[1], offset: ?>>
    linalg.fill ins(%f : f32) outs(%row : memref<1xf32, strided<[1], offset: ?>>) loc("node/first")
  }
  linalg.fill ins(%f : f32) outs(%result : memref<4xf32>) loc("node/start")
  linalg.copy ins(%x : memref<4xf32>) outs(%k : memref<4xf32>) loc("node/second")
  scf.forall (%i) in (4) {
    %v = memref.load %x[%i] : memref<4xf32>
    memref.store %v, %result[%i] : memref<4xf32>
  }
  return
}

// -----

// An upper bound may be a number that the entry computes: the call computes it again, the task from the header.
// CHECK-LABEL: func.func @short_step(
// CHECK-SAME:    %{{.+}}: memref<1xi64>, %[[COUNT:[^:]+]]: index
// CHECK:         %[[TRIPS:.+]] = arith.divui
// CHECK:         %[[N:.+]] = arith.addi %[[TRIPS]], %c2
// CHECK:         call @elutq_parallel_for(%{{.+}}, %[[N]],
// CHECK-LABEL: func.func private @short_step_task_0(
// CHECK:         %[[TRIPS:.+]] = arith.divui
// CHECK:         arith.minsi %{{.+}}, %[[TRIPS]]
// CHECK:         arith.maxsi %{{.+}}, %[[TRIPS]]
func.func @short_step(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                      %cache: memref<64xi8>, %result: memref<1xf32>) {
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %f = arith.constant 1.0 : f32
  %a = memref.view %arena[%c64][] : memref<256xi8> to memref<16xf32>
  scf.forall (%i) = (0) to (%count) step (4) {
    memref.store %f, %a[%i] : memref<16xf32>
  }
  %b = memref.view %arena[%c128][] : memref<256xi8> to memref<2xf32>
  scf.forall (%i) in (2) {
    memref.store %f, %b[%i] : memref<2xf32>
  }
  return
}

// -----

// Products by tiles of other rows or columns are tasks of their own: a function has AMX's registers in one shape. Other products join.
// CHECK-LABEL: func.func @tiles(
// CHECK-COUNT-3: call @elutq_parallel_for(
// CHECK-NOT:     call @elutq_parallel_for(
#planes = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 64, params = hlq, param_type = f16>
#four = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 4, n_tile = 1>
#two = #hlq.kernel<isa = "avx512amx", algorithm = "dot", m_tile = 2, n_tile = 1>
#dot = #hlq.kernel<isa = "avx512vbmi", algorithm = "dot", m_tile = 2, n_tile = 1>
func.func @tiles(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<8192xi8>, %weights: memref<384xi8>, %cache: memref<64xi8>,
                 %result: memref<1xf32>) {
  %c64 = arith.constant 64 : index
  %c0 = arith.constant 0 : index
  %c1024 = arith.constant 1024 : index
  %c2048 = arith.constant 2048 : index
  %c4096 = arith.constant 4096 : index
  %p = memref.view %weights[%c0][] : memref<384xi8> to memref<1x384xi8>
  %e = memref.view %arena[%c64][] : memref<8192xi8> to memref<1x1x4x64xi8>
  %s = memref.view %arena[%c1024][] : memref<8192xi8> to memref<1x1x4xf32>
  %o = memref.view %arena[%c1024][] : memref<8192xi8> to memref<1x1x4xi32>
  %e2 = memref.view %arena[%c64][] : memref<8192xi8> to memref<1x1x2x64xi8>
  %s2 = memref.view %arena[%c1024][] : memref<8192xi8> to memref<1x1x2xf32>
  %o2 = memref.view %arena[%c1024][] : memref<8192xi8> to memref<1x1x2xi32>
  %e3 = memref.view %arena[%c64][] : memref<8192xi8> to memref<1x2x2x32xi8>
  %s3 = memref.view %arena[%c1024][] : memref<8192xi8> to memref<1x2x2xf32>
  %o3 = memref.view %arena[%c1024][] : memref<8192xi8> to memref<1x2x2xi32>
  %e4 = memref.view %arena[%c64][] : memref<8192xi8> to memref<1x4x2x16xi8>
  %y = memref.view %arena[%c2048][] : memref<8192xi8> to memref<4x16xf32>
  %z = memref.view %arena[%c4096][] : memref<8192xi8> to memref<2x16xf32>
  hlq.code_matmul ins(%e, %s, %s, %o, %p : memref<1x1x4x64xi8>, memref<1x1x4xf32>, memref<1x1x4xf32>, memref<1x1x4xi32>, memref<1x384xi8>)
    outs(%y : memref<4x16xf32>) {layout = #planes, kernel = #four, table_group = 64 : i64}
  hlq.code_matmul ins(%e, %s, %s, %o, %p : memref<1x1x4x64xi8>, memref<1x1x4xf32>, memref<1x1x4xf32>, memref<1x1x4xi32>, memref<1x384xi8>)
    outs(%y : memref<4x16xf32>) {layout = #planes, kernel = #four, table_group = 64 : i64}
  hlq.code_matmul ins(%e2, %s2, %s2, %o2, %p : memref<1x1x2x64xi8>, memref<1x1x2xf32>, memref<1x1x2xf32>, memref<1x1x2xi32>, memref<1x384xi8>)
    outs(%z : memref<2x16xf32>) {layout = #planes, kernel = #two, table_group = 64 : i64}
  hlq.code_matmul ins(%e3, %s3, %s3, %o3, %p : memref<1x2x2x32xi8>, memref<1x2x2xf32>, memref<1x2x2xf32>, memref<1x2x2xi32>, memref<1x384xi8>)
    outs(%z : memref<2x16xf32>) {layout = #planes, kernel = #two, table_group = 32 : i64}
  hlq.code_matmul ins(%e4, %s3, %s3, %o3, %p : memref<1x4x2x16xi8>, memref<1x2x2xf32>, memref<1x2x2xf32>, memref<1x2x2xi32>, memref<1x384xi8>)
    outs(%z : memref<2x16xf32>) {layout = #planes, kernel = #dot, table_group = 32 : i64}
  return
}
