// RUN: elutq-opt %s -split-input-file -recognize-onnx | FileCheck %s

// As torch.onnx writes it below opset 23: half of the scale in front of each operand, keys transposed in three dimensions, heads repeated,
// rows of NaN made 0. The unknown batch of the mask is gone behind the operator.
// CHECK-LABEL: func.func @torch(
// CHECK-SAME:    %[[Q:[a-z0-9]+]]: tensor<1x4x3x8xf32>, %[[NEWK:[a-z0-9]+]]: tensor<1x2x3x8xf32>, %[[NEWV:[a-z0-9]+]]: tensor<1x2x3x8xf32>, %[[PK:[a-z0-9]+]]: tensor<1x2x?x8xf32>, %[[PV:[a-z0-9]+]]: tensor<1x2x?x8xf32>, %[[M:[a-z0-9]+]]: tensor<?x1x3x?xf32>
// CHECK-DAG:     %[[K:.*]] = onnx.Concat %[[PK]], %[[NEWK]]
// CHECK-DAG:     %[[V:.*]] = onnx.Concat %[[PV]], %[[NEWV]]
// CHECK:         %[[Y:.*]], %{{.*}}, %{{.*}}, %{{.*}} = onnx.Attention %[[Q]], %[[K]], %[[V]], %[[M]], %{{.*}} {scale = 2.500000e-01 : f32}
// CHECK-NOT:     onnx.Softmax
// CHECK:         onnx.Transpose %[[Y]] {{.*}} : (tensor<1x4x3x8xf32>) -> tensor<1x3x4x8xf32>
func.func @torch(%q: tensor<1x4x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>,
    %mask: tensor<?x1x3x?xf32>) -> tensor<1x3x32xf32> {
  %none = onnx.None
  %half = arith.constant dense<0.5> : tensor<f32>
  %zero = arith.constant dense<0.0> : tensor<f32>
  %two = arith.constant dense<2> : tensor<1xi64>
  %begin = arith.constant dense<2> : tensor<1xi64>
  %end = arith.constant dense<3> : tensor<1xi64>
  %one = arith.constant dense<1> : tensor<1xi64>
  %four = arith.constant dense<4> : tensor<1xi64>
  %eight = arith.constant dense<8> : tensor<1xi64>
  %rest = arith.constant dense<-1> : tensor<1xi64>
  %flat = arith.constant dense<[1, 3, -1]> : tensor<3xi64>
  %k = onnx.Concat %pk, %newk {axis = -2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %shape = onnx.Shape %k : (tensor<1x2x?x8xf32>) -> tensor<4xi64>
  %total = onnx.Slice %shape, %begin, %end, %none, %none : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>, none, none) -> tensor<1xi64>
  %wide = onnx.Concat %one, %two, %two, %total, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5xi64>
  %heads = onnx.Concat %one, %four, %total, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %three = onnx.Concat %rest, %total, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %swapped = onnx.Concat %one, %four, %eight, %total {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %k5 = onnx.Unsqueeze %k, %two : (tensor<1x2x?x8xf32>, tensor<1xi64>) -> tensor<1x2x1x?x8xf32>
  %ke = onnx.Expand %k5, %wide : (tensor<1x2x1x?x8xf32>, tensor<5xi64>) -> tensor<1x2x2x?x8xf32>
  %kr = onnx.Reshape %ke, %heads : (tensor<1x2x2x?x8xf32>, tensor<4xi64>) -> tensor<1x4x?x8xf32>
  %v5 = onnx.Unsqueeze %v, %two : (tensor<1x2x?x8xf32>, tensor<1xi64>) -> tensor<1x2x1x?x8xf32>
  %ve = onnx.Expand %v5, %wide : (tensor<1x2x1x?x8xf32>, tensor<5xi64>) -> tensor<1x2x2x?x8xf32>
  %vr = onnx.Reshape %ve, %heads : (tensor<1x2x2x?x8xf32>, tensor<4xi64>) -> tensor<1x4x?x8xf32>
  %k3 = onnx.Reshape %kr, %three : (tensor<1x4x?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %t3 = onnx.Transpose %k3 {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
  %kt = onnx.Reshape %t3, %swapped : (tensor<?x8x?xf32>, tensor<4xi64>) -> tensor<1x4x8x?xf32>
  %qs = onnx.Mul %q, %half : (tensor<1x4x3x8xf32>, tensor<f32>) -> tensor<1x4x3x8xf32>
  %ks = onnx.Mul %kt, %half : (tensor<1x4x8x?xf32>, tensor<f32>) -> tensor<1x4x8x?xf32>
  %scores = onnx.MatMul %qs, %ks : (tensor<1x4x3x8xf32>, tensor<1x4x8x?xf32>) -> tensor<1x4x3x?xf32>
  %masked = onnx.Add %scores, %mask : (tensor<1x4x3x?xf32>, tensor<?x1x3x?xf32>) -> tensor<?x4x3x?xf32>
  %p = onnx.Softmax %masked {axis = -1 : i64} : (tensor<?x4x3x?xf32>) -> tensor<?x4x3x?xf32>
  %nan = onnx.IsNaN %p : (tensor<?x4x3x?xf32>) -> tensor<?x4x3x?xi1>
  %safe = onnx.Where %nan, %zero, %p : (tensor<?x4x3x?xi1>, tensor<f32>, tensor<?x4x3x?xf32>) -> tensor<?x4x3x?xf32>
  %y = onnx.MatMul %safe, %vr : (tensor<?x4x3x?xf32>, tensor<1x4x?x8xf32>) -> tensor<?x4x3x8xf32>
  %t = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x4x3x8xf32>) -> tensor<?x3x4x8xf32>
  %result = onnx.Reshape %t, %flat : (tensor<?x3x4x8xf32>, tensor<3xi64>) -> tensor<1x3x32xf32>
  return %result : tensor<1x3x32xf32>
}

// -----

// A softcap between scale and mask, one transposition, no repetition.
// CHECK-LABEL: func.func @softcap(
// CHECK:         onnx.Attention %{{.*}} {scale = 1.250000e-01 : f32, softcap = 5.000000e+00 : f32}
// CHECK-NOT:     onnx.Softmax
// Products that are capped by something else are none: the factors do not cancel.
// CHECK-LABEL: func.func @no_softcap(
// CHECK-NOT:     onnx.Attention
// CHECK:         onnx.Softmax
func.func @softcap(%q: tensor<1x2x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>,
    %mask: tensor<1x1x3x?xf32>) -> tensor<1x2x3x8xf32> {
  %scale = arith.constant dense<8.0> : tensor<f32>
  %cap = arith.constant dense<5.0> : tensor<f32>
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x8xf32>) -> tensor<1x2x8x?xf32>
  %product = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x?xf32>) -> tensor<1x2x3x?xf32>
  %scores = onnx.Div %product, %scale : (tensor<1x2x3x?xf32>, tensor<f32>) -> tensor<1x2x3x?xf32>
  %less = onnx.Div %scores, %cap : (tensor<1x2x3x?xf32>, tensor<f32>) -> tensor<1x2x3x?xf32>
  %tanh = onnx.Tanh %less : (tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  %capped = onnx.Mul %tanh, %cap : (tensor<1x2x3x?xf32>, tensor<f32>) -> tensor<1x2x3x?xf32>
  %masked = onnx.Add %capped, %mask : (tensor<1x2x3x?xf32>, tensor<1x1x3x?xf32>) -> tensor<1x2x3x?xf32>
  %p = onnx.Softmax %masked {axis = 3 : i64} : (tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  %y = onnx.MatMul %p, %v : (tensor<1x2x3x?xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}
func.func @no_softcap(%q: tensor<1x2x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>)
    -> tensor<1x2x3x8xf32> {
  %cap = arith.constant dense<5.0> : tensor<f32>
  %other = arith.constant dense<6.0> : tensor<f32>
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x8xf32>) -> tensor<1x2x8x?xf32>
  %product = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x?xf32>) -> tensor<1x2x3x?xf32>
  %less = onnx.Div %product, %cap : (tensor<1x2x3x?xf32>, tensor<f32>) -> tensor<1x2x3x?xf32>
  %tanh = onnx.Tanh %less : (tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  %capped = onnx.Mul %tanh, %other : (tensor<1x2x3x?xf32>, tensor<f32>) -> tensor<1x2x3x?xf32>
  %p = onnx.Softmax %capped {axis = 3 : i64} : (tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  %y = onnx.MatMul %p, %v : (tensor<1x2x3x?xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// -----

// None of these: weights that something else reads, too; a softmax over the queries; keys that are not behind a past.
// CHECK-NOT: onnx.Attention
func.func @used_twice(%q: tensor<1x2x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>)
    -> (tensor<1x2x3x8xf32>, tensor<1x2x3x?xf32>) {
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x8xf32>) -> tensor<1x2x8x?xf32>
  %scores = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x?xf32>) -> tensor<1x2x3x?xf32>
  %p = onnx.Softmax %scores {axis = 3 : i64} : (tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  %y = onnx.MatMul %p, %v : (tensor<1x2x3x?xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32>
  return %y, %p : tensor<1x2x3x8xf32>, tensor<1x2x3x?xf32>
}
func.func @other_axis(%q: tensor<1x2x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>)
    -> tensor<1x2x3x8xf32> {
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x8xf32>) -> tensor<1x2x8x?xf32>
  %scores = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x?xf32>) -> tensor<1x2x3x?xf32>
  %p = onnx.Softmax %scores {axis = 2 : i64} : (tensor<1x2x3x?xf32>) -> tensor<1x2x3x?xf32>
  %y = onnx.MatMul %p, %v : (tensor<1x2x3x?xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}
func.func @no_past(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x2x3x8xf32> {
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x5x8xf32>) -> tensor<1x2x8x5xf32>
  %scores = onnx.MatMul %q, %kt : (tensor<1x2x3x8xf32>, tensor<1x2x8x5xf32>) -> tensor<1x2x3x5xf32>
  %p = onnx.Softmax %scores {axis = 3 : i64} : (tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32>
  %y = onnx.MatMul %p, %v : (tensor<1x2x3x5xf32>, tensor<1x2x5x8xf32>) -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}
