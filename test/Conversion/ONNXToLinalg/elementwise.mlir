// RUN: elutq-opt %s -convert-onnx-to-linalg -cse | FileCheck %s

// Unsigned numbers are signless in arith, which has ops of their own for them; elutq-drop-signs removes the casts.
// CHECK-LABEL: func.func @unsigned(
// CHECK:         linalg.generic {{.*}} ins({{.*}} : tensor<3xui8>, tensor<3xui8>) outs({{.*}} : tensor<3xui8>)
// CHECK:           %[[A:.*]] = builtin.unrealized_conversion_cast %{{.*}} : ui8 to i8
// CHECK:           %[[B:.*]] = builtin.unrealized_conversion_cast %{{.*}} : ui8 to i8
// CHECK:           %[[D:.*]] = arith.divui %[[A]], %[[B]] : i8
// CHECK:           %[[R:.*]] = builtin.unrealized_conversion_cast %[[D]] : i8 to ui8
// CHECK:           linalg.yield %[[R]] : ui8
func.func @unsigned(%x: tensor<3xui8>, %y: tensor<3xui8>) -> tensor<3xui8> {
  %0 = onnx.Div %x, %y : (tensor<3xui8>, tensor<3xui8>) -> tensor<3xui8>
  return %0 : tensor<3xui8>
}

// CHECK-LABEL: func.func @casts(
// CHECK:         arith.uitofp %{{.*}} : i8 to f32
// CHECK:         arith.fptoui %{{.*}} : f32 to i16
func.func @casts(%x: tensor<3xui8>) -> tensor<3xui16> {
  %0 = onnx.Cast %x {to = 1 : i64} : (tensor<3xui8>) -> tensor<3xf32>
  %1 = onnx.Cast %0 {to = 4 : i64} : (tensor<3xf32>) -> tensor<3xui16>
  return %1 : tensor<3xui16>
}

// What is not a power of one float type is computed in f64.
// CHECK-LABEL: func.func @power(
// CHECK:         arith.sitofp %{{.*}} : i32 to f64
// CHECK:         math.powf %{{.*}} : f64
// CHECK:         arith.fptosi %{{.*}} : f64 to i32
func.func @power(%x: tensor<3xi32>, %y: tensor<3xf32>) -> tensor<3xi32> {
  %0 = onnx.Pow %x, %y : (tensor<3xi32>, tensor<3xf32>) -> tensor<3xi32>
  return %0 : tensor<3xi32>
}

// Python's remainder has the sign of the divisor.
// CHECK-LABEL: func.func @remainder(
// CHECK:         %[[R:.*]] = arith.remsi
// CHECK:         %[[S:.*]] = arith.addi %[[R]]
// CHECK:         arith.select %{{.*}}, %[[S]], %[[R]] : i64
func.func @remainder(%x: tensor<3xi64>, %y: tensor<3xi64>) -> tensor<3xi64> {
  %0 = onnx.Mod %x, %y : (tensor<3xi64>, tensor<3xi64>) -> tensor<3xi64>
  return %0 : tensor<3xi64>
}
