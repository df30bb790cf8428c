// RUN: elutq-opt %s -pass-pipeline="builtin.module(func.func(elutq-expand-math))" | FileCheck %s

// The accurate polynomials take the place of functions, of scalars as well as of vectors.
// CHECK-LABEL: func.func @polynomials(
// CHECK-NOT:     math.exp
// CHECK-NOT:     math.tanh
// CHECK-NOT:     math.erf
// CHECK-NOT:     math.log
// CHECK:         return
func.func @polynomials(%x: vector<16xf32>, %s: f32) -> (vector<16xf32>, f32, vector<16xf32>, f32) {
  %0 = math.exp %x : vector<16xf32>
  %1 = math.tanh %s : f32
  %2 = math.erf %x : vector<16xf32>
  %3 = math.log %s : f32
  return %0, %1, %2, %3 : vector<16xf32>, f32, vector<16xf32>, f32
}

// Angles of a rotary embedding are large: no polynomial is accurate for them.
// CHECK-LABEL: func.func @sin_and_cos(
// CHECK:         math.sin
// CHECK:         math.cos
func.func @sin_and_cos(%x: vector<16xf32>) -> (vector<16xf32>, vector<16xf32>) {
  %0 = math.sin %x : vector<16xf32>
  %1 = math.cos %x : vector<16xf32>
  return %0, %1 : vector<16xf32>, vector<16xf32>
}

// A wider type keeps its function.
// CHECK-LABEL: func.func @double(
// CHECK:         math.exp %{{.+}} : f64
func.func @double(%x: f64) -> f64 {
  %0 = math.exp %x : f64
  return %0 : f64
}
