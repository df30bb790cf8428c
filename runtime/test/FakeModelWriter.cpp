//===- FakeModelWriter.cpp - Write the fake model's data ------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"

#include <fstream>

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  std::ofstream file(argv[1], std::ios::binary);
  const std::string bytes = elutq::test::ContainerParts().write();
  return file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush() ? 0 : 1;
}
