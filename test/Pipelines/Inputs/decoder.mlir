// The entries of a model of one layer as hlq-pack-weights leaves them: a float embedding, packed products, attention.

#layout = #hlq.layout<lane = dword, rows = 16, bits = 2, group_size = 64, params = hlq, param_type = f16>
#kernel = #hlq.kernel<isa = "avx512vbmi", algorithm = "lut", m_tile = 1, n_tile = 2>

func.func @decode(%tokens: tensor<1xi64>, %count: index, %position: index, %kc: tensor<1x1x64x64xf16>, %vc: tensor<1x64x64xf16>)
    -> (tensor<1x96xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>) {
  %zero = arith.constant 0.0 : f32
  %table = arith.constant dense<0.5> : tensor<96x64xf32>
  %wq = arith.constant dense<17> : tensor<4x384xi8>
  %wk = arith.constant dense<34> : tensor<4x384xi8>
  %wo = arith.constant dense<0.25> : tensor<64x96xf32>
  %e = tensor.empty() : tensor<1x64xf32>
  %x = lm.gather ins(%tokens, %table : tensor<1xi64>, tensor<96x64xf32>) outs(%e : tensor<1x64xf32>) -> tensor<1x64xf32>
  %t0 = tensor.empty() : tensor<1x4x1x64xi8>
  %s0 = tensor.empty() : tensor<1x1x1xf32>
  %u0 = tensor.empty() : tensor<1x1x1xf32>
  %t:3 = hlq.build_lut ins(%x : tensor<1x64xf32>) outs(%t0, %s0, %u0 : tensor<1x4x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>)
           {table_group = 64 : i64, lane = 0 : i32} -> tensor<1x4x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
  %q = hlq.lut_matmul ins(%t#0, %t#1, %t#2, %wq : tensor<1x4x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<4x384xi8>)
         outs(%e : tensor<1x64xf32>) {layout = #layout, kernel = #kernel, table_group = 64 : i64} -> tensor<1x64xf32>
  %k = hlq.lut_matmul ins(%t#0, %t#1, %t#2, %wk : tensor<1x4x1x64xi8>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<4x384xi8>)
         outs(%e : tensor<1x64xf32>) {layout = #layout, kernel = #kernel, table_group = 64 : i64} -> tensor<1x64xf32>
  %q3 = tensor.expand_shape %q [[0], [1, 2]] output_shape [1, 1, 64] : tensor<1x64xf32> into tensor<1x1x64xf32>
  %k3 = tensor.expand_shape %k [[0], [1, 2]] output_shape [1, 1, 64] : tensor<1x64xf32> into tensor<1x1x64xf32>
  %kn = lm.cache_append ins(%k3, %position, %count : tensor<1x1x64xf32>) outs(%kc : tensor<1x1x64x64xf16>) -> tensor<1x1x64x64xf16>
  %vn = lm.cache_append ins(%k3, %position, %count : tensor<1x1x64xf32>) outs(%vc : tensor<1x64x64xf16>) -> tensor<1x64x64xf16>
  %a0 = tensor.empty() : tensor<1x1x64xf32>
  %a = lm.attention ins(%q3, %kn, %vn, %position : tensor<1x1x64xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>)
         outs(%a0 : tensor<1x1x64xf32>) {scale = 1.250000e-01 : f32} -> tensor<1x1x64xf32>
  %a2 = tensor.collapse_shape %a [[0, 1], [2]] : tensor<1x1x64xf32> into tensor<1x64xf32>
  %r = linalg.add ins(%x, %a2 : tensor<1x64xf32>, tensor<1x64xf32>) outs(%e : tensor<1x64xf32>) -> tensor<1x64xf32>
  %n = linalg.exp ins(%r : tensor<1x64xf32>) outs(%e : tensor<1x64xf32>) -> tensor<1x64xf32>
  %y0 = tensor.empty() : tensor<1x96xf32>
  %z = linalg.fill ins(%zero : f32) outs(%y0 : tensor<1x96xf32>) -> tensor<1x96xf32>
  %y = linalg.matmul ins(%n, %wo : tensor<1x64xf32>, tensor<64x96xf32>) outs(%z : tensor<1x96xf32>) -> tensor<1x96xf32>
  return %y, %kn, %vn : tensor<1x96xf32>, tensor<1x1x64x64xf16>, tensor<1x64x64xf16>
}
