//===- Linker.cpp - Link executables and shared libraries -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Target/CPU/Linker.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/VersionTuple.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;
using namespace elutq::cpu;

namespace {
/// What differs between the processors that Linux runs on: names that distributions use for folders.
struct Names {
  SmallVector<StringRef> gnuTriples; ///< Of gcc's folders.
  StringRef multiarch;               ///< Of Debian's library folders.
  StringRef dynamicLinker, emulation, debianArch;
};

/// Searches files below a root and remembers what it did not find.
class Search {
public:
  Search(const TargetInfo &target, StringRef root) : root(root) {
    if (target.triple.getArch() == Triple::aarch64)
      names = {{"aarch64-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-redhat-linux", "aarch64-suse-linux"},
               "aarch64-linux-gnu",
               "/lib/ld-linux-aarch64.so.1",
               "aarch64linux",
               "arm64"};
    else
      names = {{"x86_64-linux-gnu", "x86_64-pc-linux-gnu", "x86_64-redhat-linux", "x86_64-suse-linux",
                "x86_64-unknown-linux-gnu"},
               "x86_64-linux-gnu",
               "/lib64/ld-linux-x86-64.so.2",
               "elf_x86_64",
               "amd64"};
    native = target.triple.getArch() == Triple(sys::getProcessTriple()).getArch();
  }

  std::vector<std::string> libraryDirs() const {
    std::vector<std::string> dirs;
    auto add = [&](const Twine &dir) {
      std::string path = below(dir);
      if (sys::fs::is_directory(path))
        dirs.push_back(path);
    };
    add("usr/lib/" + names.multiarch);
    add("lib/" + names.multiarch);
    add("usr/" + names.multiarch + "/lib"); // cross packages
    if (native) {
      add("usr/lib64");
      add("lib64");
      add("usr/lib");
      add("lib");
    }
    return dirs;
  }

  /// The folder of the newest gcc, which holds crtbegin, libgcc and mostly libstdc++; empty if there is none.
  std::string gccDir() const {
    VersionTuple newest;
    std::string result;
    for (StringRef base : {"usr/lib/gcc", "usr/lib64/gcc", "usr/local/lib/gcc", "usr/lib/gcc-cross"}) {
      for (StringRef triple : names.gnuTriples) {
        std::error_code error;
        for (sys::fs::directory_iterator it(below(base + "/" + triple), error), end; !error && it != end;
             it.increment(error)) {
          VersionTuple version;
          if (version.tryParse(sys::path::filename(it->path())) || version < newest ||
              !sys::fs::exists(it->path() + "/crtbeginS.o") || !sys::fs::exists(it->path() + "/libgcc.a"))
            continue;
          newest = version;
          result = it->path();
        }
      }
    }
    return result;
  }

  /// `file` in the first of `dirs` that has it.
  static std::string find(ArrayRef<std::string> dirs, StringRef file) {
    for (const std::string &dir : dirs)
      if (sys::fs::exists(dir + "/" + file))
        return dir + "/" + file.str();
    return "";
  }

  /// `package` is the one that brings `file` for this machine; compilers and libc have cross packages.
  Error missing(StringRef file, StringRef package) const {
    std::string name = package.str();
    if (!native && (package == "gcc" || package == "g++"))
      name += "-" + names.multiarch.str();
    else if (!native && package == "libc6-dev")
      name += "-" + names.debianArch.str() + "-cross";
    else if (!native)
      name += ":" + names.debianArch.str();
    return createStringError("cannot link: no %s for %s below '%s'; install the package that brings it (Debian: %s)",
                             file.str().c_str(), names.multiarch.str().c_str(), root.c_str(), name.c_str());
  }

  Names names;

private:
  std::string below(const Twine &path) const {
    SmallString<128> result(root);
    sys::path::append(result, path);
    return result.str().str();
  }
  std::string root;
  bool native;
};
} // namespace

Expected<Toolchain> elutq::cpu::findToolchain(const TargetInfo &target, const LinkOptions &options) {
  Search search(target, options.sysroot);
  Toolchain toolchain;
  toolchain.libraryDirs = search.libraryDirs();
  for (auto [file, path] : {std::pair<StringRef, std::string *>{"Scrt1.o", &toolchain.crt1},
                            {"crti.o", &toolchain.crti},
                            {"crtn.o", &toolchain.crtn}}) {
    *path = Search::find(toolchain.libraryDirs, file);
    if (path->empty())
      return search.missing(file, "libc6-dev");
  }
  for (StringRef file : {"libc.so", "libm.so"})
    if (Search::find(toolchain.libraryDirs, file).empty())
      return search.missing(file, "libc6-dev");
  std::string gcc = search.gccDir();
  if (gcc.empty())
    return search.missing("crtbeginS.o and libgcc.a", "gcc");
  toolchain.crtbegin = gcc + "/crtbeginS.o";
  toolchain.crtend = gcc + "/crtendS.o";
  toolchain.libraryDirs.insert(toolchain.libraryDirs.begin(), gcc);
  std::vector<std::string> archiveDirs = options.archiveDirs;
  llvm::append_range(archiveDirs, toolchain.libraryDirs);
  for (const auto &[file, package] : options.systemArchives) {
    toolchain.archives.push_back(Search::find(archiveDirs, file));
    if (toolchain.archives.back().empty())
      return search.missing(file, package);
  }
  toolchain.staticCxx = !Search::find(toolchain.libraryDirs, "libstdc++.a").empty();
  if (!toolchain.staticCxx && Search::find(toolchain.libraryDirs, "libstdc++.so").empty())
    return search.missing("libstdc++.a", "g++");
  toolchain.dynamicLinker = search.names.dynamicLinker.str();
  return toolchain;
}

