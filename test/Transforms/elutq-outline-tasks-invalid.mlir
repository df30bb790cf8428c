// RUN: elutq-opt %s -split-input-file -verify-diagnostics -elutq-outline-tasks

// expected-error @+1 {{'func.func' op expected the arguments that elutq-plan-memory makes}}
func.func @arguments(%tokens: memref<1xi64>) {
  return
}

// -----

func.func @number_from_memory(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                              %cache: memref<64xi8>, %result: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %a = memref.view %arena[%c64][] : memref<256xi8> to memref<4xf32>
  // expected-error @+1 {{'memref.load' op gives a number to a later task: not supported}}
  %x = memref.load %a[%c0] : memref<4xf32>
  scf.forall (%i) in (4) {
    memref.store %x, %a[%i] : memref<4xf32>
  }
  return
}

// -----

func.func @dynamic_step(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                         %cache: memref<64xi8>, %result: memref<1xf32>) {
  %f = arith.constant 1.0 : f32
  %c64 = arith.constant 64 : index
  %a = memref.view %arena[%c64][] : memref<256xi8> to memref<4xf32>
  // expected-error @+1 {{'scf.forall' op expected constant lower bounds and steps}}
  scf.forall (%i) = (0) to (4) step (%count) {
    memref.store %f, %a[%i] : memref<4xf32>
  }
  return
}

// -----

// Without a result, nobody would update the cache.
func.func @result_before_cache(%tokens: memref<1xi64>, %count: index, %position: index, %arena: memref<256xi8>, %weights: memref<64xi8>,
                               %cache: memref<64xi8>, %result: memref<1xf32>) {
  %f = arith.constant 1.0 : f32
  %c0 = arith.constant 0 : index
  %k = memref.view %cache[%c0][] : memref<64xi8> to memref<1xf32>
  %x = memref.view %arena[%c0][] : memref<256xi8> to memref<1xf32>
  // expected-error @+1 {{'memref.copy' op computes the result before all caches are updated: not supported}}
  memref.copy %x, %result : memref<1xf32> to memref<1xf32>
  memref.store %f, %k[%c0] : memref<1xf32>
  return
}
