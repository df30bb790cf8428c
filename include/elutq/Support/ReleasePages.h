//===- ReleasePages.h - Give memory of mapped files back --------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ELUTQ_SUPPORT_RELEASEPAGES_H
#define ELUTQ_SUPPORT_RELEASEPAGES_H

#include "llvm/ADT/ArrayRef.h"

namespace elutq {

/// Says that a file backs `bytes` and holds what they hold (a shared mapping, or a private one that is never written), until
/// `removeFileMapping`. For whoever maps a file: the system's own list of mappings takes long to read where there are many.
/// With `isReadOnce`, memory that is given back leaves the system's cache of files, too: a file that is larger than it would push
/// everything else out, and leave no free memory in one piece for the huge pages of the file that is written.
void addFileMapping(llvm::ArrayRef<char> bytes, bool isReadOnce = false);
void removeFileMapping(llvm::ArrayRef<char> bytes);

/// Gives the memory of `bytes` back to the system if a mapped file backs them, which is read again when it is needed.
/// Does nothing to other memory.
void releasePages(llvm::ArrayRef<char> bytes);

} // namespace elutq

#endif // ELUTQ_SUPPORT_RELEASEPAGES_H
