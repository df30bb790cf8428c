//===- Artefact.h - Write a compiled model's data ----------------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_TARGET_CPU_ARTEFACT_H
#define ELUTQ_TARGET_CPU_ARTEFACT_H

#include "elutq/Support/OutputFile.h"
#include "mlir/IR/BuiltinOps.h"

#include <functional>

namespace elutq::cpu {

/// One section of a container: a name of at most 16 bytes, a size and a function that writes exactly that many bytes.
struct SectionContent {
  using Sink = std::function<llvm::Error(llvm::ArrayRef<char>)>;
  std::string name;
  uint64_t bytes = 0;
  std::function<llvm::Error(const Sink &)> write;

  /// A section of bytes in memory; the string is copied.
  static SectionContent fromString(std::string name, std::string bytes);
};

/// Appends a container (see elutq/Container.h) to `file`, from the next multiple of 4096 on.
llvm::Error writeContainer(OutputFile &file, llvm::ArrayRef<SectionContent> sections, uint64_t buildId);

/// Key-value pairs as the text of a meta section.
std::string formatMeta(llvm::ArrayRef<std::pair<std::string, std::string>> pairs);

/// The constants that a planned module's code reads, as its attribute `elutq.weights` lists them.
class WeightsSection {
public:
  /// An error if the attributes are missing or contradict each other.
  static llvm::Expected<WeightsSection> fromModule(mlir::ModuleOp module);

  uint64_t size() const { return bytes; }
  /// Hash of all constants and their places.
  uint64_t hash() const;
  /// Streams the section and gives the memory of each constant back to the system as soon as it is written.
  SectionContent content() const;

private:
  struct Entry {
    uint64_t offset;
    mlir::ElementsAttr value;
  };
  std::vector<Entry> entries;
  uint64_t bytes = 0;
};

} // namespace elutq::cpu

#endif // ELUTQ_TARGET_CPU_ARTEFACT_H
