//===- Package.cpp - From code and data to files --------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Package.h"
#include "RuntimeHeader.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;
using namespace elutq;

static constexpr StringLiteral kRuntimeArchive = "libELUTQRuntime.a";
static constexpr StringLiteral kNetworkArchive = "libELUTQRuntimeNetwork.a";
static constexpr StringLiteral kMainArchive = "libELUTQRuntimeMain.a";
static constexpr StringLiteral kPlainGraphArchive = "libELUTQRuntimePlainGraph.a";

std::string elutq::modelName(const CompileOptions &options) {
  if (!options.name.empty())
    return options.name;
  bool hasName = options.emit >= EmitKind::Library;
  StringRef name = sys::path::stem(hasName ? options.output : options.input);
  // "model.onnx" is what every exporter calls its file; the folder says more.
  if (!hasName && name == "model") {
    StringRef folder = sys::path::filename(sys::path::parent_path(options.input));
    if (!folder.empty())
      name = folder;
  }
  if (options.emit == EmitKind::Library)
    name.consume_front("lib");
  return name.empty() ? "model" : name.str();
}

std::string elutq::formatFeatures(const cpu::TargetInfo &target) {
  return join(map_range(target.features, [](const std::string &feature) { return "+" + feature; }), ",");
}

/// `name` in the folder of `output`.
static std::string beside(StringRef output, const Twine &name) {
  SmallString<256> path(sys::path::parent_path(output));
  sys::path::append(path, name);
  return path.str().str();
}

std::vector<std::string> elutq::outputFiles(const CompileOptions &options) {
  if (options.emit != EmitKind::Library)
    return {options.output};
  std::string name = modelName(options);
  return {beside(options.output, "lib" + name + ".so"), beside(options.output, name + ".weights"),
          beside(options.output, name + ".h")};
}

Expected<std::string> elutq::findRuntime(const CompileOptions &options, const cpu::TargetInfo &target,
                                         StringRef compilerPath) {
  std::vector<std::string> dirs;
  if (!options.runtimeDir.empty()) {
    dirs.push_back(options.runtimeDir);
  } else {
    SmallString<256> executable(compilerPath);
    // The program as found by the system, not a link to it.
    SmallString<256> real;
    if (!sys::fs::real_path(sys::fs::getMainExecutable(compilerPath.str().c_str(), nullptr), real))
      executable = real;
    SmallString<256> lib(sys::path::parent_path(sys::path::parent_path(executable)));
    sys::path::append(lib, "lib");
    dirs.push_back((lib + "/elutq/" + target.triple.getArchName()).str());
    if (target.triple.getArch() == Triple(sys::getProcessTriple()).getArch())
      dirs.push_back(lib.str().str());
  }
  for (const std::string &dir : dirs)
    if (sys::fs::exists(dir + "/" + kRuntimeArchive))
      return dir;
  // With the compiler, only the runtime for its own processor is built.
  std::string arch = target.triple.getArchName().str();
  bool cross = options.runtimeDir.empty() && target.triple.getArch() != Triple(sys::getProcessTriple()).getArch();
  std::string build = cross ? "build it with `scripts/setup --target " + arch + "`, or " : "";
  return createStringError("the runtime for %s is missing: no %s in '%s'; %sname its folder with --runtime", arch.c_str(),
                           kRuntimeArchive.data(), join(dirs, "' or '").c_str(), build.c_str());
}

cpu::LinkOptions elutq::linkOptions(EmitKind emit, StringRef runtimeDir) {
  cpu::LinkOptions link;
  std::string runtime = (runtimeDir + "/" + kRuntimeArchive).str();
  if (emit == EmitKind::Library) {
    link.shared = true;
    link.wholeArchives = {runtime};
  } else if (emit == EmitKind::Graph) {
    link.shared = true;
    link.inputs = {runtime};
    link.wholeArchives = {(runtimeDir + "/" + kNetworkArchive).str()};
  } else {
    link.inputs = {(runtimeDir + "/" + kMainArchive).str(), runtime};
  }
  link.archiveDirs = {runtimeDir.str()};
  link.systemArchives = {{"libpcre2-8.a", "libpcre2-dev"}, {"libutf8proc.a", "libutf8proc-dev"}};
  return link;
}

