// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize | FileCheck %s --implicit-check-not=memref.alloc --implicit-check-not=scf.forall --implicit-check-not=bufferization.
// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize=parallel=false | FileCheck %s --check-prefix=SERIAL

// Entries take three memories and call tasks; both projections are one parallel call of two row blocks each.
// CHECK:       elutq.plan = {arena_bytes = {{[0-9]+}} : i64, cache_bytes = 16384 : i64, weights_bytes = {{[0-9]+}} : i64}
// CHECK-LABEL: func.func @elutq_entry_decode(
// CHECK-SAME:    memref<16384xi8>, %{{[^:]+}}: memref<1x96xf32>) {
// CHECK:         call @elutq_parallel_for(%{{.+}}, %c1,
// CHECK:         call @elutq_parallel_for(%{{.+}}, %c4,
// CHECK-LABEL: func.func private @elutq_entry_decode_task_1(
// CHECK-COUNT-2: hlq.lut_matmul

// Without parallel tasks the entry is two runs: up to the last write to the cache, and what only the result needs.
// SERIAL-LABEL: func.func @elutq_entry_decode(
// SERIAL-COUNT-2: call @elutq_parallel_for(%{{.+}}, %c1,
// SERIAL-NOT:   _task_2