/// The first line of lld's output that says what is wrong.
static StringRef firstError(StringRef output) {
  for (StringRef line : split(output, '\n')) {
    size_t at = line.find("error: ");
    if (at != StringRef::npos)
      return line.substr(at + 7);
  }
  return output.split('\n').first;
}

namespace {
/// Standard output goes to a file as long as this lives. lld maps the file that it writes, and a full disk would end this process
/// by a signal; only what it writes to standard output is written as a stream, whose errors are known.
class RedirectedOutput {
public:
  explicit RedirectedOutput(int descriptor) {
    outs().flush();
    saved = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    ::dup2(descriptor, STDOUT_FILENO);
  }
  ~RedirectedOutput() {
    outs().flush();
    if (saved >= 0)
      ::dup2(saved, STDOUT_FILENO);
    ::close(saved >= 0 ? saved : STDOUT_FILENO);
  }

private:
  int saved;
};
} // namespace

/// Runs lld with `arguments`, which name standard output, and writes that to `path`. Returns what is wrong, if anything is.
static std::string runLinker(ArrayRef<const char *> arguments, const std::string &path) {
  int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0777);
  if (descriptor < 0)
    return sys::StrError(errno);
  std::string output;
  raw_string_ostream os(output);
  lld::Result result;
  {
    RedirectedOutput redirected(descriptor);
    result = lld::lldMain(arguments, os, os, {{lld::Gnu, &lld::elf::link}});
  }
  std::error_code code = outs().error();
  outs().clear_error();
  if (::close(descriptor) != 0 && !code)
    code = errnoAsErrorCode();
  if (result.retCode != 0)
    return firstError(output).str();
  return code ? code.message() : "";
}

Error elutq::cpu::link(const TargetInfo &target, const LinkOptions &options) {
  auto toolchain = findToolchain(target, options);
  if (!toolchain)
    return toolchain.takeError();
  Search search(target, options.sysroot);

  std::vector<std::string> args = {"ld.lld",         "-m",        search.names.emulation.str(),
                                   "--eh-frame-hdr", "--build-id", "--hash-style=gnu",
                                   "--gc-sections",  "-z",        "relro",
                                   "-z",             "now",       "-z",
                                   "noexecstack",    "--strip-debug"};
  auto add = [&](std::initializer_list<std::string> more) { args.insert(args.end(), more); };
  // -Bsymbolic: a program may use two models, whose entry points have the same names.
  if (options.shared)
    add({"-shared", "-Bsymbolic", "-soname", options.soname, toolchain->crti, toolchain->crtbegin});
  else
    add({"-pie", "-dynamic-linker", toolchain->dynamicLinker, toolchain->crt1, toolchain->crti, toolchain->crtbegin});
  add({"-o", "-"});
  for (const std::string &dir : toolchain->libraryDirs)
    add({"-L" + dir});
  add({"--start-group"});
  args.insert(args.end(), options.inputs.begin(), options.inputs.end());
  add({"--end-group", "--whole-archive"});
  args.insert(args.end(), options.wholeArchives.begin(), options.wholeArchives.end());
  add({"--no-whole-archive"});
  args.insert(args.end(), toolchain->archives.begin(), toolchain->archives.end());
  if (options.shared) {
    // What the archives of the system bring, and those that only fill gaps, is not part of the library's interface.
    std::string hidden = "libstdc++.a:libgcc.a:libgcc_eh.a:libpcre2-8.a:libutf8proc.a";
    for (StringRef input : options.inputs)
      if (input.ends_with(".a"))
        hidden += ":" + sys::path::filename(input).str();
    add({"--exclude-libs", hidden});
  }
  if (toolchain->staticCxx)
    add({"-Bstatic", "-lstdc++", "-Bdynamic", "-lm", "-lgcc", "-lgcc_eh", "-lc", "-lgcc", "-lgcc_eh"});
  else
    add({"-lstdc++", "-lm", "-lgcc", "--as-needed", "-lgcc_s", "--no-as-needed", "-lc", "-lgcc"});
  add({toolchain->crtend, toolchain->crtn});

  std::vector<const char *> arguments;
  for (const std::string &arg : args)
    arguments.push_back(arg.c_str());
  std::string message = runLinker(arguments, options.output);
  if (message.empty())
    return Error::success();
  sys::fs::remove(options.output);
  return createStringError("cannot link '%s': %s", options.output.c_str(), message.c_str());
}