/// What the library of a plain graph needs: of the runtime itself, what checks the processor.
static cpu::LinkOptions plainGraphLinkOptions(StringRef runtimeDir) {
  cpu::LinkOptions link;
  link.shared = true;
  link.inputs = {(runtimeDir + "/" + kRuntimeArchive).str()};
  link.wholeArchives = {(runtimeDir + "/" + kPlainGraphArchive).str()};
  return link;
}

namespace {
/// A temporary file that does not outlive its scope, nor the process.
class ScratchFile {
public:
  explicit ScratchFile(std::string path) : path(std::move(path)) {}
  ~ScratchFile() {
    sys::fs::remove(path);
    sys::DontRemoveFileOnSignal(path);
  }
  const std::string path;
};
} // namespace

static Error writeWhole(StringRef path, StringRef bytes) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  if (Error error = file->write(ArrayRef(bytes.data(), bytes.size())))
    return error;
  return file->commit();
}

/// Links object code and what `link` names to the temporary file `linked` of `output`.
static Error linkCode(const cpu::TargetInfo &target, StringRef code, const std::string &linked, StringRef output, cpu::LinkOptions link) {
  ScratchFile object(temporaryNameFor(output));
  link.inputs.insert(link.inputs.begin(), object.path);
  link.output = linked;
  Error error = writeWhole(object.path, code);
  if (!error)
    error = cpu::link(target, link);
  if (!error)
    return Error::success();
  // Nobody knows the names of temporary files.
  std::string message = toString(std::move(error));
  for (const std::string &name : {object.path, linked})
    for (size_t at; (at = message.find(name)) != std::string::npos;)
      message.replace(at, name.size(), output);
  return createStringError(message);
}

/// Links what `link` says and appends the container, if there are sections for one.
static Error writeOneFile(const Package &package, StringRef output, cpu::LinkOptions link) {
  ScratchFile linked(temporaryNameFor(output));
  if (Error error = linkCode(package.target, package.object, linked.path, output, std::move(link)))
    return error;
  auto file = OutputFile::adopt(linked.path, output);
  if (!file)
    return file.takeError();
  if (!package.sections.empty())
    if (Error error = cpu::writeContainer(*file, package.sections, package.buildId))
      return error;
  return file->commit();
}

Error elutq::writeExecutable(const Package &package, StringRef output) {
  return writeOneFile(package, output, linkOptions(EmitKind::Executable, package.runtimeDir));
}

Error elutq::writeNetwork(const Package &package, StringRef output) {
  cpu::LinkOptions link = linkOptions(EmitKind::Graph, package.runtimeDir);
  link.soname = sys::path::filename(output).str();
  return writeOneFile(package, output, std::move(link));
}

Error elutq::writePlainGraph(const Package &package, StringRef output) {
  cpu::LinkOptions link = plainGraphLinkOptions(package.runtimeDir);
  link.soname = sys::path::filename(output).str();
  return writeOneFile(package, output, std::move(link));
}

/// A C header that needs no other file.
static std::string libraryHeader(const Package &package) {
  std::string macro;
  for (char c : package.name)
    macro += isAlnum(c) ? toUpper(c) : '_';
  std::string id = utohexstr(package.buildId, /*LowerCase=*/true);
  return "/* The model '" + package.name + "': link lib" + package.name + ".so, and keep " + package.name +
         ".weights beside it. */\n#define ELUTQ_MODEL_" + macro + "_BUILD_ID 0x" + id + "ULL\n\n" + kRuntimeHeader;
}

Error elutq::writeLibrary(const Package &package, StringRef output) {
  std::string library = beside(output, "lib" + package.name + ".so");
  ScratchFile linked(temporaryNameFor(library));
  cpu::LinkOptions link = linkOptions(EmitKind::Library, package.runtimeDir);
  link.soname = "lib" + package.name + ".so";
  if (Error error = linkCode(package.target, package.object, linked.path, library, link))
    return error;

  auto weights = OutputFile::create(beside(output, package.name + ".weights"));
  if (!weights)
    return weights.takeError();
  if (Error error = cpu::writeContainer(*weights, package.sections, package.buildId))
    return error;
  auto header = OutputFile::create(beside(output, package.name + ".h"));
  if (!header)
    return header.takeError();
  std::string text = libraryHeader(package);
  if (Error error = header->write(ArrayRef(text.data(), text.size())))
    return error;
  auto code = OutputFile::adopt(linked.path, library);
  if (!code)
    return code.takeError();
  return OutputFile::commitAll({&*weights, &*header, &*code});
}
