// RUN: elutq-opt %s -split-input-file -verify-diagnostics -pass-pipeline="builtin.module(func.func(convert-lm-to-vector))"
// RUN: elutq-opt %s -split-input-file -verify-diagnostics -pass-pipeline="builtin.module(func.func(convert-lm-to-loops))"

func.func @tensors(%i: tensor<2xi64>, %t: tensor<96x32xf32>, %y: tensor<2x32xf32>) -> tensor<2x32xf32> {
  // expected-error @+1 {{'lm.gather' op cannot be lowered: expected memrefs with static heads}}
  %0 = lm.gather ins(%i, %t : tensor<2xi64>, tensor<96x32xf32>) outs(%y : tensor<2x32xf32>) -> tensor<2x32xf32>
  return %0 : tensor<2x32xf32>
}
