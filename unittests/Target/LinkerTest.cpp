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
#endif
}

/// The files of Debian's cross packages.
static const std::string kCross = "usr/aarch64-linux-gnu/lib/", kCrossGcc = "usr/lib/gcc-cross/aarch64-linux-gnu/12/";
static const std::vector<std::string> kCrossFiles = {
    kCross + "Scrt1.o", kCross + "crti.o",          kCross + "crtn.o",      kCross + "libc.so",
    kCross + "libm.so", kCrossGcc + "crtbeginS.o", kCrossGcc + "libgcc.a"};

TEST(LinkerTest, MissingFilesForAnotherProcessorAreNamedWithTheirPackage) {
#if defined(__x86_64__)
  TemporaryDirectory dir;
  llvm::ArrayRef<std::string> files(kCrossFiles);
  EXPECT_NE(errorWith(dir, "aarch64-linux-gnu", {}).find("(Debian: libc6-dev-arm64-cross)"), std::string::npos);
  std::string error = errorWith(dir, "aarch64-linux-gnu", files.take_front(5));
  EXPECT_NE(error.find("no crtbeginS.o and libgcc.a for aarch64-linux-gnu"), std::string::npos) << error;
  EXPECT_NE(error.find("(Debian: gcc-aarch64-linux-gnu)"), std::string::npos) << error;
  error = errorWith(dir, "aarch64-linux-gnu", files);
  EXPECT_NE(error.find("no libstdc++.a for aarch64-linux-gnu"), std::string::npos) << error;
  EXPECT_NE(error.find("(Debian: g++-aarch64-linux-gnu)"), std::string::npos) << error;
#endif
}

TEST(LinkerTest, ArchivesBesideTheRuntimeComeFirst) {
#if defined(__x86_64__)
  TemporaryDirectory dir;
  EXPECT_NE(errorWith(dir, "aarch64-linux-gnu", kCrossFiles), "");
  EXPECT_EQ(errorWith(dir, "aarch64-linux-gnu", {kCrossGcc + "libstdc++.a"}), "");
  LinkOptions options;
  options.sysroot = dir.path("");
  options.systemArchives = {{"libpcre2-8.a", "libpcre2-dev"}};
  auto missing = findToolchain(targetFor("aarch64-linux-gnu"), options);
  EXPECT_NE(llvm::toString(missing.takeError()).find("(Debian: libpcre2-dev:arm64)"), std::string::npos);
  dir.write(kCross + "libpcre2-8.a", "");
  ASSERT_FALSE(llvm::sys::fs::create_directories(dir.path("runtime")));
  dir.write("runtime/libpcre2-8.a", "");
  options.archiveDirs = {dir.path("runtime")};
  auto toolchain = findToolchain(targetFor("aarch64-linux-gnu"), options);
  ASSERT_TRUE(static_cast<bool>(toolchain));
  EXPECT_EQ(toolchain->archives, std::vector<std::string>{dir.path("runtime/libpcre2-8.a")});
  EXPECT_NE(toolchain->crtbegin.find(kCrossGcc), std::string::npos);
  EXPECT_TRUE(toolchain->staticCxx);
#endif
}

// The newest gcc wins, by number and not by name.
TEST(LinkerTest, NewestCompilerIsTaken) {
  TemporaryDirectory dir;
  std::string lib = "usr/lib/x86_64-linux-gnu/", gcc = "usr/lib/gcc/x86_64-linux-gnu/";
  EXPECT_EQ(errorWith(dir, "x86_64-linux-gnu",
                      {lib + "Scrt1.o", lib + "crti.o", lib + "crtn.o", lib + "libc.so", lib + "libm.so",
                       lib + "libstdc++.so", gcc + "9/crtbeginS.o", gcc + "9/libgcc.a", gcc + "12/crtbeginS.o",
                       gcc + "12/libgcc.a", gcc + "13/crtbeginS.o"}),
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
