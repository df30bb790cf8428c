// RUN: elutq-opt %s -split-input-file -elutq-bufferize -verify-diagnostics -allow-unregistered-dialect

func.func private @other(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func @caller(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{expected a function that uses no other one and no global of its module}}
  %0 = func.call @other(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

memref.global "private" constant @numbers : memref<4xf32> = dense<1.0>
func.func @reader() -> tensor<4xf32> {
  // expected-error @below {{expected a function that uses no other one and no global of its module}}
  %m = memref.get_global @numbers : memref<4xf32>
  %t = bufferization.to_tensor %m restrict : memref<4xf32> to tensor<4xf32>
  return %t : tensor<4xf32>
}

// -----

// What one-shot-bufferize says of a function is said of it here.
func.func @unknown(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{op was not bufferized}}
  %0 = "test.unknown"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
