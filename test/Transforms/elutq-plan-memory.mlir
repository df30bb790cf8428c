// RUN: elutq-opt %s -split-input-file -elutq-plan-memory -canonicalize -cse | FileCheck %s

// The first 64 bytes of the arena are its header. %a and %c do not live at the same time and share a place; %b lives through both.
// CHECK:       elutq.plan = {arena_bytes = 256 : i64, cache_bytes = 4096 : i64, weights_bytes = 64 : i64}
// CHECK-LABEL: func.func @elutq_entry_lifetimes(
// CHECK-SAME:    %{{.+}}: memref<1xi64>, %{{.+}}: index, %{{.+}}: index, %[[ARENA:.+]]: memref<256xi8>, %{{.+}}: memref<64xi8>, %[[CACHE:.+]]: memref<4096xi8>, %[[R:.+]]: memref<1x8xf32>)
// CHECK:         %[[A:.+]] = memref.view %[[ARENA]][%c192][] : memref<256xi8> to memref<8xf32>
// CHECK:         memref.copy %{{.+}}, %[[A]]
// CHECK:         %[[B:.+]] = memref.view %[[ARENA]][%c64][] : memref<256xi8> to memref<24xf32>
// CHECK:         memref.copy %{{.+}}, %[[A]]
// CHECK:         memref.load %[[B]]
// CHECK:         memref.store %{{.+}}, %[[R]]
// CHECK-NOT:     memref.alloc
func.func @lifetimes(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<1x32x16xf32>, %v: memref<1x32x16xf32>)
    -> (memref<1x8xf32>, memref<1x32x16xf32>, memref<1x32x16xf32>) {
  %c0 = arith.constant 0 : index
  %f = arith.constant 1.0 : f32
  %w = memref.get_global @w : memref<8xf32>
  %a = memref.alloc() : memref<8xf32>
  memref.copy %w, %a : memref<8xf32> to memref<8xf32>
  %b = memref.alloc() : memref<24xf32>
  memref.store %f, %b[%c0] : memref<24xf32>
  %x = memref.load %a[%c0] : memref<8xf32>
  memref.store %x, %k[%c0, %position, %c0] : memref<1x32x16xf32>
  %c = memref.alloc() : memref<8xf32>
  memref.copy %w, %c : memref<8xf32> to memref<8xf32>
  %z = memref.load %c[%c0] : memref<8xf32>
  memref.store %z, %v[%c0, %position, %c0] : memref<1x32x16xf32>
  %y = memref.load %b[%c0] : memref<24xf32>
  %r = memref.alloc() : memref<1x8xf32>
  memref.store %y, %r[%c0, %c0] : memref<1x8xf32>
  return %r, %k, %v : memref<1x8xf32>, memref<1x32x16xf32>, memref<1x32x16xf32>
}
memref.global "private" constant @w : memref<8xf32> = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]>

// -----

// Equal constants of two entries have one place; a splat is written out; the caches of both are the same memory.
// CHECK:       elutq.plan = {arena_bytes = 64 : i64, cache_bytes = 64 : i64, weights_bytes = 128 : i64}
// CHECK-SAME:  elutq.weights = [{offset = 0 : i64, value = dense<2.000000e+00> : tensor<1x8xf32>}, {offset = 64 : i64, value = dense<[1, 2]> : tensor<2xi32>}]
// CHECK-LABEL: func.func @elutq_entry_decode(
// CHECK-SAME:    %[[W:[a-z0-9]+]]: memref<128xi8>
// CHECK:         memref.view %[[W]][%c0][] : memref<128xi8> to memref<1x8xf32>
// CHECK-LABEL: func.func @elutq_entry_prefill(
// CHECK-SAME:    %[[W:[a-z0-9]+]]: memref<128xi8>
// CHECK-DAG:     memref.view %[[W]][%c0][] : memref<128xi8> to memref<1x8xf32>
// CHECK-DAG:     memref.view %[[W]][%c64][] : memref<128xi8> to memref<2xi32>
// CHECK-NOT:   memref.global
func.func @decode(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<16xf32>) -> (memref<1x8xf32>, memref<16xf32>) {
  %s = memref.get_global @splat : memref<1x8xf32>
  %r = memref.alloc() : memref<1x8xf32>
  memref.copy %s, %r : memref<1x8xf32> to memref<1x8xf32>
  return %r, %k : memref<1x8xf32>, memref<16xf32>
}
func.func @prefill(%tokens: memref<4xi64>, %count: index, %position: index, %k: memref<16xf32>) -> (memref<1x8xf32>, memref<16xf32>) {
  %c0 = arith.constant 0 : index
  %i = memref.get_global @indices : memref<2xi32>
  %n = memref.load %i[%c0] : memref<2xi32>
  %f = arith.sitofp %n : i32 to f32
  memref.store %f, %k[%c0] : memref<16xf32>
  %s = memref.get_global @same : memref<1x8xf32>
  %r = memref.alloc() : memref<1x8xf32>
  memref.copy %s, %r : memref<1x8xf32> to memref<1x8xf32>
  return %r, %k : memref<1x8xf32>, memref<16xf32>
}
memref.global "private" constant @splat : memref<1x8xf32> = dense<2.0>
memref.global "private" constant @same : memref<1x8xf32> = dense<2.0>
memref.global "private" constant @indices : memref<2xi32> = dense<[1, 2]>

