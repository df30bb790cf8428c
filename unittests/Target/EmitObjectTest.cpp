//===- EmitObjectTest.cpp - Tests of code generation ----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/EmitObject.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace elutq::cpu;

/// Assembly of a module of the llvm dialect, or the error.
static std::string compile(llvm::StringRef source, llvm::StringRef triple, llvm::StringRef cpu) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::LLVM::LLVMDialect>();
  registerLLVMIRTranslations(registry);
  mlir::MLIRContext context(registry);
  context.allowUnregisteredDialects();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(source, &context);
  EXPECT_TRUE(module);
  auto target = resolveTarget(triple, cpu);
  EXPECT_TRUE(static_cast<bool>(target));
  llvm::LLVMContext llvmContext;
  auto llvmModule = translateToLLVMIR(*module, llvmContext, *target);
  if (!llvmModule)
    return llvm::toString(llvmModule.takeError());
  addBuildId(**llvmModule, 0xfedcba9876543210);
  if (llvm::Error error = optimize(**llvmModule, *target))
    return llvm::toString(std::move(error));
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  EXPECT_FALSE(emitCode(**llvmModule, *target, llvm::CodeGenFileType::AssemblyFile, os));
  return text.str().str();
}

static constexpr llvm::StringLiteral kMultiplyAdd = R"mlir(
  module attributes {elutq.plan = {weights_bytes = 0 : i64}} {
    llvm.func @separate(%a: vector<16xf32>, %p: !llvm.ptr) {
      %b = llvm.fmul %a, %a : vector<16xf32>
      %c = llvm.fadd %b, %a : vector<16xf32>
      llvm.store %c, %p : vector<16xf32>, !llvm.ptr
      llvm.return
    }
    llvm.func @fused(%a: vector<16xf32>, %p: !llvm.ptr) {
      %c = llvm.intr.fma(%a, %a, %a) : (vector<16xf32>, vector<16xf32>, vector<16xf32>) -> vector<16xf32>
      llvm.store %c, %p : vector<16xf32>, !llvm.ptr
      llvm.return
    }
  })mlir";

static std::string functionText(const std::string &assembly, const std::string &name) {
  size_t begin = assembly.find("\n" + name + ":"), end = assembly.find(".Lfunc_end", begin);
  EXPECT_NE(begin, std::string::npos);
  return assembly.substr(begin, end - begin);
}

// Operations are fused where the code says so, and nowhere else; vectors have the processor's full width.
TEST(EmitObjectTest, FusesOnlyWhatIsWritten) {
  std::string assembly = compile(kMultiplyAdd, "x86_64-linux-gnu", "x86-64-v4");
  std::string separate = functionText(assembly, "separate"), fused = functionText(assembly, "fused");
  EXPECT_NE(separate.find("vmulps"), std::string::npos) << assembly;
  EXPECT_NE(separate.find("vaddps"), std::string::npos);
  EXPECT_EQ(separate.find("vfm"), std::string::npos);
  EXPECT_NE(fused.find("vfmadd"), std::string::npos);
  EXPECT_NE(fused.find("%zmm"), std::string::npos);
}

TEST(EmitObjectTest, OtherTargets) {
  EXPECT_NE(compile(kMultiplyAdd, "aarch64-linux-gnu", "cortex-a76").find("fmla\tv"), std::string::npos);
  std::string avx2 = compile(kMultiplyAdd, "x86_64-linux-gnu", "x86-64-v3");
  EXPECT_NE(avx2.find("%ymm"), std::string::npos);
  EXPECT_EQ(avx2.find("%zmm"), std::string::npos);
}

TEST(EmitObjectTest, BuildIdIsASymbol) {
  std::string assembly = compile(kMultiplyAdd, "x86_64-linux-gnu", "x86-64");
  EXPECT_NE(assembly.find("elutq_build_id:"), std::string::npos);
  EXPECT_NE(assembly.find("\t.quad\t-81985529216486896"), std::string::npos) << assembly;
}
