// RUN: elutq-opt %s -split-input-file -verify-diagnostics -convert-onnx-to-linalg

// One error for the whole model; a note for each op, with the reason. What depends on an op without a known shape is no news.
// expected-error @+1 {{cannot convert 2 operations of the model}}
module {
  func.func @unsupported(%x: tensor<2x2xf32>) -> (tensor<f32>, tensor<2x?xi64>) {
    // expected-note @+1 {{'onnx.Det': this operator is not supported}}
    %0 = onnx.Det %x : (tensor<2x2xf32>) -> tensor<f32>
    // expected-note @+1 {{'onnx.NonZero': this operator is not supported}}
    %1 = onnx.NonZero %x : (tensor<2x2xf32>) -> tensor<2x?xi64>
    %2 = onnx.Neg %1 : (tensor<2x?xi64>) -> tensor<2x?xi64>
    return %0, %2 : tensor<f32>, tensor<2x?xi64>
  }
}

// -----

// expected-error @+1 {{cannot convert 1 operation of the model}}
module {
  func.func @dynamic(%y: tensor<?x3xf32>) -> tensor<?x3xf32> {
    // expected-note @+1 {{'onnx.Exp': its shapes must be known at compile time}}
    %0 = onnx.Exp %y : (tensor<?x3xf32>) -> tensor<?x3xf32>
    return %0 : tensor<?x3xf32>
  }
}
