// RUN: elutq-opt %s -convert-hlq-to-llvm=isa=neon | FileCheck %s --check-prefixes=CHECK,NEON
// RUN: elutq-opt %s -convert-hlq-to-llvm=isa=neon_dotprod | FileCheck %s --check-prefixes=CHECK,DOT

// CHECK-LABEL: func.func @lookup_16(
// CHECK-SAME:    %[[T:.*]]: vector<16xi8>, %[[I:.*]]: vector<16xi8>
// CHECK:         llvm.call_intrinsic "llvm.aarch64.neon.tbl1"(%[[T]], %[[I]])
func.func @lookup_16(%t: vector<16xi8>, %i: vector<16xi8>) -> vector<16xi8> {
  %r = hlq.lookup %t[%i] : vector<16xi8>, vector<16xi8>
  return %r : vector<16xi8>
}

// A 64-entry table is four registers.
// CHECK-LABEL:   func.func @lookup_64_entries(
// CHECK-COUNT-4:   llvm.call_intrinsic "llvm.aarch64.neon.tbl4"
// CHECK-NOT:       call_intrinsic
func.func @lookup_64_entries(%t: vector<64xi8>, %i: vector<64xi8>) -> vector<64xi8> {
  %r = hlq.lookup %t[%i] : vector<64xi8>, vector<64xi8>
  return %r : vector<64xi8>
}

// CHECK-LABEL: func.func @accumulate(
// DOT:           llvm.call_intrinsic "llvm.aarch64.neon.sdot"
// NEON-COUNT-2:  llvm.call_intrinsic "llvm.aarch64.neon.saddlp"
// NEON:          arith.addi
func.func @accumulate(%a: vector<4xi32>, %b: vector<16xi8>) -> vector<4xi32> {
  %r = hlq.accumulate %a, %b : vector<4xi32>, vector<16xi8>
  return %r : vector<4xi32>
}

// CHECK-LABEL: func.func @dot(
// DOT-COUNT-2:   llvm.call_intrinsic "llvm.aarch64.neon.sdot"
// NEON-COUNT-2:  llvm.call_intrinsic "llvm.aarch64.neon.saddlp"
// CHECK-NOT:     hlq.
func.func @dot(%a: vector<4xi32>, %q: vector<16xi8>, %b: vector<16xi8>) -> vector<4xi32> {
  %r = hlq.dot %a, %q, %b : vector<4xi32>, vector<16xi8>
  return %r : vector<4xi32>
}

// CHECK-LABEL:   func.func @dot_words(
// CHECK-COUNT-2:   arith.muli %{{.*}} : vector<4xi32>
// CHECK:           llvm.call_intrinsic "llvm.aarch64.neon.addp"
// CHECK-NOT:       hlq.
func.func @dot_words(%a: vector<4xi32>, %q: vector<8xi16>, %b: vector<8xi16>) -> vector<4xi32> {
  %r = hlq.dot %a, %q, %b : vector<4xi32>, vector<8xi16>
  return %r : vector<4xi32>
}
