// RUN: elutq-opt %s -split-input-file -verify-diagnostics -lm-build-entry="chunk=4 max-context=16"

// A mask that depends on tokens is no mask of positions.
func.func @mask(%ids: tensor<1x4xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %zero = arith.constant dense<0> : tensor<i64>
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  // expected-note @+1 {{because of 'onnx.Equal'}}
  %mask = onnx.Equal %ids, %zero : (tensor<1x4xi64>, tensor<i64>) -> tensor<1x4xi1>
  // expected-error @+1 {{'onnx.Attention': its mask is not understood; supported are masks that compare positions}}
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %mask, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi1>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

func.func @not_causal(%ids: tensor<1x4xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  // expected-error @+1 {{'onnx.Attention': expected causal attention, by is_causal or by the mask key <= query}}
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

func.func @no_cache(%ids: tensor<1x4xi64>) -> tensor<1x4x8xf32> {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  // expected-error @+1 {{attention without a cache is not supported}}
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %none, %none, %none {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, none, none, none) -> (tensor<1x4x8xf32>, none, none, none)
  return %y : tensor<1x4x8xf32>
}

// -----

// expected-error @+1 {{expected an input of token ids that selects rows of a constant embedding}}
func.func @no_tokens(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  return %x : tensor<1x4x8xf32>
}

// -----

// Learned positions for less than the context.
func.func @few_positions(%ids: tensor<1x4xi64> {onnx.name = "input_ids"}, %pos: tensor<1x4xi64> {onnx.name = "position_ids"},
    %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>) -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %e = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  // expected-error @+1 {{'onnx.Gather': its table has 10 positions, fewer than the context; choose a smaller max-context}}
  %p = onnx.Gather %table, %pos : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %x = onnx.Add %e, %p : (tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %pk, %pv, %none {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

func.func @length(%ids: tensor<1x4xi64> {onnx.name = "input_ids"}, %pos: tensor<1x4xi64> {onnx.name = "position_ids"},
    %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>) -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %short = arith.constant dense<[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]> : tensor<8xf32>
  %long = arith.constant dense<[3.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]> : tensor<8xf32>
  %limit = arith.constant dense<10> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %e = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %last = onnx.ReduceMax %pos, %none {keepdims = 0 : i64} : (tensor<1x4xi64>, none) -> tensor<i64>
  %length = onnx.Add %last, %one : (tensor<i64>, tensor<i64>) -> tensor<i64>
  // expected-error @+1 {{'onnx.Greater': its outcome depends on the length of the text; choose a max-context of at most 10}}
  %isLong = onnx.Greater %length, %limit : (tensor<i64>, tensor<i64>) -> tensor<i1>
  %factors = onnx.Where %isLong, %long, %short : (tensor<i1>, tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %x = onnx.Mul %e, %factors : (tensor<1x4x8xf32>, tensor<8xf32>) -> tensor<1x4x8xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %pk, %pv, %none {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}
