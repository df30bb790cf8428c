// RUN: elutq-opt %s -elutq-plan-memory -split-input-file -verify-diagnostics

// expected-error @below {{expected the signature (tokens, count, position, caches..., logits) -> (), but got '(memref<1xi64>) -> ()'}}
func.func @no_position(%tokens: memref<1xi64>) {
  return
}

// -----

func.func @too_large_for_a_stack(%tokens: memref<1xi64>, %count: index, %position: index, %logits: memref<16xf32>) {
  scf.forall (%i) = (0) to (64) step (32) {
    // expected-error @below {{allocates 400000 bytes inside a loop, at most 65536 fit on a stack}}
    %a = memref.alloc() : memref<100000xf32>
    %x = memref.load %a[%i] : memref<100000xf32>
    memref.store %x, %logits[%i] : memref<16xf32>
  }
  return
}

// -----

func.func @one_cache(%tokens: memref<1xi64>, %count: index, %position: index, %c0: memref<128xf32>, %logits: memref<16xf32>) {
  return
}
// expected-error @below {{expected the same caches as the module's other entry}}
func.func @two_caches(%tokens: memref<1xi64>, %count: index, %position: index, %c0: memref<128xf32>, %c1: memref<128xf32>, %logits: memref<16xf32>) {
  return
}
