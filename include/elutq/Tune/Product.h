//===- Product.h - One compiled matrix product ------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// From a shape to machine code in this process, by the passes, the code generator and the linker that compile a model.
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TUNE_PRODUCT_H
#define ELUTQ_TUNE_PRODUCT_H

#include "elutq/Analysis/KernelCost.h"
#include "elutq/Target/CPU/TargetInfo.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace elutq::tune {

/// What is multiplied, and how it is to be compiled.
struct ProductOptions {
  /// 1 to 4, or 8 for codes.
  int64_t bits = 2;
  int64_t group = 128, m = 1, n = 4096, k = 4096;
  /// As in `#hlq.layout`: hlq, uniform, symmetric or compact, and f16 or f32.
  std::string params = "hlq", paramType = "f16";
  /// Of entries, at least: 8 or 16.
  int64_t tableBits = 8;
  /// As of `hlq-select-kernel`: auto, lut or dot.
  std::string algorithm = "auto";
  /// In place of what the cost model would choose.
  std::optional<KernelChoice> choice;
  /// Attributes in place of those that `hlq-select-kernel` would choose; empty: its choice.
  std::string kernel, layout;
  /// Where the assembly goes; empty: nowhere.
  std::string assembly;

  int64_t getGroups() const { return (k + group - 1) / group; }
};

/// An error unless this machine can run code for `target`.
llvm::Error checkRunsHere(const cpu::TargetInfo &target);

/// Random weights in logical form, operands of `hlq.linear`.
struct Weights {
  std::vector<uint8_t> planes;
  std::vector<uint16_t> scales16, zeros16;
  std::vector<float> scales32, zeros32;
  /// The zeros of compact parameters.
  std::vector<uint8_t> ratios;
  int64_t zeroPoint = 0;

  static Weights random(const ProductOptions &options);
};

/// The entry of a compiled model; see Runtime.md.
using Entry = void (*)(const int64_t *tokens, int64_t count, int64_t position, uint8_t *arena, const uint8_t *weights,
                       uint8_t *cache, float *result);

/// A product in this process. `cache` of the entry holds the activations.
struct Product {
  Entry entry = nullptr;
  uint64_t arenaBytes = 0, weightsBytes = 0;
  /// Of the packed weights, parameters and padding included.
  int64_t packedBytes = 0;
  std::string isa, algorithm, kernel, layout;
  double compileSeconds = 0;
  /// Hands out the weights section, piece by piece.
  using Sink = std::function<llvm::Error(llvm::ArrayRef<char>)>;
  std::function<llvm::Error(const Sink &)> writeWeights;
};

/// Compiles for `target`, which must be this machine, links and loads. The product stays loaded until the process ends.
llvm::Expected<Product> compileProduct(const ProductOptions &options, const Weights &weights, const cpu::TargetInfo &target);

} // namespace elutq::tune

#endif // ELUTQ_TUNE_PRODUCT_H
