//===- Main.cpp - main of compiled models ---------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Program.h"

#include <cstdio>
#include <exception>

int main(int argc, char **argv) {
  try {
    elutq::chat::Options options;
    std::string error;
    if (!elutq::chat::parseOptions(argc, argv, options, error)) {
      std::fprintf(stderr, "error: %s\n", error.c_str());
      return 2;
    }
    if (options.action == elutq::chat::Options::Action::Help) {
      std::fputs(elutq::chat::getHelp(argc > 0 ? argv[0] : "chat").c_str(), stdout);
      return 0;
    }
    return elutq::chat::Program(options).run();
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
