//===- LinkerTest.cpp - Tests of linking ----------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/Linker.h"
#include "../TestSupport.h"

using namespace elutq::cpu;

static TargetInfo targetFor(llvm::StringRef triple) { return llvm::cantFail(resolveTarget(triple, "generic")); }

/// An empty system, except for `files`.
static std::string errorWith(const TemporaryDirectory &dir, llvm::StringRef triple, llvm::ArrayRef<std::string> files) {
  for (const std::string &file : files) {
    EXPECT_FALSE(llvm::sys::fs::create_directories(
        llvm::StringRef(dir.path(file)).rsplit('/').first));
    dir.write(file, "");
  }
  LinkOptions options;
  options.sysroot = dir.path("");
  auto toolchain = findToolchain(targetFor(triple), options);
  return toolchain ? "" : llvm::toString(toolchain.takeError());
}

TEST(LinkerTest, MissingFilesAreNamedWithTheirPackage) {
#if defined(__x86_64__)
  TemporaryDirectory dir;
  std::string lib = "usr/lib/x86_64-linux-gnu/";
  EXPECT_NE(errorWith(dir, "x86_64-linux-gnu", {}).find("no Scrt1.o for x86_64-linux-gnu"), std::string::npos);
  EXPECT_NE(errorWith(dir, "x86_64-linux-gnu", {lib + "Scrt1.o", lib + "crti.o", lib + "crtn.o"})
                .find("no libc.so for x86_64-linux-gnu"),
            std::string::npos);
  std::string error = errorWith(dir, "x86_64-linux-gnu", {lib + "libc.so", lib + "libm.so"});
  EXPECT_NE(error.find("no crtbeginS.o and libgcc.a"), std::string::npos);
  EXPECT_NE(error.find("(Debian: gcc)"), std::string::npos);
  TemporaryDirectory empty;
  EXPECT_NE(errorWith(empty, "aarch64-linux-gnu", {}).find("(Debian: libc6-dev-arm64-cross)"), std::string::npos);
#endif
}

// The newest gcc wins, by number and not by name.
TEST(LinkerTest, NewestCompilerIsTaken) {
  TemporaryDirectory dir;
  std::string lib = "usr/lib/x86_64-linux-gnu/", gcc = "usr/lib/gcc/x86_64-linux-gnu/";
  EXPECT_EQ(errorWith(dir, "x86_64-linux-gnu",
                      {lib + "Scrt1.o", lib + "crti.o", lib + "crtn.o", lib + "libc.so", lib + "libm.so",
                       gcc + "9/crtbeginS.o", gcc + "9/libgcc.a", gcc + "12/crtbeginS.o", gcc + "12/libgcc.a",
                       gcc + "13/crtbeginS.o"}),
            "");
  LinkOptions options;
  options.sysroot = dir.path("");
  auto toolchain = findToolchain(targetFor("x86_64-linux-gnu"), options);
  ASSERT_TRUE(static_cast<bool>(toolchain));
  EXPECT_NE(toolchain->crtbegin.find("/12/"), std::string::npos);
  EXPECT_FALSE(toolchain->staticCxx);
}

TEST(LinkerTest, LinkErrorsAreOneSentence) {
  TemporaryDirectory dir;
  LinkOptions options;
  options.inputs = {dir.path("no.o")};
  options.output = dir.path("out");
  llvm::Error error = link(llvm::cantFail(resolveTarget("", "native")), options);
  std::string message = llvm::toString(std::move(error));
  EXPECT_EQ(message.find("cannot link"), 0u) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_FALSE(dir.exists("out"));
}
