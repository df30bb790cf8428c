//===- Passes.td - Conversions between dialects ------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_CONVERSION_PASSES_TD
#define ELUTQ_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// HLQToLoops
//===----------------------------------------------------------------------===//

def ConvertHLQToLoopsPass : Pass<"convert-hlq-to-loops"> {
  let summary = "Lower bufferized hlq ops to scalar loops, the reference";
  let description = [{
    `hlq.build_lut`, `hlq.lut_matmul`, `hlq.quantize_rows`, `hlq.code_matmul` and `hlq.packed_gather` become loops that read one
    nibble or code, one entry and one parameter at a time, on any CPU. They compute what the op descriptions say in the order
    they say it: the oracle that `convert-hlq-to-vector` must agree with bit for bit.

    Requires: memref operands. Ensures: none of these ops remains. Next: `elutq-expand-math`.

    ```mlir
    hlq.packed_gather ins(%ids, %packed : memref<2xi64>, memref<4x896xi8>) outs(%y : memref<2x32xf32>) {layout = ...}
    // becomes
    scf.for %m = %c0 to %c2 step %c1 {
      %id = memref.load %ids[%m] : memref<2xi64>
      scf.for %k = %c0 to %c32 step %c1 {
        %byte = memref.load %packed[%block, %offset] : memref<4x896xi8>
        ...
        memref.store %w, %y[%m, %k] : memref<2x32xf32>
      }
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
  let statistics = [Statistic<"numLowered", "num-lowered", "Number of hlq ops lowered to loops">];
}

//===----------------------------------------------------------------------===//
// HLQToVector
//===----------------------------------------------------------------------===//

def ConvertHLQToVectorPass : Pass<"convert-hlq-to-vector"> {
  let summary = "Lower bufferized hlq ops to loops over vectors";
  let description = [{
    One generator, driven by `#hlq.layout`, `m_tile` and `table_group`, emits the kernels of all instruction sets: vectors
    of plane bytes are cut into nibbles, `hlq.lookup` finds their table entries, and either `hlq.accumulate` (dword lanes)
    or a pair of 16-bit sums (byte lanes) adds them; codes of 8 bits go to `hlq.dot`, or, with `isa = "avx512amx"`, codes made from planes to `amx` tiles. K is cut into pieces
    whose tables stay in the first-level cache. Where there is one block of activations, weights are read once, from memory: they
    are fetched 2048 bytes ahead (`memref.prefetch`), as the prefetchers of machines start anew on each page.

    Requires: memref operands with contiguous last dims and, with dword lanes, 16 rows. Ensures: `hlq.lookup`,
    `hlq.accumulate` and `hlq.dot` are the only hlq ops that remain, `amx` ops stay for `convert-vector-to-llvm`. The results are those of `convert-hlq-to-loops`, bit for bit.
    Next: `convert-hlq-to-llvm`.

    ```mlir
    hlq.lut_matmul ins(%tables, %scales, %sums, %packed : ...) outs(%y : memref<1x64xf32>) {layout = ..., kernel = ...}
    // becomes, for each block of rows, step of columns and plane
    %table = vector.load %tables[%m, %k, %c, %c0] : memref<1x8x1x64xi8>, vector<64xi8>
    %found = hlq.lookup %table[%index] : vector<64xi8>, vector<64xi8>
    %next = hlq.accumulate %sum, %found : vector<16xi32>, vector<64xi8>
    ```
  }];
  let dependentDialects = ["::elutq::hlq::HLQDialect", "::mlir::LLVM::LLVMDialect", "::mlir::amx::AMXDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
  let options = [
    Option<"tableBytes", "table-bytes", "int64_t", /*default=*/"16384",
           "Bytes of tables that one pass over the row blocks may use (default 16384)">];
  let statistics = [Statistic<"numVectorized", "num-vectorized", "Number of hlq ops lowered to vectors">];
}

//===----------------------------------------------------------------------===//
// HLQToLLVM
//===----------------------------------------------------------------------===//

def ConvertHLQToLLVMPass : Pass<"convert-hlq-to-llvm"> {
  let summary = "Lower hlq.lookup, hlq.accumulate and hlq.dot to an instruction set";
  let description = [{
    `avx512amx` is `avx512vbmi` here. A look-up becomes `vpshufb` (`avx2`, `avx512bw`), `vpermb` (`avx512vbmi`) or `tbl` (`neon`), a sum of bytes becomes
    `vpdpbusd` (`avx512vbmi`, which stands for VBMI and VNNI together) or `sdot` (`neon_dotprod`). A product of codes becomes
    `vpdpbusd`, `vpmaddwd` of bytes widened to words (`avx2`, `avx512bw`), `sdot` or widening multiplications (`neon`).
    `generic` uses portable vector operations. Every vector length works with every instruction set; only hlq ops are touched.

    ```mlir
    %r = hlq.lookup %table[%idx] : vector<16xi8>, vector<32xi8>
    // with isa=avx2:
    %t = vector.shuffle %table, %table [0, 1, ..., 15, 0, 1, ..., 15] : vector<16xi8>, vector<16xi8>
    %r = llvm.call_intrinsic "llvm.x86.avx2.pshuf.b"(%t, %idx) : (vector<32xi8>, vector<32xi8>) -> vector<32xi8>
    ```

    Requires: nothing. Ensures: no `hlq.lookup`, `hlq.accumulate` or `hlq.dot` remains. Next: `convert-vector-to-llvm`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::vector::VectorDialect"];
  let options = [
    Option<"isa", "isa", "std::string", /*default=*/"\"generic\"",
           "avx512amx, avx512vbmi, avx512bw, avx2, neon_dotprod, neon or generic (default generic)">];
  let statistics = [Statistic<"numLowered", "num-lowered", "Number of hlq.lookup and hlq.accumulate ops lowered">];
}

//===----------------------------------------------------------------------===//
// LMToVector
//===----------------------------------------------------------------------===//

def ConvertLMToVectorPass : InterfacePass<"convert-lm-to-vector", "::mlir::FunctionOpInterface"> {
  let summary = "Lower bufferized lm ops to loops over vectors";
  let description = [{
    Attention becomes an online softmax over blocks of 16 keys cut at absolute positions: 16-lane partial dot products that
    are added in one fixed tree, vector `math.exp`, and sums over values that live in the result. A row is computed by
    the same operations whatever the number of rows. Heads that are no multiple of 16 wide become scalar loops, as by
    `convert-lm-to-loops`.

    Requires: memref operands. Ensures: no `lm` op remains. Next: `elutq-expand-math`.

    ```mlir
    lm.gather ins(%ids, %table : memref<4xi64>, memref<96x64xf32>) outs(%y : memref<4x64xf32>)
    // becomes
    scf.for %m = %c0 to %c4 step %c1 {
      %id = memref.load %ids[%m] : memref<4xi64>
      %row = arith.index_cast %id : i64 to index
      %0 = vector.load %table[%row, %c0] : memref<96x64xf32>, vector<16xf32>
      vector.store %0, %y[%m, %c0] : memref<4x64xf32>, vector<16xf32>
      ...
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
  let options = [Option<"accumulators", "accumulators", "int64_t", /*default=*/"6",
                        "Vectors of 16 sums that attention keeps in registers; results do not depend on it (default 6, for 16 registers of "
                        "256 bits or 32 of 128)">];
  let statistics = [Statistic<"numVectorized", "num-vectorized", "Number of lm ops lowered to vectors">];
}

def ConvertLMToLoopsPass : InterfacePass<"convert-lm-to-loops", "::mlir::FunctionOpInterface"> {
  let summary = "Lower bufferized lm ops to scalar loops, the reference";
  let description = [{
    Attention goes through the parts of the visible positions one row and one number at a time. Gives the bits that
    `convert-lm-to-vector` gives.

    Requires: memref operands. Ensures: no `lm` op remains. Next: `elutq-expand-math`.

    ```mlir
    lm.cache_append ins(%k, %position, %count : memref<8x1x64xf32>) outs(%cache : memref<1x512x64xf16>)
    // becomes
    scf.for %m = %c0 to %count step %c1 {
      %p = arith.addi %position, %m : index
      %slot = arith.remui %p, %c512 : index
      ...
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
  let statistics = [Statistic<"numLowered", "num-lowered", "Number of lm ops lowered to scalar loops">];
}

//===----------------------------------------------------------------------===//
// ONNXToLM
//===----------------------------------------------------------------------===//

def WidenHalfONNXPass : Pass<"widen-half-onnx", "::mlir::ModuleOp"> {
  let summary = "Compute in f32 what a model computes in half precision";
  let description = [{
    Where inputs or outputs are f16 or bf16, they and all activations become f32. Matrices, tables and the scales of quantized matrices stay as they
    are stored: a Cast widens them where they are read, which `hlq-quantize` looks through. Small constants and tables of rotary embeddings are
    converted.

    Requires: a module that `elutq-translate --import-onnx` makes. Ensures: only stored weights, and rows that a Gather takes of them, are of
    half precision; a module with other inputs and outputs is as it was. Next: `recognize-onnx`.
  }];
  let statistics = [Statistic<"numWidened", "num-widened", "Number of functions with values of half precision">];
}

def RecognizeONNXPass : Pass<"recognize-onnx", "::mlir::ModuleOp"> {
  let summary = "Put one operator in the place of those that an exporter wrote for it";
  let description = [{
    Exporters that target older opsets write an operator as the simpler ones it consists of. This finds

    - attention with a cache: `Softmax(Q K^T * scale + mask) V`, where K and V are a past that is an input, joined with the new rows by
      Concat. The factors may stand before or behind the product, a softcap in between, and heads of K and V may be repeated for groups of
      queries. It becomes `onnx.Attention`, and so does `onnx.contrib.MultiHeadAttention` of such keys and values. Heads repeated in front of an
      `onnx.Attention` are taken before the repetition, too.
    - quantized weights: `DequantizeLinear` of constants of 2, 4 or 8 bits, per tensor, per row, or in blocks along K of a multiple of 16, behind
      it `Transpose` or `Cast`, and MatMul, Gemm or Gather. They become `onnx.contrib.MatMulNBits` and `onnx.contrib.GatherBlockQuantized` with
      the same codes. Where it is read by something else, the floats become a constant.
    - experts: constant matrices that GatherND or Gather takes by the indices of TopK, multiplied with one row each. They become a product of all rows
      with each expert's matrix, and a choice among the results, so that they are quantized as other matrices are and no matrix is copied.

    Integers of which shapes are made are evaluated first, as far as they don't depend on the number of past positions: through Shape, Concat,
    ConstantOfShape, Equal and Where, as exporters write them. Shapes that become known are written into the types.

    What is not recognized stays as it is.

    Requires: a module that `elutq-translate --import-onnx` makes. Ensures: nothing; a graph without past keys and values joined by Concat, quantized weights and
    experts is as it was. Next: `lm-build-entry`.
  }];
  let statistics = [Statistic<"numAttention", "num-attention", "Number of attentions composed">,
                    Statistic<"numWeights", "num-weights", "Number of products and look-ups with quantized weights">,
                    Statistic<"numExperts", "num-experts", "Number of products with matrices of experts">];
}

def LMBuildEntryPass : Pass<"lm-build-entry", "::mlir::ModuleOp"> {
  let summary = "Make the graph of a language model an entry point with caches";
  let description = [{
    Requires: a module that `elutq-translate --import-onnx` makes, with `dims` that bind batch and sequence. Rewrites its one
    function, whose rows `M` are known, to

    ```
    func.func @<entry>(%tokens: tensor<Mxi64>, %count: index, %position: index, %k0: tensor<HxCAP/64xDx64xf16>, %v0: tensor<HxCAPxDxf16>, %k1, ...)
        -> (tensor<1xVxf32>, tensor<HxCAP/64xDx64xf16>, ...)
    ```

    `onnx.Attention` and `onnx.contrib.GroupQueryAttention` become `lm.cache_append` and `lm.attention`; the caches are
    paired with the model's past and present values through these ops, in their order, never by name. The past is an operand, or joined with the new
    rows by `onnx.Concat`, or a cache of fixed size into which `onnx.TensorScatter` writes them at the position of the first one, and of which
    `onnx.Attention` reads `nonpad_kv_seqlen` positions. The mask is understood by
    what it computes: `k <= q`, and `k > q - window` for a sliding window, over the positions of keys and queries; any
    other mask is an error. Position ids become `position + i`; the attention mask and the lengths of the past
    disappear. Only row `count - 1` enters the output head. `CAP` is `max-context`, or `window + chunk` where less, rounded up to
    64. With a cache of i8 each is followed by its scales, `tensor<HxCAPxf32>`. The module gets `elutq.model = {chunk, layers, max_context, vocab}`.

    Ensures: the function has no `onnx` attention. Next: `convert-onnx-to-lm`.
  }];
  let options = [
    Option<"entry", "entry", "std::string", /*default=*/"\"decode\"", "Name of the function">,
    Option<"chunk", "chunk", "int64_t", /*default=*/"64", "Largest number of rows of any entry point that shares the caches (default: 64)">,
    Option<"maxContext", "max-context", "int64_t", /*default=*/"4096", "Largest number of positions (default: 4096)">,
    Option<"kvCache", "kv-cache", "std::string", /*default=*/"\"f16\"", "Element type of the caches: f16, f32 or int8 (default: f16)">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
                           "::elutq::lm::LMDialect"];
  let statistics = [Statistic<"numAttention", "num-attention", "Number of attention ops converted">];
}

def ConvertONNXToLMPass : Pass<"convert-onnx-to-lm"> {
  let summary = "Convert token embeddings to lm";
  let description = [{
    A Gather of rows of a constant float matrix becomes `lm.gather`. If the model transposes the constant for it, the constant is
    stored transposed, and its other readers transpose it back. Everything else stays.

    Requires: tensors of static shape; a look-up of unknown shape stays. Ensures: nothing more. Next: `convert-onnx-to-hlq`.

    ```mlir
    %y = onnx.Gather %table, %ids : (tensor<96x64xf32>, tensor<1x4xi64>) -> tensor<1x4x64xf32>
    // becomes
    %rows = tensor.collapse_shape %ids [[0, 1]] : tensor<1x4xi64> into tensor<4xi64>
    %e = lm.gather ins(%rows, %table : tensor<4xi64>, tensor<96x64xf32>) outs(%0 : tensor<4x64xf32>) -> tensor<4x64xf32>
    %y = tensor.expand_shape %e [[0, 1], [2]] output_shape [1, 4, 64] : tensor<4x64xf32> into tensor<1x4x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
                           "::elutq::lm::LMDialect"];
  let statistics = [Statistic<"numGathers", "num-gathers", "Number of embeddings converted">];
}

//===----------------------------------------------------------------------===//
// ONNXToHLQ
//===----------------------------------------------------------------------===//

def ConvertONNXToHLQPass : Pass<"convert-onnx-to-hlq"> {
  let summary = "Convert quantized linear layers and embeddings to hlq";
  let description = [{
    `onnx.contrib.MatMulNBits`, `onnx.contrib.GatherBlockQuantized`, `onnx.elutq.HLQMatMul` and `onnx.elutq.HLQGather` with
    constant weights become `hlq.linear` and `hlq.gather`. The codes of uniform formats are cut into bit planes without loss,
    those of 8 bits stay codes; their scales and zeros are kept in f32: `s_j = 2^j * s`, `z = -zero_point * s`. Zero points may
    be integers or floats.

    Requires: static shapes; `lm-build-entry` has run. Ensures: no quantized op remains; one that cannot be converted is an
    error. Next: `convert-onnx-to-linalg`.

    ```mlir
    %y = onnx.contrib.MatMulNBits %x, %codes, %scales, %none, %none, %none {K = 64 : i64, N = 8 : i64, bits = 4 : i64,
           block_size = 32 : i64} : (tensor<1x3x64xf32>, tensor<8x2x16xui8>, tensor<16xf32>, none, none, none) -> tensor<1x3x8xf32>
    // becomes
    %p = arith.constant dense<...> : tensor<4x8x8xi8>
    %s = arith.constant dense<...> : tensor<8x2x1xf32>
    %r = tensor.collapse_shape %x [[0, 1], [2]] : tensor<1x3x64xf32> into tensor<3x64xf32>
    %l = hlq.linear ins(%r, %p, %s : ...) outs(%e : tensor<3x8xf32>) {group_size = 32 : i64, zero_point = 8 : i64} -> tensor<3x8xf32>
    %y = tensor.expand_shape %l [[0, 1], [2]] output_shape [1, 3, 8] : tensor<3x8xf32> into tensor<1x3x8xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
                           "::elutq::hlq::HLQDialect"];
  let statistics = [Statistic<"numLinear", "num-linear", "Number of linear layers converted">,
                    Statistic<"numGathers", "num-gathers", "Number of embeddings converted">];
}

//===----------------------------------------------------------------------===//
// ONNXToLinalg
//===----------------------------------------------------------------------===//

def RewriteONNXConvolutionsPass : InterfacePass<"rewrite-onnx-convolutions", "::mlir::FunctionOpInterface"> {
  let summary = "Make convolutions with constant weights products of matrices";
  let description = [{
    A convolution with a kernel as large as its strides, such as the patch embedding of a vision transformer, takes every element of its input once:
    a Reshape and a Transpose put the elements of a window side by side, and the rest is a product with the weights as a matrix, `onnx.Gemm`.
    Other windows of up to 16 elements are put together by one Slice for each element of a window and a Concat. The product is that of a linear layer:
    it is quantized and computed like one.

    Convolutions in several groups, with dilation, with larger windows, or with weights, shapes or pads that are not known stay as they are.

    Requires: nothing. Ensures: nothing. Next: `convert-onnx-to-hlq`.

    ```mlir
    %0 = onnx.Conv %x, %w, %b {strides = array<i64: 8, 8>} : (tensor<2x3x24x24xf32>, tensor<64x3x8x8xf32>, tensor<64xf32>) -> tensor<2x64x3x3xf32>
    // becomes
    %0 = onnx.Reshape %x, %s : (tensor<2x3x24x24xf32>, tensor<6xi64>) -> tensor<2x3x3x8x3x8xf32>
    %1 = onnx.Transpose %0 {perm = array<i64: 0, 2, 4, 1, 3, 5>} : (tensor<2x3x3x8x3x8xf32>) -> tensor<2x3x3x3x8x8xf32>
    %2 = onnx.Reshape %1, %t : (tensor<2x3x3x3x8x8xf32>, tensor<2xi64>) -> tensor<18x192xf32>
    %3 = onnx.Gemm %2, %m, %b {transB = 1 : i64} : (tensor<18x192xf32>, tensor<64x192xf32>, tensor<64xf32>) -> tensor<18x64xf32>
    ```
  }];
  let dependentDialects = ["::elutq::onnx::ONNXDialect", "::mlir::arith::ArithDialect"];
  let statistics = [Statistic<"numPatches", "num-patches", "Number of convolutions of patches">,
                    Statistic<"numWindows", "num-windows", "Number of convolutions with other windows">];
}

def ConvertONNXToLinalgPass : Pass<"convert-onnx-to-linalg"> {
  let summary = "Convert all other onnx ops to linalg, tensor, arith and math";
  let description = [{
    Evaluates the integer arithmetic of shapes on constants, removes what is unused, and converts the rest on tensors of
    static shape. Products with a matrix become `linalg.matmul` on two dimensions, with the matrix as `[N, K]` where
    the model transposes a constant; one leading unit dimension is dropped in all linalg ops.

    Requires: static shapes; the other conversions from `onnx` have run. Ensures: no `onnx` op remains. Otherwise one error
    lists all ops that could not be converted, each with its node and the reason. Next: `hlq-quantize`.

    ```mlir
    %y = onnx.MatMul %x, %w : (tensor<1x3x8xf32>, tensor<8x5xf32>) -> tensor<1x3x5xf32>
    // becomes
    %r = tensor.collapse_shape %x [[0, 1], [2]] : tensor<1x3x8xf32> into tensor<3x8xf32>
    %m = linalg.matmul ins(%r, %w : tensor<3x8xf32>, tensor<8x5xf32>) outs(%zero : tensor<3x5xf32>) -> tensor<3x5xf32>
    %y = tensor.expand_shape %m [[0, 1], [2]] output_shape [1, 3, 5] : tensor<3x5xf32> into tensor<1x3x5xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numConverted", "num-converted", "Number of onnx ops converted">];
}

#endif // ELUTQ_CONVERSION_PASSES_TD
