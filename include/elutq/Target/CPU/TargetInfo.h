//===- TargetInfo.h - The machine to compile for -----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_CPU_TARGETINFO_H
#define ELUTQ_TARGET_CPU_TARGETINFO_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/TargetParser/Triple.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm {
class TargetMachine;
} // namespace llvm

namespace elutq::cpu {

/// A processor, resolved to the features that code for it may use.
struct TargetInfo {
  llvm::Triple triple;
  /// LLVM's name of the processor.
  std::string cpu;
  /// What LLVM gets beside the name, in its `+a,-b` form.
  std::string featureString;
  /// The instruction-set features that a machine must have to run the code, sorted, without a sign.
  std::vector<std::string> features;

  /// Whether code may use `feature` (LLVM's name, without a sign).
  bool hasFeature(llvm::StringRef feature) const;

  /// The instruction set that `hlq-select-kernel` plans for: `avx512amx`, `avx512vbmi`, `avx512bw`, `avx2`, `neon_dotprod`, `neon` or
  /// `generic`.
  llvm::StringRef getISA() const;

  /// A code generator for position-independent code.
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createTargetMachine() const;
};

/// Resolves `triple` (empty: the host's) and `cpu` (`native`, `generic` or a name that LLVM knows, e.g. `x86-64-v3`; empty:
/// `native` for the host's architecture, `generic` for another one); `features` (`+a,-b`) are added to those of the processor. An unknown name is an error that says where names are listed.
llvm::Expected<TargetInfo> resolveTarget(llvm::StringRef triple, llvm::StringRef cpu, llvm::StringRef features = "");

} // namespace elutq::cpu

#endif // ELUTQ_TARGET_CPU_TARGETINFO_H
