//===- ONNXBase.td - The onnx dialect ----------------------*- tablegen -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_DIALECT_ONNX_IR_ONNXBASE_TD
#define ELUTQ_DIALECT_ONNX_IR_ONNXBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::elutq::onnx";
  let summary = "ONNX operators, as an importer finds them";
  let description = [{
    One operation per ONNX operator, made at build time from the schemas of the pinned ONNX package by
    `python/tools/gen_onnx_ods.py`, which tells which operators there are and how names become identifiers:

    | ONNX domain     | operation             | C++ class                  |
    |-----------------|-----------------------|----------------------------|
    | `ai.onnx`       | `onnx.MatMul`         | `MatMulOp`                 |
    | `com.microsoft` | `onnx.contrib.Gelu`   | `ContribGeluOp`            |
    | `ai.elutq`      | `onnx.elutq.HLQGather`| `ElutqHLQGatherOp`         |

    An operation has the meaning of the newest version of its operator; the importer rewrites older spellings. Every
    operand and result is there: an optional operand that is absent is the result of `onnx.None`, and an optional result
    that nobody asks for has type `none`. Integers of ONNX are signless, unsigned ones are `ui8` to `ui64`, booleans `i1`.
    Constants are `arith.constant`.

    Attributes of functions, arguments and modules: `onnx.name` is the name of an input or output, `onnx.dim_params` the
    names of its symbolic dimensions (an empty string for a known one), `onnx.opset` the version of the domain `ai.onnx`
    that the model asked for, `onnx.genai_config` the facts of a `genai_config.json` beside the model.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
  let extraClassDeclaration = [{
    /// Returns the resource blob called `name`, made with `create` unless it is there already. Two imports of one file
    /// share their blobs this way: `source` says where the bytes come from (file, offset, length), and a blob is shared
    /// only with the same source. Where another source has taken the name, the blob gets a similar one.
    ::mlir::DenseResourceElementsHandle getOrCreateBlob(::llvm::StringRef name, ::llvm::StringRef source,
                                                        ::llvm::function_ref<::mlir::AsmResourceBlob()> create);

  private:
    ::llvm::sys::SmartMutex<true> blobMutex;
    /// By `name` and `source`, joined by a zero byte.
    ::llvm::StringMap<::mlir::DenseResourceElementsHandle> blobs;
  }];
}

class ONNX_Op<string mnemonic> : Op<ONNX_Dialect, mnemonic, [Pure]> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def ONNX_NoneOp : Op<ONNX_Dialect, "None", [Pure]> {
  let summary = "Stand for an absent optional operand";
  let description = [{
    ```mlir
    %none = onnx.None
    ```
  }];
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
}

#endif // ELUTQ_DIALECT_ONNX_IR_ONNXBASE_TD
