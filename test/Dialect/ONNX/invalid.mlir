// RUN: elutq-opt %s -split-input-file -verify-diagnostics

func.func @element_type(%a: tensor<2xi1>) -> tensor<2xi1> {
  // expected-error @+1 {{'onnx.Sqrt' op operand #0 must be tensor of 32-bit float or 16-bit float or bfloat16 type or 64-bit float values, but got 'tensor<2xi1>'}}
  %y = onnx.Sqrt %a : (tensor<2xi1>) -> tensor<2xi1>
  return %y : tensor<2xi1>
}

// -----

func.func @required_attribute(%a: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error @+1 {{'onnx.Concat' op requires attribute 'axis'}}
  %y = onnx.Concat %a : (tensor<2xf32>) -> tensor<2xf32>
  return %y : tensor<2xf32>
}
