// RUN: elutq-opt %s -convert-hlq-to-llvm=isa=avx2 | FileCheck %s --check-prefixes=CHECK,AVX2
// RUN: elutq-opt %s -convert-hlq-to-llvm=isa=avx512bw | FileCheck %s --check-prefixes=CHECK,BW
// RUN: elutq-opt %s -convert-hlq-to-llvm=isa=avx512vbmi | FileCheck %s --check-prefixes=CHECK,VBMI

// One 32-lane look-up is one copy of the table to both halves and one byte shuffle.
// CHECK-LABEL: func.func @lookup_32(
// CHECK-SAME:    %[[T:.*]]: vector<16xi8>, %[[I:.*]]: vector<32xi8>
// CHECK:         %[[TT:.*]] = vector.shuffle %[[T]], %[[T]]
// CHECK:         llvm.call_intrinsic "llvm.x86.avx2.pshuf.b"(%[[TT]], %[[I]])
func.func @lookup_32(%t: vector<16xi8>, %i: vector<32xi8>) -> vector<32xi8> {
  %r = hlq.lookup %t[%i] : vector<16xi8>, vector<32xi8>
  return %r : vector<32xi8>
}

// 64 lanes are split where registers have 32.
// CHECK-LABEL:  func.func @lookup_64(
// AVX2-COUNT-2:   llvm.call_intrinsic "llvm.x86.avx2.pshuf.b"
// BW:             llvm.call_intrinsic "llvm.x86.avx512.pshuf.b.512"
// VBMI:           llvm.call_intrinsic "llvm.x86.avx512.pshuf.b.512"
// CHECK-NOT:      hlq.
func.func @lookup_64(%t: vector<16xi8>, %i: vector<64xi8>) -> vector<64xi8> {
  %r = hlq.lookup %t[%i] : vector<16xi8>, vector<64xi8>
  return %r : vector<64xi8>
}

// 64 entries are one permutation with VBMI, and four look-ups and three selections without.
// CHECK-LABEL:  func.func @lookup_64_entries(
// CHECK-SAME:     %[[T:.*]]: vector<64xi8>, %[[I:.*]]: vector<64xi8>
// AVX2-COUNT-8:   llvm.call_intrinsic "llvm.x86.avx2.pshuf.b"
// BW-COUNT-4:     llvm.call_intrinsic "llvm.x86.avx512.pshuf.b.512"
// BW:             arith.select
// VBMI:           llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%[[T]], %[[I]])
// VBMI-NOT:       arith.select
func.func @lookup_64_entries(%t: vector<64xi8>, %i: vector<64xi8>) -> vector<64xi8> {
  %r = hlq.lookup %t[%i] : vector<64xi8>, vector<64xi8>
  return %r : vector<64xi8>
}

// The unsigned operand of the dot product is the vector of ones.
// CHECK-LABEL:  func.func @accumulate(
// CHECK-SAME:     %[[A:.*]]: vector<16xi32>, %[[B:.*]]: vector<64xi8>
// AVX2-COUNT-2:   llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"
// BW:             %[[W:.*]] = llvm.call_intrinsic "llvm.x86.avx512.pmaddubs.w.512"(%{{.*}}, %[[B]])
// BW:             llvm.call_intrinsic "llvm.x86.avx512.pmaddw.d.512"(%[[W]], %{{.*}})
// VBMI:           %[[ONES:.*]] = arith.constant dense<1> : vector<64xi8>
// VBMI:           llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%[[A]], %[[ONES]], %[[B]])
func.func @accumulate(%a: vector<16xi32>, %b: vector<64xi8>) -> vector<16xi32> {
  %r = hlq.accumulate %a, %b : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}

// Other dialects are left alone.
// CHECK-LABEL: func.func @untouched(
// CHECK:         arith.addi
// CHECK-NOT:     llvm.
func.func @untouched(%a: vector<16xi32>) -> vector<16xi32> {
  %r = arith.addi %a, %a : vector<16xi32>
  return %r : vector<16xi32>
}

// Codes are the unsigned operand. Without VNNI even and odd bytes become words: sums of bytes would saturate.
// CHECK-LABEL:  func.func @dot(
// CHECK-SAME:     %[[A:.*]]: vector<16xi32>, %[[Q:.*]]: vector<64xi8>, %[[B:.*]]: vector<64xi8>
// AVX2-COUNT-4:   llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"
// BW-COUNT-2:     llvm.call_intrinsic "llvm.x86.avx512.pmaddw.d.512"
// VBMI:           llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%[[A]], %[[Q]], %[[B]])
// CHECK-NOT:      pmaddubs
// CHECK-NOT:      hlq.
func.func @dot(%a: vector<16xi32>, %q: vector<64xi8>, %b: vector<64xi8>) -> vector<16xi32> {
  %r = hlq.dot %a, %q, %b : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}

// CHECK-LABEL:  func.func @dot_words(
// CHECK-SAME:     %[[A:.*]]: vector<16xi32>, %[[Q:.*]]: vector<32xi16>, %[[B:.*]]: vector<32xi16>
// AVX2-COUNT-2:   llvm.call_intrinsic "llvm.x86.avx2.pmadd.wd"
// BW:             llvm.call_intrinsic "llvm.x86.avx512.pmaddw.d.512"(%[[Q]], %[[B]])
// VBMI:           llvm.call_intrinsic "llvm.x86.avx512.vpdpwssd.512"(%[[A]], %[[Q]], %[[B]])
// CHECK-NOT:      hlq.
func.func @dot_words(%a: vector<16xi32>, %q: vector<32xi16>, %b: vector<32xi16>) -> vector<16xi32> {
  %r = hlq.dot %a, %q, %b : vector<16xi32>, vector<32xi16>
  return %r : vector<16xi32>
}
