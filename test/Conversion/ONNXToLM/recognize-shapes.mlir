// RUN: elutq-opt %s -split-input-file -recognize-onnx | FileCheck %s

// As optimum-onnx writes it: shapes in which -1 is replaced by the size of an input, through ConstantOfShape, Equal and Where; heads of keys
// repeated to such a shape; the half of a scale computed from the size of a head; a mask that counts batches by a Range, is looked up in the
// flattened mask of the input, and is cut to the number of keys.
// CHECK-LABEL: func.func @computed(
// CHECK-SAME:    %[[Q:[a-z0-9]+]]: tensor<1x4x3x16xf32>, %[[NEWK:[a-z0-9]+]]: tensor<1x2x3x16xf32>, %[[NEWV:[a-z0-9]+]]: tensor<1x2x3x16xf32>
// CHECK-SAME:    %[[M:[a-z0-9]+]]: tensor<1x?xi64>
// CHECK-DAG:     %[[K:.*]] = onnx.Concat %{{.*}}, %[[NEWK]]
// CHECK-DAG:     %[[V:.*]] = onnx.Concat %{{.*}}, %[[NEWV]]
// CHECK:         onnx.Attention %[[Q]], %[[K]], %[[V]], %{{.*}} {scale = 2.500000e-01 : f32}
// CHECK-NOT:     onnx.Softmax
func.func @computed(%q: tensor<1x4x3x16xf32>, %newk: tensor<1x2x3x16xf32>, %newv: tensor<1x2x3x16xf32>, %pk: tensor<1x2x?x16xf32>, %pv: tensor<1x2x?x16xf32>,
    %mask: tensor<1x?xi64>) -> tensor<1x4x3x16xf32> {
  %none = onnx.None
  %i0 = arith.constant dense<0> : tensor<i64>
  %i1 = arith.constant dense<1> : tensor<i64>
  %i2 = arith.constant dense<2> : tensor<i64>
  %i3 = arith.constant dense<3> : tensor<i64>
  %a0 = arith.constant dense<0> : tensor<1xi64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a2 = arith.constant dense<2> : tensor<1xi64>
  %a3 = arith.constant dense<3> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %a16 = arith.constant dense<16> : tensor<1xi64>
  %rest = arith.constant dense<-1> : tensor<1xi64>
  %far = arith.constant dense<9223372036854775807> : tensor<1xi64>
  %minus = arith.constant dense<-1> : tensor<i64>
  %f0 = arith.constant dense<0.0> : tensor<f32>
  %f1 = arith.constant dense<1.0> : tensor<1xf32>
  %hidden = arith.constant dense<0xFF800000> : tensor<f32>
  %k = onnx.Concat %pk, %newk {axis = -2 : i64} : (tensor<1x2x?x16xf32>, tensor<1x2x3x16xf32>) -> tensor<1x2x?x16xf32>
  %v = onnx.Concat %pv, %newv {axis = -2 : i64} : (tensor<1x2x?x16xf32>, tensor<1x2x3x16xf32>) -> tensor<1x2x?x16xf32>
  // The number of keys.
  %shape = onnx.Shape %k : (tensor<1x2x?x16xf32>) -> tensor<4xi64>
  %total = onnx.Gather %shape, %i2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %total1 = onnx.Unsqueeze %total, %a0 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  // [1, 2, 2, T, 16], where none of it is -1.
  %asked = onnx.Concat %a1, %a2, %a2, %total1, %a16 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5xi64>
  %count = onnx.Shape %asked : (tensor<5xi64>) -> tensor<1xi64>
  %ones = onnx.ConstantOfShape %count {value = dense<1> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<5xi64>
  %marks = onnx.Mul %ones, %minus : (tensor<5xi64>, tensor<i64>) -> tensor<5xi64>
  %same = onnx.Equal %asked, %marks : (tensor<5xi64>, tensor<5xi64>) -> tensor<5xi1>
  %wide = onnx.Where %same, %ones, %asked : (tensor<5xi1>, tensor<5xi64>, tensor<5xi64>) -> tensor<5xi64>
  %heads = onnx.Concat %a1, %a4, %total1, %a16 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %k5 = onnx.Unsqueeze %k, %a2 : (tensor<1x2x?x16xf32>, tensor<1xi64>) -> tensor<1x2x1x?x16xf32>
  %ke = onnx.Expand %k5, %wide : (tensor<1x2x1x?x16xf32>, tensor<5xi64>) -> tensor<?x2x?x?x16xf32>
  %kr = onnx.Reshape %ke, %heads : (tensor<?x2x?x?x16xf32>, tensor<4xi64>) -> tensor<1x4x?x16xf32>
  %v5 = onnx.Unsqueeze %v, %a2 : (tensor<1x2x?x16xf32>, tensor<1xi64>) -> tensor<1x2x1x?x16xf32>
  %ve = onnx.Expand %v5, %wide : (tensor<1x2x1x?x16xf32>, tensor<5xi64>) -> tensor<?x2x?x?x16xf32>
  %vr = onnx.Reshape %ve, %heads : (tensor<?x2x?x?x16xf32>, tensor<4xi64>) -> tensor<1x4x?x16xf32>
  // 16 ** -0.25 of each operand.
  %qshape = onnx.Shape %q : (tensor<1x4x3x16xf32>) -> tensor<4xi64>
  %size = onnx.Slice %qshape, %rest, %far, %none, %none : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>, none, none) -> tensor<1xi64>
  %sizef = onnx.Cast %size {to = 1 : i64} : (tensor<1xi64>) -> tensor<1xf32>
  %root = onnx.Sqrt %sizef : (tensor<1xf32>) -> tensor<1xf32>
  %inverse = onnx.Div %f1, %root : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xf32>
  %inversef = onnx.Cast %inverse {to = 1 : i64} : (tensor<1xf32>) -> tensor<1xf32>
  %half = onnx.Sqrt %inversef : (tensor<1xf32>) -> tensor<1xf32>
  // The mask.
  %past = onnx.Sub %total, %i3 : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %rows = onnx.Range %past, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %axes = arith.constant dense<[0, 1, 3]> : tensor<3xi64>
  %rows4 = onnx.Unsqueeze %rows, %axes : (tensor<?xi64>, tensor<3xi64>) -> tensor<1x1x?x1xi64>
  %keys = onnx.Range %i0, %total, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %axes4 = arith.constant dense<[0, 1, 2]> : tensor<3xi64>
  %keys4 = onnx.Unsqueeze %keys, %axes4 : (tensor<?xi64>, tensor<3xi64>) -> tensor<1x1x1x?xi64>
  %causal = onnx.LessOrEqual %keys4, %rows4 : (tensor<1x1x1x?xi64>, tensor<1x1x?x1xi64>) -> tensor<1x1x?x?xi1>
  %batches = onnx.Range %i0, %i1, %i1 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %axesb = arith.constant dense<[1, 2, 3]> : tensor<3xi64>
  %batches4 = onnx.Unsqueeze %batches, %axesb : (tensor<?xi64>, tensor<3xi64>) -> tensor<?x1x1x1xi64>
  %flags = onnx.Cast %mask {to = 9 : i64} : (tensor<1x?xi64>) -> tensor<1x?xi1>
  %mshape = onnx.Shape %flags : (tensor<1x?xi1>) -> tensor<2xi64>
  %width = onnx.Gather %mshape, %a1 {axis = 0 : i64} : (tensor<2xi64>, tensor<1xi64>) -> tensor<1xi64>
  %flat = onnx.Flatten %flags {axis = 2 : i64} : (tensor<1x?xi1>) -> tensor<?x1xi1>
  %begin = onnx.Mul %batches4, %width : (tensor<?x1x1x1xi64>, tensor<1xi64>) -> tensor<?x1x1x1xi64>
  %indices = onnx.Add %keys4, %begin : (tensor<1x1x1x?xi64>, tensor<?x1x1x1xi64>) -> tensor<?x1x1x?xi64>
  %seen5 = onnx.Gather %flat, %indices {axis = 0 : i64} : (tensor<?x1xi1>, tensor<?x1x1x?xi64>) -> tensor<?x1x1x?x1xi1>
  %ishape = onnx.Shape %indices : (tensor<?x1x1x?xi64>) -> tensor<4xi64>
  %seen1 = onnx.Reshape %seen5, %rest : (tensor<?x1x1x?x1xi1>, tensor<1xi64>) -> tensor<?xi1>
  %seen = onnx.Reshape %seen1, %ishape : (tensor<?xi1>, tensor<4xi64>) -> tensor<?x1x1x?xi1>
  %both = onnx.And %causal, %seen : (tensor<1x1x?x?xi1>, tensor<?x1x1x?xi1>) -> tensor<?x1x?x?xi1>
  %visible = onnx.Slice %both, %a0, %total1, %a3, %a1 : (tensor<?x1x?x?xi1>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x?x?xi1>
  %bias = onnx.Where %visible, %f0, %hidden : (tensor<?x?x?x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x?x?x?xf32>
  %kt = onnx.Transpose %kr {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x4x?x16xf32>) -> tensor<1x4x16x?xf32>
  %qs = onnx.Mul %q, %half : (tensor<1x4x3x16xf32>, tensor<1xf32>) -> tensor<1x4x3x16xf32>
  %ks = onnx.Mul %kt, %half : (tensor<1x4x16x?xf32>, tensor<1xf32>) -> tensor<1x4x16x?xf32>
  %scores = onnx.MatMul %qs, %ks : (tensor<1x4x3x16xf32>, tensor<1x4x16x?xf32>) -> tensor<1x4x3x?xf32>
  %masked = onnx.Add %scores, %bias : (tensor<1x4x3x?xf32>, tensor<?x?x?x?xf32>) -> tensor<?x4x3x?xf32>
  %p = onnx.Softmax %masked {axis = -1 : i64} : (tensor<?x4x3x?xf32>) -> tensor<?x4x3x?xf32>
  %y = onnx.MatMul %p, %vr : (tensor<?x4x3x?xf32>, tensor<1x4x?x16xf32>) -> tensor<?x4x3x16xf32>
  %shapey = arith.constant dense<[1, 4, 3, 16]> : tensor<4xi64>
  %result = onnx.Reshape %y, %shapey : (tensor<?x4x3x16xf32>, tensor<4xi64>) -> tensor<1x4x3x16xf32>
  return %result : tensor<1x4x3x16xf32>
}

// -----

// Sizes that are compared with one that a text may have are not known: the heads are not found to be repeated, and nothing is composed.
// CHECK-LABEL: func.func @undecided(
// CHECK:         onnx.Where
// CHECK-NOT:     onnx.Attention
// CHECK:         onnx.Softmax
func.func @undecided(%q: tensor<1x4x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %newv: tensor<1x2x3x8xf32>, %pk: tensor<1x2x?x8xf32>, %pv: tensor<1x2x?x8xf32>)
    -> tensor<1x4x3x8xf32> {
  %i2 = arith.constant dense<2> : tensor<i64>
  %a0 = arith.constant dense<0> : tensor<1xi64>
  %a2 = arith.constant dense<2> : tensor<1xi64>
  %long = arith.constant dense<100> : tensor<5xi64>
  %ones = arith.constant dense<1> : tensor<5xi64>
  %k = onnx.Concat %pk, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v = onnx.Concat %pv, %newv {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %shape = onnx.Shape %k : (tensor<1x2x?x8xf32>) -> tensor<4xi64>
  %total = onnx.Gather %shape, %i2 {axis = 0 : i64} : (tensor<4xi64>, tensor<i64>) -> tensor<i64>
  %total1 = onnx.Unsqueeze %total, %a0 : (tensor<i64>, tensor<1xi64>) -> tensor<1xi64>
  %a1 = arith.constant dense<1> : tensor<1xi64>
  %a4 = arith.constant dense<4> : tensor<1xi64>
  %a8 = arith.constant dense<8> : tensor<1xi64>
  %asked = onnx.Concat %a1, %a2, %a2, %total1, %a8 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5xi64>
  %same = onnx.Equal %asked, %long : (tensor<5xi64>, tensor<5xi64>) -> tensor<5xi1>
  %wide = onnx.Where %same, %ones, %asked : (tensor<5xi1>, tensor<5xi64>, tensor<5xi64>) -> tensor<5xi64>
  %heads = onnx.Concat %a1, %a4, %total1, %a8 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %k5 = onnx.Unsqueeze %k, %a2 : (tensor<1x2x?x8xf32>, tensor<1xi64>) -> tensor<1x2x1x?x8xf32>
  %ke = onnx.Expand %k5, %wide : (tensor<1x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x?x?x8xf32>
  %kr = onnx.Reshape %ke, %heads : (tensor<?x2x?x?x8xf32>, tensor<4xi64>) -> tensor<1x4x?x8xf32>
  %v5 = onnx.Unsqueeze %v, %a2 : (tensor<1x2x?x8xf32>, tensor<1xi64>) -> tensor<1x2x1x?x8xf32>
  %ve = onnx.Expand %v5, %wide : (tensor<1x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x?x?x8xf32>
  %vr = onnx.Reshape %ve, %heads : (tensor<?x2x?x?x8xf32>, tensor<4xi64>) -> tensor<1x4x?x8xf32>
  %kt = onnx.Transpose %kr {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x4x?x8xf32>) -> tensor<1x4x8x?xf32>
  %scores = onnx.MatMul %q, %kt : (tensor<1x4x3x8xf32>, tensor<1x4x8x?xf32>) -> tensor<1x4x3x?xf32>
  %p = onnx.Softmax %scores {axis = -1 : i64} : (tensor<1x4x3x?xf32>) -> tensor<1x4x3x?xf32>
  %y = onnx.MatMul %p, %vr : (tensor<1x4x3x?xf32>, tensor<1x4x?x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

// A second layer, whose query has a known shape once the first attention is composed, for the batch of the mask is unknown.
// CHECK-LABEL: func.func @two_layers(
// CHECK:         %[[Y:.*]], %{{.*}}, %{{.*}}, %{{.*}} = onnx.Attention
// CHECK:         %[[Q:.*]] = onnx.Reshape %[[Y]], %{{.*}} -> tensor<1x2x3x8xf32>
// CHECK:         onnx.Attention %[[Q]]
// CHECK-NOT:     onnx.Softmax
func.func @two_layers(%q: tensor<1x2x3x8xf32>, %newk: tensor<1x2x3x8xf32>, %pk0: tensor<1x2x?x8xf32>, %pv0: tensor<1x2x?x8xf32>,
    %pk1: tensor<1x2x?x8xf32>, %pv1: tensor<1x2x?x8xf32>, %mask: tensor<?x1x3x?xf32>) -> tensor<1x2x3x8xf32> {
  %i0 = arith.constant dense<0> : tensor<1xi64>
  %rest = arith.constant dense<[2, 3, 8]> : tensor<3xi64>
  %same = arith.constant dense<[1, 2, 3, 8]> : tensor<4xi64>
  %k0 = onnx.Concat %pk0, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v0 = onnx.Concat %pv0, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %kt0 = onnx.Transpose %k0 {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x8xf32>) -> tensor<1x2x8x?xf32>
  %scores0 = onnx.MatMul %q, %kt0 : (tensor<1x2x3x8xf32>, tensor<1x2x8x?xf32>) -> tensor<1x2x3x?xf32>
  %masked0 = onnx.Add %scores0, %mask : (tensor<1x2x3x?xf32>, tensor<?x1x3x?xf32>) -> tensor<?x2x3x?xf32>
  %p0 = onnx.Softmax %masked0 {axis = -1 : i64} : (tensor<?x2x3x?xf32>) -> tensor<?x2x3x?xf32>
  %y0 = onnx.MatMul %p0, %v0 : (tensor<?x2x3x?xf32>, tensor<1x2x?x8xf32>) -> tensor<?x2x3x8xf32>
  %shape = onnx.Shape %y0 : (tensor<?x2x3x8xf32>) -> tensor<4xi64>
  %batch = onnx.Gather %shape, %i0 {axis = 0 : i64} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %target = onnx.Concat %batch, %rest {axis = 0 : i64} : (tensor<1xi64>, tensor<3xi64>) -> tensor<4xi64>
  %q1 = onnx.Reshape %y0, %target : (tensor<?x2x3x8xf32>, tensor<4xi64>) -> tensor<?x2x3x8xf32>
  %k1 = onnx.Concat %pk1, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %v1 = onnx.Concat %pv1, %newk {axis = 2 : i64} : (tensor<1x2x?x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x2x?x8xf32>
  %kt1 = onnx.Transpose %k1 {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x8xf32>) -> tensor<1x2x8x?xf32>
  %scores1 = onnx.MatMul %q1, %kt1 : (tensor<?x2x3x8xf32>, tensor<1x2x8x?xf32>) -> tensor<?x2x3x?xf32>
  %p1 = onnx.Softmax %scores1 {axis = -1 : i64} : (tensor<?x2x3x?xf32>) -> tensor<?x2x3x?xf32>
  %y1 = onnx.MatMul %p1, %v1 : (tensor<?x2x3x?xf32>, tensor<1x2x?x8xf32>) -> tensor<?x2x3x8xf32>
  %result = onnx.Reshape %y1, %same : (tensor<?x2x3x8xf32>, tensor<4xi64>) -> tensor<1x2x3x8xf32>
  return %result : tensor<1x2x3x8xf32>
}
