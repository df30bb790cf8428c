// RUN: elutq-opt %s -split-input-file -verify-diagnostics -convert-onnx-to-linalg

// One error for the whole model; a note for each op, with the reason.
// expected-error @+1 {{cannot convert 2 operations of the model}}
module {
  func.func @unsupported(%x: tensor<2x2xf32>, %y: tensor<?x3xf32>) -> (tensor<f32>, tensor<?x3xf32>) {
    // expected-note @+1 {{'onnx.Det': this operator is not supported}}
    %0 = onnx.Det %x : (tensor<2x2xf32>) -> tensor<f32>
    // expected-note @+1 {{'onnx.Exp': its shapes must be known at compile time}}
    %1 = onnx.Exp %y : (tensor<?x3xf32>) -> tensor<?x3xf32>
    return %0, %1 : tensor<f32>, tensor<?x3xf32>
  }
}
