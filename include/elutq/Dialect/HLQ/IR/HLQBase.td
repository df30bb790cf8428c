//===- HLQBase.td - The hlq dialect ------------------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_HLQ_IR_HLQBASE_TD
#define ELUTQ_DIALECT_HLQ_IR_HLQBASE_TD

include "mlir/IR/OpBase.td"

def HLQ_Dialect : Dialect {
  let name = "hlq";
  let cppNamespace = "::elutq::hlq";
  let summary = "Hierarchical linear quantization: products with bit-plane weights by table look-up";
  let description = [{
    In each group of `g` neighbouring weights of a row, HLQ writes

    ```
    w[n, k] = z[n, k/g] + sum over j < bits of s[n, k/g, j] * b[j, n, k],   b in {0, 1}
    ```

    Uniform quantization is the special case `s[j] = 2^j * s`. As the planes stay separate, a product with activations
    `x` needs the sums `sum over k of b[j, n, k] * x[k]` only, and those are looked up: four neighbouring activations have
    16 possible sums, which `hlq.build_lut` tabulates once and `hlq.lut_matmul` indexes with nibbles of the planes.
    The weights are never dequantized. Weights of 8 bits are one unsigned code `q` per weight, `w = s * q + z`: `hlq.quantize_rows`
    rounds activations to integers once, and `hlq.code_matmul` multiplies them by the codes.

    The operations form three levels: `hlq.linear` and `hlq.gather` on logical planes or codes; `hlq.build_lut`, `hlq.lut_matmul`,
    `hlq.quantize_rows`, `hlq.code_matmul` and `hlq.packed_gather` on weights packed for an instruction set; `hlq.lookup`,
    `hlq.accumulate` and `hlq.dot` on vectors.
    Source of the format: ELUTQ, arXiv 2510.19482.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // ELUTQ_DIALECT_HLQ_IR_HLQBASE_TD
