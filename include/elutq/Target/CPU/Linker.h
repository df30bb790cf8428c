//===- Linker.h - Link executables and shared libraries ----------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_CPU_LINKER_H
#define ELUTQ_TARGET_CPU_LINKER_H

#include "elutq/Target/CPU/TargetInfo.h"
#include "llvm/ADT/ArrayRef.h"

namespace elutq::cpu {

struct LinkOptions {
  /// A shared library instead of an executable.
  bool shared = false;
  /// Name recorded in a shared library.
  std::string soname;
  /// Objects and archives, in the order of the command line.
  std::vector<std::string> inputs;
  /// Archives of which every member is linked.
  std::vector<std::string> wholeArchives;
  /// Archives of the system (`libNAME.a`) and the Debian packages that bring them.
  std::vector<std::pair<std::string, std::string>> systemArchives;
  /// Where these archives are searched before the system's folders.
  std::vector<std::string> archiveDirs;
  std::string output;
  /// Folder below which system files are searched, "/" in general.
  std::string sysroot = "/";
};

/// The system's files that a link needs.
struct Toolchain {
  std::string crt1, crti, crtn, crtbegin, crtend, dynamicLinker;
  std::vector<std::string> libraryDirs, archives;
  /// Whether libstdc++.a is there; otherwise the shared one is linked.
  bool staticCxx = false;
};

/// Searches the places where Linux distributions put start files, libc, libgcc and libstdc++. An error names the first
/// missing file and the package that brings it.
llvm::Expected<Toolchain> findToolchain(const TargetInfo &target, const LinkOptions &options);

/// Links in this process with lld.
llvm::Error link(const TargetInfo &target, const LinkOptions &options);

} // namespace elutq::cpu

#endif // ELUTQ_TARGET_CPU_LINKER_H
