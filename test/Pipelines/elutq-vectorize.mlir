// RUN: elutq-opt %S/Inputs/decoder.mlir -elutq-tile-and-bufferize -elutq-vectorize | FileCheck %s --implicit-check-not=hlq.build_lut --implicit-check-not=hlq.lut_matmul --implicit-check-not=linalg. --implicit-check-not='lm.{{[a-z]}}' --implicit-check-not=memref.copy

// Of the hlq dialect, the two vector operations are left.
// CHECK-LABEL: func.func private @elutq_entry_decode_task_1(
// CHECK:         %[[FOUND:.+]] = hlq.lookup %{{.+}} : vector<64xi8>, vector<64xi8>
// CHECK:         hlq.accumulate %{{.+}}, %[[FOUND]] : vector<16xi32>, vector<64xi8>
