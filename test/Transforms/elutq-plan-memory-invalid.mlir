// RUN: elutq-opt %s -split-input-file -verify-diagnostics -elutq-plan-memory

// expected-error @+1 {{'func.func' op expected the arguments tokens, count, position and caches}}
func.func @arguments(%x: memref<8xf32>) -> memref<8xf32> {
  return %x : memref<8xf32>
}

// -----

// expected-error @+1 {{'func.func' op expected caches of static shape, but got 'memref<?xf32>'}}
func.func @dynamic_cache(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<?xf32>) -> (memref<1xf32>, memref<?xf32>) {
  %r = memref.alloc() : memref<1xf32>
  return %r, %k : memref<1xf32>, memref<?xf32>
}

// -----

func.func @decode(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<16xf32>) -> (memref<1xf32>, memref<16xf32>) {
  %r = memref.alloc() : memref<1xf32>
  return %r, %k : memref<1xf32>, memref<16xf32>
}
// expected-error @+1 {{'func.func' op expected the same caches as the other entries}}
func.func @prefill(%tokens: memref<4xi64>, %count: index, %position: index, %k: memref<32xf32>) -> (memref<1xf32>, memref<32xf32>) {
  %r = memref.alloc() : memref<1xf32>
  return %r, %k : memref<1xf32>, memref<32xf32>
}

// -----

// expected-error @+1 {{'func.func' op expected a result}}
func.func @no_result(%tokens: memref<1xi64>, %count: index, %position: index) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expected every cache to be updated in place}}
func.func @new_cache(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<16xf32>) -> (memref<1xf32>, memref<16xf32>) {
  %r = memref.alloc() : memref<1xf32>
  %n = memref.alloc() : memref<16xf32>
  return %r, %n : memref<1xf32>, memref<16xf32>
}

// -----

func.func @copied_cache(%tokens: memref<1xi64>, %count: index, %position: index, %k: memref<16384xf32>) -> (memref<1xf32>, memref<16384xf32>) {
  %r = memref.alloc() : memref<1xf32>
  %n = memref.alloc() : memref<16384xf32>
  // expected-error @+1 {{a cache or a constant of 65536 bytes would be copied: it is used after it is overwritten}}
  memref.copy %k, %n : memref<16384xf32> to memref<16384xf32>
  return %r, %k : memref<1xf32>, memref<16384xf32>
}

// -----

func.func @large_in_loop(%tokens: memref<1xi64>, %count: index, %position: index) -> memref<1xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = memref.alloc() : memref<1xf32>
  scf.for %i = %c0 to %count step %c1 {
    // expected-error @+1 {{'memref.alloc' op expected at most 16384 bytes inside a loop, but got 16388}}
    %b = memref.alloc() : memref<4097xf32>
    %x = memref.load %b[%i] : memref<4097xf32>
    memref.store %x, %r[%c0] : memref<1xf32>
  }
  return %r : memref<1xf32>
}

// -----

func.func @dynamic_size(%tokens: memref<1xi64>, %count: index, %position: index) -> memref<1xf32> {
  %c0 = arith.constant 0 : index
  %r = memref.alloc() : memref<1xf32>
  // expected-error @+1 {{'memref.alloc' op expected a static size}}
  %b = memref.alloc(%count) : memref<?xf32>
  %x = memref.load %b[%c0] : memref<?xf32>
  memref.store %x, %r[%c0] : memref<1xf32>
  return %r : memref<1xf32>
}

// -----

memref.global "private" constant @bits : memref<8xi4> = dense<1>
func.func @bits_in_weights(%tokens: memref<1xi64>, %count: index, %position: index) -> memref<8xi4> {
  // expected-error @+1 {{'memref.get_global' op expected a constant of whole bytes}}
  %w = memref.get_global @bits : memref<8xi4>
  %r = memref.alloc() : memref<8xi4>
  memref.copy %w, %r : memref<8xi4> to memref<8xi4>
  return %r : memref<8xi4>
}
