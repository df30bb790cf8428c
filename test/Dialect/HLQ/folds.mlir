// RUN: elutq-opt %s -canonicalize -split-input-file | FileCheck %s

// CHECK-LABEL: func.func @lookup(
// CHECK-NEXT:    %[[R:.+]] = arith.constant dense<[100, -12, -30, 62, -120, 48, 38, 42, -116, 28, -38, -10, 112, -104, 110, -94]> : vector<16xi8>
// CHECK-NEXT:    return %[[R]]
func.func @lookup() -> vector<16xi8> {
  %table = arith.constant dense<[28, 38, 62, 100, -104, -38, 42, -120, -12, 110, -10, -116, 48, -30, -94, 112]> : vector<16xi8>
  %i = arith.constant dense<[3, 8, 13, 2, 7, 12, 1, 6, 11, 0, 5, 10, 15, 4, 9, 14]> : vector<16xi8>
  %r = hlq.lookup %table[%i] : vector<16xi8>, vector<16xi8>
  return %r : vector<16xi8>
}

// -----

// What an index outside the table finds is not decided here.
// CHECK-LABEL: func.func @lookup_outside(
// CHECK:         hlq.lookup
func.func @lookup_outside() -> vector<16xi8> {
  %table = arith.constant dense<3> : vector<16xi8>
  %i = arith.constant dense<16> : vector<16xi8>
  %r = hlq.lookup %table[%i] : vector<16xi8>, vector<16xi8>
  return %r : vector<16xi8>
}

// -----

// CHECK-LABEL: func.func @accumulate_zeros(
// CHECK-SAME:    %[[ACC:.+]]: vector<16xi32>
// CHECK-NEXT:    return %[[ACC]]
func.func @accumulate_zeros(%acc: vector<16xi32>) -> vector<16xi32> {
  %zeros = arith.constant dense<0> : vector<64xi8>
  %r = hlq.accumulate %acc, %zeros : vector<16xi32>, vector<64xi8>
  return %r : vector<16xi32>
}

// -----

// Bytes are signed, and the sum wraps.
// CHECK-LABEL: func.func @accumulate_constants(
// CHECK-NEXT:    arith.constant dense<[13, -10, 26, -2147483249]> : vector<4xi32>
func.func @accumulate_constants() -> vector<4xi32> {
  %acc = arith.constant dense<[10, -20, 30, 2147483647]> : vector<4xi32>
  %bytes = arith.constant dense<[-128, 127, -5, 9, 1, 2, 3, 4, -1, -1, -1, -1, 100, 100, 100, 100]> : vector<16xi8>
  %r = hlq.accumulate %acc, %bytes : vector<4xi32>, vector<16xi8>
  return %r : vector<4xi32>
}

// -----

// CHECK-LABEL: func.func @accumulate_unknown(
// CHECK:         hlq.accumulate
func.func @accumulate_unknown(%bytes: vector<16xi8>) -> vector<4xi32> {
  %acc = arith.constant dense<0> : vector<4xi32>
  %r = hlq.accumulate %acc, %bytes : vector<4xi32>, vector<16xi8>
  return %r : vector<4xi32>
}

// -----

// CHECK-LABEL: func.func @dot_zeros(
// CHECK-SAME:    %[[ACC:.+]]: vector<4xi32>, %{{.+}}: vector<16xi8>
// CHECK-NEXT:    return %[[ACC]], %[[ACC]]
func.func @dot_zeros(%acc: vector<4xi32>, %x: vector<16xi8>) -> (vector<4xi32>, vector<4xi32>) {
  %zeros = arith.constant dense<0> : vector<16xi8>
  %r = hlq.dot %acc, %zeros, %x : vector<4xi32>, vector<16xi8>
  %s = hlq.dot %acc, %x, %zeros : vector<4xi32>, vector<16xi8>
  return %r, %s : vector<4xi32>, vector<4xi32>
}

// -----

// Words are signed.
// CHECK-LABEL: func.func @dot_words(
// CHECK-NEXT:    arith.constant dense<[-390, 600000020, -1000, 7]> : vector<4xi32>
func.func @dot_words() -> vector<4xi32> {
  %acc = arith.constant dense<[10, 20, 0, 7]> : vector<4xi32>
  %codes = arith.constant dense<[-2, 1, 20000, 20000, -10, 0, 0, 0]> : vector<8xi16>
  %entries = arith.constant dense<[300, 200, 15000, 15000, 100, 5, 9, 9]> : vector<8xi16>
  %r = hlq.dot %acc, %codes, %entries : vector<4xi32>, vector<8xi16>
  return %r : vector<4xi32>
}

// -----

// Codes are unsigned, bytes signed, and the sum wraps.
// CHECK-LABEL: func.func @dot_constants(
// CHECK-NEXT:    arith.constant dense<[-236, 598, -990, -2147483549]> : vector<4xi32>
func.func @dot_constants() -> vector<4xi32> {
  %acc = arith.constant dense<[10, -20, 30, 2147483647]> : vector<4xi32>
  %codes = arith.constant dense<[-1, -1, 0, 1, -56, 3, -128, 7, -1, -1, -1, -1, 1, 0, 0, 0]> : vector<16xi8>
  %bytes = arith.constant dense<[-128, 127, -5, 9, 1, 2, 3, 4, -1, -1, -1, -1, 100, 100, 100, 100]> : vector<16xi8>
  %r = hlq.dot %acc, %codes, %bytes : vector<4xi32>, vector<16xi8>
  return %r : vector<4xi32>
}
