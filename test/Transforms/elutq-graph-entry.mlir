// RUN: elutq-opt %s -elutq-graph-entry=entry=shape3 | FileCheck %s
// RUN: elutq-opt %s -elutq-graph-entry -elutq-tile-and-bufferize | FileCheck %s --check-prefix=PLANNED
// RUN: not elutq-opt %s -elutq-graph-entry -elutq-graph-entry 2>&1 | FileCheck %s --check-prefix=TWICE

// TWICE: error: expected a function main_graph with one block

// CHECK-LABEL: func.func @shape3(
// CHECK-SAME:    %{{.+}}: tensor<1xi64>, %{{.+}}: index, %{{.+}}: index, %[[X:.+]]: tensor<4x20xf32>, %[[M:.+]]: tensor<3xi1>, %[[Y:.+]]: tensor<4x20xf32>, %[[N:.+]]: tensor<3xi1>)
// CHECK-SAME:    -> (tensor<1xf32>, tensor<4x20xf32>, tensor<3xi1>) attributes {elutq.graph}
// CHECK:         %[[E:.+]] = linalg.exp ins(%[[X]]
// CHECK:         %[[R:.+]] = linalg.fill {{.*}} -> tensor<1xf32>
// CHECK:         %[[OUT:.+]] = bufferization.materialize_in_destination %[[E]] in %[[Y]]
// CHECK:         %[[MASK:.+]] = bufferization.materialize_in_destination %[[M]] in %[[N]]
// CHECK:         return %[[R]], %[[OUT]], %[[MASK]]

// Every entry has a layout of its own, from the start on: x, m, y, n.
// PLANNED:       cache_bytes = 768 : i64
// PLANNED:       func.func @elutq_entry_shape0(
// PLANNED-SAME:    elutq.places = array<i64: 0, 320, 384, 704>
func.func @main_graph(%x: tensor<4x20xf32> {onnx.name = "x"}, %m: tensor<3xi1>) -> (tensor<4x20xf32>, tensor<3xi1>) {
  %e = tensor.empty() : tensor<4x20xf32>
  %0 = linalg.exp ins(%x : tensor<4x20xf32>) outs(%e : tensor<4x20xf32>) -> tensor<4x20xf32>
  return %0, %m : tensor<4x20xf32>, tensor<3xi1>
}
