// RUN: elutq-opt %s -split-input-file -verify-diagnostics -elutq-lower-to-llvm

// What the pipeline cannot lower is an error of the pipeline, not of a later tool.
// expected-error @+1 {{'func.func' op remains after the lowering to the llvm dialect}}
func.func @dynamic_argument(%x: memref<?xf32>) {
  return
}

// -----

// Memory that no plan has placed would come from the heap.
func.func @heap(%x: f32, %r: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'llvm.call' op expected no memory management in compiled code, but got a call of 'malloc'}}
  %a = memref.alloc() : memref<16xf32>
  memref.store %x, %a[%c0] : memref<16xf32>
  %y = memref.load %a[%c0] : memref<16xf32>
  memref.store %y, %r[%c0] : memref<1xf32>
  return
}

// -----

// Stack memory of an iteration is that of the function, so two of them are not too much.
func.func @stack_in_loop(%x: f32, %r: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  scf.for %i = %c0 to %c2 step %c1 {
    %a = memref.alloca() : memref<40000xf32>
    memref.store %x, %a[%i] : memref<40000xf32>
    %y = memref.load %a[%c0] : memref<40000xf32>
    memref.store %y, %r[%c0] : memref<1xf32>
  }
  return
}

// -----

func.func @large_stack(%x: f32, %r: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'llvm.alloca' op expected at most 262144 bytes of stack memory in 'large_stack', but got 280000}}
  %a = memref.alloca() : memref<70000xf32>
  memref.store %x, %a[%c0] : memref<70000xf32>
  %y = memref.load %a[%c0] : memref<70000xf32>
  memref.store %y, %r[%c0] : memref<1xf32>
  return
}
