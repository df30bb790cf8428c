//===- EmitObject.h - From the llvm dialect to machine code ------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_CPU_EMITOBJECT_H
#define ELUTQ_TARGET_CPU_EMITOBJECT_H

#include "elutq/Target/CPU/TargetInfo.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/CodeGen.h"

namespace llvm {
class LLVMContext;
class Module;
class raw_pwrite_stream;
} // namespace llvm

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace elutq::cpu {

/// Registers the translations that `translateToLLVMIR` needs.
void registerLLVMIRTranslations(mlir::DialectRegistry &registry);

/// Translates a module of the `llvm` dialect, for `target`: data layout, triple and each function's processor are set.
/// Attributes of ELUTQ on the module are ignored.
llvm::Expected<std::unique_ptr<llvm::Module>> translateToLLVMIR(mlir::ModuleOp module, llvm::LLVMContext &context,
                                                                const TargetInfo &target);

/// Adds `const uint64_t elutq_build_id = id`, by which the runtime recognizes the weights that belong to the code.
void addBuildId(llvm::Module &module, uint64_t id);

/// Runs LLVM's -O3 pipeline. Floating-point operations keep their meaning bit for bit.
llvm::Error optimize(llvm::Module &module, const TargetInfo &target);

/// Writes assembly or an object file.
llvm::Error emitCode(llvm::Module &module, const TargetInfo &target, llvm::CodeGenFileType type,
                     llvm::raw_pwrite_stream &os);

} // namespace elutq::cpu

#endif // ELUTQ_TARGET_CPU_EMITOBJECT_H