// -----

// A small buffer inside a loop goes to the stack; a private function is no entry.
// CHECK-LABEL: func.func @elutq_entry_loop(
// CHECK:         scf.for
// CHECK:           memref.alloca() : memref<4xf32>
// CHECK-LABEL: func.func private @helper(
// CHECK-SAME:    memref<4xf32>) -> memref<4xf32>
func.func @loop(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<16xf32>) -> (memref<1xf32>, memref<16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = memref.alloc() : memref<1xf32>
  scf.for %i = %c0 to %count step %c1 {
    %b = memref.alloc() : memref<4xf32>
    %x = memref.load %k[%i] : memref<16xf32>
    memref.store %x, %b[%c1] : memref<4xf32>
    %y = memref.load %b[%i] : memref<4xf32>
    memref.store %y, %r[%c0] : memref<1xf32>
  }
  return %r, %k : memref<1xf32>, memref<16xf32>
}
func.func private @helper(%x: memref<4xf32>) -> memref<4xf32> {
  return %x : memref<4xf32>
}

// -----

// A bit is a byte in memory.
// CHECK:       elutq.weights = [{offset = 0 : i64, value = dense<[1, 0, 1]> : tensor<3xi8>}]
// CHECK-LABEL: func.func @elutq_entry_bits(
// CHECK:         memref.view %{{.+}}[%c0][] : memref<64xi8> to memref<3xi1>
memref.global "private" constant @mask : memref<3xi1> = dense<[true, false, true]>
func.func @bits(%tokens: memref<1xi64>, %count: index, %position: index) -> memref<3xi1> {
  %w = memref.get_global @mask : memref<3xi1>
  %r = memref.alloc() : memref<3xi1>
  memref.copy %w, %r : memref<3xi1> to memref<3xi1>
  return %r : memref<3xi1>
}

// -----

// Entries of a graph have layouts of their own in the same memory.
// CHECK:       elutq.plan = {arena_bytes = 64 : i64, cache_bytes = 256 : i64, weights_bytes = 0 : i64}
// CHECK:       func.func @elutq_entry_small(
// CHECK-SAME:    elutq.places = array<i64: 0>
// CHECK:       func.func @elutq_entry_large(
// CHECK-SAME:    elutq.places = array<i64: 0, 192>
func.func @small(%tokens: memref<1xi64>, %count: index, %position: index, %x: memref<2xf32>) -> (memref<1xf32>, memref<2xf32>)
    attributes {elutq.graph} {
  %c0 = arith.constant 0 : index
  %f = arith.constant 1.0 : f32
  %r = memref.alloc() : memref<1xf32>
  memref.store %f, %r[%c0] : memref<1xf32>
  return %r, %x : memref<1xf32>, memref<2xf32>
}
func.func @large(%tokens: memref<1xi64>, %count: index, %position: index, %x: memref<40xf32>, %y: memref<3xi1>) -> (memref<1xf32>, memref<3xi1>)
    attributes {elutq.graph} {
  %c0 = arith.constant 0 : index
  %f = arith.constant 1.0 : f32
  %r = memref.alloc() : memref<1xf32>
  memref.store %f, %r[%c0] : memref<1xf32>
  return %r, %y : memref<1xf32>, memref<3xi1>
}
