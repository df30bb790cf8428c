//===- Main.cpp - main of compiled models ---------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Program.h"

#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <unistd.h>

/// Without this, the first file that is opened would take the place of a closed standard stream, and get its text. What is
/// written to a stream that is open for reading only is an error, as it should be.
static void keepStandardStreams() {
  while (true) {
    int descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (descriptor > 2)
      ::close(descriptor);
    if (descriptor < 0 || descriptor > 2)
      return;
  }
}

/// `status`, or failure where what was printed has not arrived.
static int finish(int status) {
  bool written = std::fflush(stdout) == 0 && !std::ferror(stdout);
  if (written || status != 0)
    return status;
  std::fputs("error: cannot write to the standard output\n", stderr);
  return 1;
}

int main(int argc, char **argv) {
  keepStandardStreams();
  try {
    elutq::chat::Options options;
    std::string error;
    if (!elutq::chat::parseOptions(argc, argv, options, error)) {
      std::fprintf(stderr, "error: %s\n", error.c_str());
      return 2;
    }
    if (options.action == elutq::chat::Options::Action::Help) {
      std::fputs(elutq::chat::getHelp(argc > 0 ? argv[0] : "chat").c_str(), stdout);
      return finish(0);
    }
    return finish(elutq::chat::Program(options).run());
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
