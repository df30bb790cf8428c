// RUN: elutq-opt %s -split-input-file -lm-build-entry="entry=prefill chunk=8 max-context=1000" | FileCheck %s
// RUN: elutq-opt %s -split-input-file -lm-build-entry="entry=prefill chunk=8 max-context=1000 kv-cache=f32" | FileCheck %s --check-prefix=F32
// RUN: elutq-opt %s -split-input-file -lm-build-entry="entry=prefill chunk=8 max-context=1000 kv-cache=int8" | FileCheck %s --check-prefix=I8

// A sliding window is read from the mask; its cache is a ring of window + chunk, rounded up to 64. Only the last row enters the head.
// CHECK:       module attributes {elutq.model = {chunk = 8 : i64, layers = 1 : i64, max_context = 1000 : i64, vocab = 10 : i64}}
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %[[T:.*]]: tensor<4xi64>, %[[N:.*]]: index, %[[P:.*]]: index, %[[KC:.*]]: tensor<1x9x4x64xf16>, %[[VC:.*]]: tensor<1x576x4xf16>)
// CHECK-SAME:    -> (tensor<1x10xf32>, tensor<1x9x4x64xf16>, tensor<1x576x4xf16>)
// CHECK:         %[[K:.*]] = lm.cache_append ins({{.*}}, %[[P]], %[[N]] : tensor<4x1x4xf32>) outs(%[[KC]]
// CHECK:         %[[V:.*]] = lm.cache_append ins({{.*}}, %[[P]], %[[N]] : tensor<4x1x4xf32>) outs(%[[VC]]
// CHECK:         lm.attention ins({{.*}}, %[[K]], %[[V]], %[[P]] : {{.*}}) {{.*}} {scale = 5.000000e-01 : f32, softcap = 3.000000e+01 : f32, window = 512 : i64}
// CHECK:         tensor.extract_slice {{.*}} [1, 1, 8]
// CHECK:         onnx.MatMul {{.*}} : (tensor<1x1x8xf32>, tensor<8x10xf32>) -> tensor<1x1x10xf32>
// CHECK-NOT:     onnx.Range
// F32-LABEL:   func.func @prefill(
// F32-SAME:      tensor<1x9x4x64xf32>, %{{.*}}: tensor<1x576x4xf32>)
// I8-LABEL:    func.func @prefill(
// I8-SAME:       %[[KC:[a-z0-9]+]]: tensor<1x9x4x64xi8>, %[[KS:[a-z0-9]+]]: tensor<1x576xf32>, %[[VC:[a-z0-9]+]]: tensor<1x576x4xi8>, %[[VS:[a-z0-9]+]]: tensor<1x576xf32>)
// I8:            %[[K:[a-z0-9]+]]:2 = lm.cache_append ins({{.*}}) outs(%[[KC]], %[[KS]]
// I8:            %[[V:[a-z0-9]+]]:2 = lm.cache_append ins({{.*}}) outs(%[[VC]], %[[VS]]
// I8:            lm.attention ins({{.*}}, %[[K]]#0, %[[V]]#0, {{.*}}) scales(%[[K]]#1, %[[V]]#1
func.func @main_graph(%ids: tensor<1x4xi64> {onnx.name = "ids"}, %pos: tensor<1x4xi64> {onnx.name = "pos"},
    %pk: tensor<1x1x?x4xf32> {onnx.name = "pk"}, %pv: tensor<1x1x?x4xf32> {onnx.name = "pv"})
    -> (tensor<1x4x10xf32> {onnx.name = "logits"}, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %head = arith.constant dense<1.0> : tensor<8x10xf32>
  %kw = arith.constant dense<1.0> : tensor<8x4xf32>
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %two = arith.constant dense<2> : tensor<i64>
  %axes = arith.constant dense<[0, 1, 2]> : tensor<3xi64>
  %qaxes = arith.constant dense<[1, 3]> : tensor<2xi64>
  %window = arith.constant dense<512> : tensor<i64>
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %shape = onnx.Shape %pk : (tensor<1x1x?x4xf32>) -> tensor<4xi64>
  %past = onnx.Gather %shape, %two : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %idshape = onnx.Shape %ids : (tensor<1x4xi64>) -> tensor<2xi64>
  %rows = onnx.Gather %idshape, %one : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %total = onnx.Add %past, %rows : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %range = onnx.Range %zero, %total, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %k4 = onnx.Unsqueeze %range, %axes : (tensor<?xi64>, tensor<3xi64>) -> tensor<1x1x1x?xi64>
  %q4 = onnx.Unsqueeze %pos, %qaxes : (tensor<1x4xi64>, tensor<2xi64>) -> tensor<1x1x4x1xi64>
  %causal = onnx.LessOrEqual %k4, %q4 : (tensor<1x1x1x?xi64>, tensor<1x1x4x1xi64>) -> tensor<1x1x4x?xi1>
  %least = onnx.Sub %q4, %window : (tensor<1x1x4x1xi64>, tensor<i64>) -> tensor<1x1x4x1xi64>
  %near = onnx.Greater %k4, %least : (tensor<1x1x1x?xi64>, tensor<1x1x4x1xi64>) -> tensor<1x1x4x?xi1>
  %mask = onnx.And %causal, %near : (tensor<1x1x4x?xi1>, tensor<1x1x4x?xi1>) -> tensor<1x1x4x?xi1>
  %k = onnx.MatMul %x, %kw : (tensor<1x4x8xf32>, tensor<8x4xf32>) -> tensor<1x4x4xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %k, %k, %mask, %pk, %pv, %none {q_num_heads = 2 : i64, kv_num_heads = 1 : i64, softcap = 30.0 : f32}
    : (tensor<1x4x8xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x1x4x?xi1>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>, none)
  %logits = onnx.MatMul %y, %head : (tensor<1x4x8xf32>, tensor<8x10xf32>) -> tensor<1x4x10xf32>
  return %logits, %nk, %nv : tensor<1x4x10xf32>, tensor<1x1x?x4xf32>, tensor<1x1x?x4xf32>
}

