// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize -elutq-to-loops | FileCheck %s --implicit-check-not='hlq.{{[b-z]}}' --implicit-check-not='lm.{{[a-z]}}' --implicit-check-not=linalg. --implicit-check-not=vector --implicit-check-not=memref.copy

// The reference: scalar loops alone, on any processor.
// CHECK-LABEL: func.func private @elutq_entry_decode_task_1(
// CHECK:         scf.for
// CHECK:         memref.load %{{.+}} : memref<{{.+}}xi8>
// CHECK:         memref.store %{{.+}} : memref<{{.+}}xf32
