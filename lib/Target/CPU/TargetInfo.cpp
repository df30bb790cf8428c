//===- TargetInfo.cpp - The machine to compile for ------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/TargetInfo.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

#include <algorithm>
#include <mutex>

using namespace llvm;
using namespace elutq::cpu;

static void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
}

/// LLVM's AArch64 features that bring instructions which its code generator chooses by itself or for this compiler's code.
static constexpr StringLiteral kAArch64Features[] = {"neon", "fp-armv8", "fullfp16", "dotprod",   "i8mm", "bf16", "lse",
                                                     "rdm",  "sve",      "sve2",     "complxnum", "sha3", "cssc", "mops"};

/// Instruction-set features among those of `subtarget`, without tuning hints.
static std::vector<std::string> requiredFeatures(const Triple &triple, const MCSubtargetInfo &subtarget) {
  StringSet<> known;
  if (triple.isX86()) {
    SmallVector<StringRef> cpus, features;
    X86::fillValidCPUArchList(cpus, /*Only64Bit=*/true);
    for (StringRef cpu : cpus)
      X86::getFeaturesForCPU(cpu, features);
    known.insert_range(features);
  } else {
    known.insert_range(kAArch64Features);
  }
  std::vector<std::string> result;
  for (const SubtargetFeatureKV &feature : subtarget.getAllProcessorFeatures())
    if (known.contains(feature.Key) && subtarget.getFeatureBits().test(feature.Value))
      result.push_back(feature.Key);
  llvm::sort(result);
  return result;
}

static std::string hostFeatures() {
  SmallVector<std::string> features;
  for (const auto &feature : sys::getHostCPUFeatures())
    features.push_back((feature.second ? "+" : "-") + feature.first().str());
  llvm::sort(features);
  return join(features, ",");
}

bool TargetInfo::hasFeature(StringRef feature) const {
  return std::binary_search(features.begin(), features.end(), feature);
}

StringRef TargetInfo::getISA() const {
  auto all = [&](std::initializer_list<StringRef> names) {
    return llvm::all_of(names, [&](StringRef name) { return hasFeature(name); });
  };
  if (triple.isX86()) {
    if (all({"avx512vbmi", "avx512vnni", "avx512bw", "avx512vl"}))
      return all({"amx-tile", "amx-int8"}) ? "avx512amx" : "avx512vbmi";
    if (all({"avx512bw", "avx512vl", "avx512f"}))
      return "avx512bw";
    if (all({"avx2", "fma", "f16c"}))
      return "avx2";
    return "generic";
  }
  if (hasFeature("neon"))
    return hasFeature("dotprod") ? "neon_dotprod" : "neon";
  return "generic";
}

Expected<std::unique_ptr<TargetMachine>> TargetInfo::createTargetMachine() const {
  std::string message;
  const Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return createStringError(message);
  TargetOptions options;
  // Only what the code asks for (fma operations) is fused, so that results do not depend on the optimizer.
  options.AllowFPOpFusion = FPOpFusion::Standard;
  options.FunctionSections = true;
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(triple, cpu, featureString, options, Reloc::PIC_,
                                                                     /*CM=*/std::nullopt, CodeGenOptLevel::Aggressive));
  if (!machine)
    return createStringError("LLVM has no code generator for '%s'", triple.str().c_str());
  return machine;
}

Expected<TargetInfo> elutq::cpu::resolveTarget(StringRef tripleName, StringRef cpu, StringRef features) {
  initializeTargets();
  TargetInfo info;
  Triple host(sys::getProcessTriple());
  info.triple = tripleName.empty() ? host : Triple(Triple::normalize(tripleName));
  Triple::ArchType arch = info.triple.getArch();
  if ((arch != Triple::x86_64 && arch != Triple::aarch64) || !info.triple.isOSLinux())
    return createStringError("unsupported target '%s', expected x86_64 or aarch64 with Linux, e.g. aarch64-linux-gnu",
                             tripleName.str().c_str());

  if (cpu.empty())
    cpu = arch == host.getArch() ? "native" : "generic";
  if (cpu == "native") {
    if (arch != host.getArch())
      return createStringError("--mcpu=native is the processor of this machine, which is not of the target '%s'; name "
                               "one, e.g. --mcpu=%s",
                               info.triple.str().c_str(), arch == Triple::aarch64 ? "cortex-a76" : "x86-64-v3");
    info.cpu = sys::getHostCPUName().str();
    info.featureString = hostFeatures();
  } else {
    info.cpu = cpu == "generic" && arch == Triple::x86_64 ? "x86-64" : cpu.str();
  }
  if (!features.empty())
    info.featureString += (info.featureString.empty() ? "" : ",") + features.str();

  std::string message;
  const Target *target = TargetRegistry::lookupTarget(info.triple, message);
  if (!target)
    return createStringError(message);
  std::unique_ptr<MCSubtargetInfo> names(target->createMCSubtargetInfo(info.triple, "", ""));
  if (!names->isCPUStringValid(info.cpu))
    return createStringError("unknown processor '%s' for %s; `llc -mtriple=%s -mcpu=help` lists the names",
                             cpu.str().c_str(), info.triple.getArchName().str().c_str(), info.triple.str().c_str());
  for (StringRef feature : split(features, ',')) {
    if (feature.empty())
      continue;
    bool known = (feature.front() == '+' || feature.front() == '-') &&
                 llvm::any_of(names->getAllProcessorFeatures(),
                              [&](const SubtargetFeatureKV &kv) { return feature.drop_front() == kv.Key; });
    if (!known)
      return createStringError("unknown processor feature '%s', expected +name or -name; `llc -mtriple=%s -mattr=help` "
                               "lists the names",
                               feature.str().c_str(), info.triple.str().c_str());
  }
  std::unique_ptr<MCSubtargetInfo> subtarget(
      target->createMCSubtargetInfo(info.triple, info.cpu, info.featureString));
  info.features = requiredFeatures(info.triple, *subtarget);
  return info;
}
