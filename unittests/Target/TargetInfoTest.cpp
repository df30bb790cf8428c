//===- TargetInfoTest.cpp - Tests of target resolution --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/TargetInfo.h"
#include "llvm/Target/TargetMachine.h"
#include "gtest/gtest.h"

using namespace elutq::cpu;

static std::string isaOf(llvm::StringRef triple, llvm::StringRef cpu, llvm::StringRef features = "") {
  auto target = resolveTarget(triple, cpu, features);
  return target ? target->getISA().str() : "error: " + llvm::toString(target.takeError());
}

TEST(TargetInfoTest, ISAFollowsFeatures) {
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "x86-64"), "generic");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "generic"), "generic");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "x86-64-v3"), "avx2");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "x86-64-v3", "-f16c"), "generic");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "x86-64-v4"), "avx512bw");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "x86-64-v4", "+avx512vbmi,+avx512vnni"), "avx512vbmi");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "skylake-avx512"), "avx512bw");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "znver3"), "avx2");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "znver4"), "avx512vbmi");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "sapphirerapids"), "avx512amx");
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "sapphirerapids", "-amx-int8"), "avx512vbmi");
  EXPECT_EQ(isaOf("aarch64-linux-gnu", "generic"), "neon");
  EXPECT_EQ(isaOf("aarch64-linux-gnu", "cortex-a72"), "neon");
  EXPECT_EQ(isaOf("aarch64-linux-gnu", "cortex-a76"), "neon_dotprod");
}

// Only what the instructions need is asked of a machine, no tuning.
TEST(TargetInfoTest, FeaturesAreThoseOfTheInstructions) {
  auto target = resolveTarget("x86_64-linux-gnu", "x86-64-v3");
  ASSERT_TRUE(static_cast<bool>(target));
  EXPECT_TRUE(target->hasFeature("avx2"));
  EXPECT_TRUE(target->hasFeature("fma"));
  EXPECT_FALSE(target->hasFeature("avx512f"));
  EXPECT_TRUE(std::is_sorted(target->features.begin(), target->features.end()));
  for (const std::string &feature : target->features) {
    EXPECT_EQ(feature.find("fast"), std::string::npos) << feature;
    EXPECT_EQ(feature.find("tuning"), std::string::npos) << feature;
    EXPECT_EQ(feature.find("false-deps"), std::string::npos) << feature;
  }
}

TEST(TargetInfoTest, NativeIsThisMachine) {
  auto target = resolveTarget("", "native");
  ASSERT_TRUE(static_cast<bool>(target));
  EXPECT_FALSE(target->cpu.empty());
  auto machine = target->createTargetMachine();
  ASSERT_TRUE(static_cast<bool>(machine));
  EXPECT_EQ((*machine)->getTargetCPU(), target->cpu);
}

// No processor named: this machine's, or what every processor of another architecture has.
TEST(TargetInfoTest, DefaultProcessorRunsOnTheTarget) {
  auto native = resolveTarget("", "native"), byDefault = resolveTarget("", "");
  ASSERT_TRUE(native && byDefault);
  EXPECT_EQ(byDefault->cpu, native->cpu);
  EXPECT_EQ(byDefault->features, native->features);
#if defined(__x86_64__)
  EXPECT_EQ(isaOf("aarch64-linux-gnu", ""), "neon");
#endif
}

// LLVM writes an exclusive or of three vectors as one instruction of sha3: the machine has to be asked for it.
TEST(TargetInfoTest, FeaturesOfArmThatTheOptimizerUsesAreRequired) {
  auto target = resolveTarget("aarch64-linux-gnu", "cortex-a76", "+sha3,+cssc");
  ASSERT_TRUE(static_cast<bool>(target));
  for (llvm::StringRef feature : {"dotprod", "lse", "sha3", "cssc"})
    EXPECT_TRUE(target->hasFeature(feature)) << feature.str();
  EXPECT_FALSE(target->hasFeature("sve"));
}

TEST(TargetInfoTest, ErrorsNameTheWayOut) {
  EXPECT_EQ(isaOf("x86_64-linux-gnu", "pentagram"),
            "error: unknown processor 'pentagram' for x86_64; `llc -mtriple=x86_64-unknown-linux-gnu -mcpu=help` lists "
            "the names");
  EXPECT_NE(isaOf("x86_64-linux-gnu", "x86-64-v3", "+warp").find("unknown processor feature '+warp'"), std::string::npos);
  EXPECT_NE(isaOf("x86_64-linux-gnu", "x86-64-v3", "avx2").find("expected +name or -name"), std::string::npos);
  EXPECT_NE(isaOf("riscv64-linux-gnu", "generic").find("unsupported target 'riscv64-linux-gnu'"), std::string::npos);
  EXPECT_NE(isaOf("x86_64-apple-darwin", "generic").find("unsupported target"), std::string::npos);
#if defined(__x86_64__)
  EXPECT_NE(isaOf("aarch64-linux-gnu", "native").find("--mcpu=cortex-a76"), std::string::npos);
#endif
}
