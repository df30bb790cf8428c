// RUN: elutq-opt %s -split-input-file -verify-diagnostics -elutq-verify-llvm="max-stack=256 max-vector=64"

llvm.func @other_dialect(%x: f32) -> f32 {
  // expected-error @+1 {{'math.sin' op remains after the lowering to the llvm dialect}}
  %y = math.sin %x : f32
  llvm.return %y : f32
}

// -----

// A function that bare pointers cannot express stays whole: it is what is named, the rest is counted.
// expected-error @+1 {{'func.func' op remains after the lowering to the llvm dialect, with 1 other op}}
func.func @function(%x: memref<?xf32>) {
  return
}

// -----

// A cast is named where nothing else remains,
llvm.func @cast_only(%x: i64) -> i64 {
  // expected-error @+1 {{'builtin.unrealized_conversion_cast' op remains after the lowering to the llvm dialect: a cast from 'i64' to 'index', with 1 other op}}
  %0 = builtin.unrealized_conversion_cast %x : i64 to index
  %1 = builtin.unrealized_conversion_cast %0 : index to i64
  llvm.return %1 : i64
}

// -----

// and the op that needs it otherwise.
llvm.func @cast_of_operand(%x: i64) -> i64 {
  %0 = builtin.unrealized_conversion_cast %x : i64 to index
  // expected-error @+1 {{'arith.index_cast' op remains after the lowering to the llvm dialect, with 1 other op}}
  %1 = arith.index_cast %0 : index to i64
  llvm.return %1 : i64
}

// -----

module {
  // expected-error @+1 {{'builtin.module' op remains after the lowering to the llvm dialect}}
  module @nested {
  }
}

// -----

llvm.func @malloc(i64) -> !llvm.ptr

llvm.func @allocates(%bytes: i64) -> !llvm.ptr {
  // expected-error @+1 {{'llvm.call' op expected no memory management in compiled code, but got a call of 'malloc'}}
  %p = llvm.call @malloc(%bytes) : (i64) -> !llvm.ptr
  llvm.return %p : !llvm.ptr
}

// -----

llvm.func @stack_in_loop(%c: i1) {
  %one = llvm.mlir.constant(1 : i64) : i64
  llvm.br ^loop
^loop:
  // expected-error @+1 {{'llvm.alloca' op expected stack memory in the first block of a function only: elsewhere it grows with every iteration}}
  %p = llvm.alloca %one x f32 : (i64) -> !llvm.ptr
  llvm.cond_br %c, ^loop, ^end
^end:
  llvm.return
}

// -----

llvm.func @stack_of_any_size(%n: i64) {
  // expected-error @+1 {{'llvm.alloca' op expected stack memory of a constant size}}
  %p = llvm.alloca %n x f32 : (i64) -> !llvm.ptr
  llvm.return
}

// -----

// The buffers of a function count together.
llvm.func @large_stack() {
  %c60 = llvm.mlir.constant(60 : i64) : i64
  %p = llvm.alloca %c60 x f32 : (i64) -> !llvm.ptr
  // expected-error @+1 {{'llvm.alloca' op expected at most 256 bytes of stack memory in 'large_stack', but got 480}}
  %q = llvm.alloca %c60 x f32 : (i64) -> !llvm.ptr
  llvm.return
}

// -----

llvm.func @giant_vector(%p: !llvm.ptr) {
  // expected-error @+1 {{'llvm.load' op expected vectors of at most 64 bytes, but got 'vector<32xf32>'}}
  %v = llvm.load %p : !llvm.ptr -> vector<32xf32>
  llvm.store %v, %p : vector<32xf32>, !llvm.ptr
  llvm.return
}
