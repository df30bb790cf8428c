//===- EmitObject.cpp - From the llvm dialect to machine code -------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/EmitObject.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace elutq;
using namespace elutq::cpu;

void elutq::cpu::registerLLVMIRTranslations(mlir::DialectRegistry &registry) {
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
}

/// Every function is compiled for the whole processor, in particular with its widest vectors.
static void setFunctionTarget(Function &function, const TargetInfo &target) {
  function.addFnAttr("target-cpu", target.cpu);
  if (!target.featureString.empty())
    function.addFnAttr("target-features", target.featureString);
  if (target.getISA().starts_with("avx512"))
    function.addFnAttr("prefer-vector-width", "512");
  // Without it the stack is aligned to 16 bytes, and every other vector that is saved there crosses a line of the cache.
  if (target.triple.isX86())
    function.addFnAttr("stackrealign");
  function.addFnAttr(Attribute::NoUnwind);
}

Expected<std::unique_ptr<Module>> elutq::cpu::translateToLLVMIR(mlir::ModuleOp module, LLVMContext &context,
                                                                const TargetInfo &target) {
  auto machine = target.createTargetMachine();
  if (!machine)
    return machine.takeError();
  // Sizes of the plan and lists of weights have no meaning in LLVM IR.
  for (mlir::NamedAttribute attribute : llvm::to_vector(module->getDiscardableAttrs()))
    if (attribute.getName().strref().starts_with("elutq."))
      module->removeDiscardableAttr(attribute.getName());
  std::unique_ptr<Module> result = mlir::translateModuleToLLVMIR(module, context, "elutq");
  if (!result)
    return createStringError("the module cannot be translated to LLVM IR");
  result->setTargetTriple(target.triple);
  result->setDataLayout((*machine)->createDataLayout());
  result->setPICLevel(PICLevel::BigPIC);
  for (Function &function : *result)
    if (!function.isDeclaration())
      setFunctionTarget(function, target);
  return result;
}

void elutq::cpu::addBuildId(Module &module, uint64_t id) {
  Type *type = Type::getInt64Ty(module.getContext());
  auto *global = new GlobalVariable(module, type, /*isConstant=*/true, GlobalValue::ExternalLinkage,
                                    ConstantInt::get(type, id), "elutq_build_id");
  global->setAlignment(Align(8));
}

Error elutq::cpu::optimize(Module &module, const TargetInfo &target) {
  auto machine = target.createTargetMachine();
  if (!machine)
    return machine.takeError();
  std::string message;
  raw_string_ostream os(message);
  if (verifyModule(module, &os))
    return createStringError("invalid LLVM IR: " + message);

  PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
  // Task functions of equal layers that differ in nothing but constants became one before; equal ones do now.
  tuning.MergeFunctions = true;
  PassBuilder builder(machine->get(), tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  TargetLibraryInfoImpl library(target.triple);
  functions.registerPass([&] { return TargetLibraryAnalysis(library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3).run(module, modules);
  return Error::success();
}

Error elutq::cpu::emitCode(Module &module, const TargetInfo &target, CodeGenFileType type, raw_pwrite_stream &os) {
  auto machine = target.createTargetMachine();
  if (!machine)
    return machine.takeError();
  legacy::PassManager passes;
  TargetLibraryInfoImpl library(target.triple);
  passes.add(new TargetLibraryInfoWrapperPass(library));
  if ((*machine)->addPassesToEmitFile(passes, os, /*DwoOut=*/nullptr, type))
    return createStringError("LLVM cannot write this kind of file for '%s'", target.triple.str().c_str());
  passes.run(module);
  return Error::success();
}
