// RUN: elutq-opt %s -convert-hlq-to-llvm | FileCheck %s
// RUN: not elutq-opt %s -convert-hlq-to-llvm=isa=sse9 2>&1 | FileCheck %s --check-prefix=ERROR

// ERROR: expected isa to be avx512amx, avx512vbmi, avx512bw, avx2, neon_dotprod, neon or generic, but got sse9

// Sixteen lanes at a time, which LLVM recognizes.
// CHECK-LABEL:   func.func @lookup_32(
// CHECK-COUNT-2:   vector.from_elements {{.*}} : vector<16xi8>
// CHECK-NOT:       hlq.
func.func @lookup_32(%t: vector<16xi8>, %i: vector<32xi8>) -> vector<32xi8> {
  %r = hlq.lookup %t[%i] : vector<16xi8>, vector<32xi8>
  return %r : vector<32xi8>
}

// CHECK-LABEL:   func.func @accumulate(
// CHECK-COUNT-4:   arith.shrsi
// CHECK-NOT:       hlq.
func.func @accumulate(%a: vector<16xi32>, %b: vector<64xi8>) -> vector<16xi32> {
  %r = hlq.accumulate %a, %b : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}

// CHECK-LABEL:   func.func @dot(
// CHECK-COUNT-4:   arith.muli
// CHECK-NOT:       hlq.
func.func @dot(%a: vector<16xi32>, %q: vector<64xi8>, %b: vector<64xi8>) -> vector<16xi32> {
  %r = hlq.dot %a, %q, %b : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}

// CHECK-LABEL:   func.func @dot_words(
// CHECK-COUNT-2:   arith.muli
// CHECK-NOT:       hlq.
func.func @dot_words(%a: vector<16xi32>, %q: vector<32xi16>, %b: vector<32xi16>) -> vector<16xi32> {
  %r = hlq.dot %a, %q, %b : vector<16xi32>, vector<32xi16>
  return %r : vector<16xi32>
}