// -----

// Operands of rank 4 that the model transposed are taken before the transposition; is_causal needs no mask; without a
// window the cache holds the whole context, rounded up to 64.
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %{{.*}}: tensor<4xi64>, %{{.*}}: index, %{{.*}}: index, %{{.*}}: tensor<2x16x4x64xf16>, %{{.*}}: tensor<2x1024x4xf16>
// CHECK-NOT:     transpose
// CHECK:         lm.attention {{.*}} {scale = 2.500000e-01 : f32}
// CHECK-NOT:     {{[Tt]}}ranspose
func.func @main_graph(%ids: tensor<1x4xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %shape = arith.constant dense<[1, 4, 2, 4]> : tensor<4xi64>
  %flat = arith.constant dense<[1, 4, 8]> : tensor<3xi64>
  %x = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %h = onnx.Reshape %x, %shape : (tensor<1x4x8xf32>, tensor<4xi64>) -> tensor<1x4x2x4xf32>
  %q = onnx.Transpose %h {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x4x2x4xf32>) -> tensor<1x2x4x4xf32>
  %y, %nk, %nv, %qk = onnx.Attention %q, %q, %q, %none, %pk, %pv, %none {is_causal = 1 : i64, scale = 0.25 : f32}
    : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x2x4x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x2x4xf32>
  %logits = onnx.Reshape %t, %flat : (tensor<1x4x2x4xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  return %logits, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// Learned positions: rows of a table at an offset, chosen by position ids, which need not be told from the token ids by anything but the name. Padding
// behind the context reads the last row.
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %[[T:.*]]: tensor<4xi64>, %[[N:.*]]: index, %[[P:[a-z0-9]+]]: index
// CHECK:         %[[OFFSET:.*]] = arith.constant 2 : i64
// CHECK:         %[[SUM:.*]] = arith.addi %{{.*}}, %[[OFFSET]] : i64
// CHECK:         %[[LAST:.*]] = arith.constant 1003 : i64
// CHECK:         arith.minsi %[[SUM]], %[[LAST]] : i64
// CHECK:         onnx.Gather %{{.*}}, %{{.*}} : (tensor<1004x8xf32>, tensor<1x4xi64>)
func.func @main_graph(%ids: tensor<1x4xi64> {onnx.name = "input_ids"}, %pos: tensor<1x4xi64> {onnx.name = "position_ids"},
    %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>) -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %learned = arith.constant dense<2.0> : tensor<1004x8xf32>
  %two = arith.constant dense<2> : tensor<i64>
  %e = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %i = onnx.Add %pos, %two : (tensor<1x4xi64>, tensor<i64>) -> tensor<1x4xi64>
  %p = onnx.Gather %learned, %i : (tensor<1004x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %x = onnx.Add %e, %p : (tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %pk, %pv, %none {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// Positions by the running sum of the attention mask, behind the past.
// CHECK-LABEL: func.func @prefill(
// CHECK:         arith.minsi
// CHECK:         onnx.Gather %{{.*}}, %{{.*}} : (tensor<1004x8xf32>, tensor<1x4xi64>)
// CHECK-NOT:     onnx.CumSum
func.func @main_graph(%ids: tensor<1x4xi64> {onnx.name = "input_ids"}, %mask: tensor<1x?xi64>, %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %learned = arith.constant dense<2.0> : tensor<1004x8xf32>
  %one = arith.constant dense<1> : tensor<i64>
  %axis = arith.constant dense<1> : tensor<1xi64>
  %end = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %past = onnx.Shape %pk {start = 2 : i64, end = 3 : i64} : (tensor<1x2x?x4xf32>) -> tensor<1xi64>
  %sum = onnx.CumSum %mask, %one : (tensor<1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %masked = onnx.Mul %sum, %mask : (tensor<1x?xi64>, tensor<1x?xi64>) -> tensor<1x?xi64>
  %less = onnx.Sub %masked, %one : (tensor<1x?xi64>, tensor<i64>) -> tensor<1x?xi64>
  %pos = onnx.Slice %less, %past, %end, %axis, %axis : (tensor<1x?xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x?xi64>
  %e = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %p = onnx.Gather %learned, %pos : (tensor<1004x8xf32>, tensor<1x?xi64>) -> tensor<1x?x8xf32>
  %x = onnx.Add %e, %p : (tensor<1x4x8xf32>, tensor<1x?x8xf32>) -> tensor<1x4x8xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %pk, %pv, %none {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// LongRoPE: the factors depend on the length of the text, which is at most the context.
// CHECK-LABEL: func.func @prefill(
// CHECK-DAG:     %[[FALSE:.*]] = arith.constant dense<false> : tensor<i1>
// CHECK:         onnx.Where %[[FALSE]]
// CHECK-NOT:     onnx.ReduceMax
func.func @main_graph(%ids: tensor<1x4xi64> {onnx.name = "input_ids"}, %pos: tensor<1x4xi64> {onnx.name = "position_ids"},
    %pk: tensor<1x2x?x4xf32>, %pv: tensor<1x2x?x4xf32>) -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %none = onnx.None
  %table = arith.constant dense<1.0> : tensor<10x8xf32>
  %short = arith.constant dense<[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]> : tensor<8xf32>
  %long = arith.constant dense<[3.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]> : tensor<8xf32>
  %limit = arith.constant dense<1000> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %e = onnx.Gather %table, %ids : (tensor<10x8xf32>, tensor<1x4xi64>) -> tensor<1x4x8xf32>
  %last = onnx.ReduceMax %pos, %none {keepdims = 0 : i64} : (tensor<1x4xi64>, none) -> tensor<i64>
  %length = onnx.Add %last, %one : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %isLong = onnx.Greater %length, %limit : (tensor<i64>, tensor<i64>) -> tensor<i1>
  %factors = onnx.Where %isLong, %long, %short : (tensor<i1>, tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %x = onnx.Mul %e, %factors : (tensor<1x4x8xf32>, tensor<8xf32>) -> tensor<1x4x8xf32>
  %y, %nk, %nv, %qk = onnx.Attention %x, %x, %x, %none, %pk, %pv, %none {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 2 : i64}
    : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, none, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
    -> (tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, none)
  return %y, %nk, %nv : tensor<1x4x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}
