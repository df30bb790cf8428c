//===- Package.h - From code and data to files -------------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_LIB_COMPILER_PACKAGE_H
#define ELUTQ_LIB_COMPILER_PACKAGE_H

#include "elutq/Compiler/Options.h"
#include "elutq/Target/CPU/Artefact.h"
#include "elutq/Target/CPU/Linker.h"

namespace elutq {

/// A compiled model on its way to disk.
struct Package {
  const cpu::TargetInfo &target;
  /// Name of the model, and of a library.
  std::string name;
  /// The object file's bytes.
  llvm::StringRef object;
  std::vector<cpu::SectionContent> sections;
  uint64_t buildId = 0;
  /// Folder of the runtime's archives.
  std::string runtimeDir;
};

/// Name of a model: of `options.name`, the output's or the input's.
std::string modelName(const CompileOptions &options);

/// What code for `target` needs, as the runtime checks it: "+avx,+avx2".
std::string formatFeatures(const cpu::TargetInfo &target);

/// The files that a compilation writes.
std::vector<std::string> outputFiles(const CompileOptions &options);

/// Where the runtime's archives for `target` are, or an error that says where they were searched.
llvm::Expected<std::string> findRuntime(const CompileOptions &options, const cpu::TargetInfo &target,
                                        llvm::StringRef compilerPath);

/// What a link for `emit` needs of the system and the runtime, without object and output.
cpu::LinkOptions linkOptions(EmitKind emit, llvm::StringRef runtimeDir);

/// Links an executable and appends the container.
llvm::Error writeExecutable(const Package &package, llvm::StringRef output);

/// Links the code of a graph and the functions of elutq/graph.h to a shared library.
llvm::Error writePlainGraph(const Package &package, llvm::StringRef output);

/// Links a network's code with the runtime to a shared library and appends the container.
llvm::Error writeNetwork(const Package &package, llvm::StringRef output);

/// Writes lib<name>.so, <name>.weights and <name>.h to the folder of `output`.
llvm::Error writeLibrary(const Package &package, llvm::StringRef output);

} // namespace elutq

#endif // ELUTQ_LIB_COMPILER_PACKAGE_H
