//===- TokenizerTool.cpp - Tokenizes lines, for the comparison tests ------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// elutq-tokenizer-test TOKENIZER.JSON encode|decode|stream
//   encode: each line of the input holds the hexadecimal bytes of a text; prints its ids
//   decode: each line holds ids; prints the hexadecimal bytes of their text, special tokens skipped
//   stream: the same through a stream, one token at a time, checking that every part is well-formed
//
//===----------------------------------------------------------------------===//

#include "TokenDecoder.h"
#include "Tokenizer.h"
#include "Utf8.h"
#include "elutq/TokenizerBuilder.h"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

using namespace elutq::runtime;

static std::string toHex(const std::string &bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned char c : bytes) {
    hex += digits[c >> 4];
    hex += digits[c & 15];
  }
  return hex;
}

static std::string fromHex(const std::string &hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  std::ifstream file(argv[1], std::ios::binary);
  std::string json((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string section, error, mode = argv[2];
  if (!elutq::buildTokenizerSection(json, section, error)) {
    std::fprintf(stderr, "error: %s\n", error.c_str());
    return 1;
  }
  std::unique_ptr<const Tokenizer> tokenizer;
  if (Status status = Tokenizer::load(section, tokenizer); !status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.getText().c_str());
    return 1;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    std::vector<int64_t> ids;
    if (mode == "encode") {
      if (Status status = tokenizer->encode(fromHex(line), ELUTQ_ADD_BOS | ELUTQ_ADD_EOS, ids); !status.ok()) {
        std::fprintf(stderr, "error: %s\n", status.getText().c_str());
        return 1;
      }
      for (size_t i = 0; i < ids.size(); ++i)
        std::printf("%s%lld", i ? " " : "", static_cast<long long>(ids[i]));
      std::printf("\n");
      continue;
    }
    std::istringstream words(line);
    for (int64_t id; words >> id;)
      ids.push_back(id);
    bool eager = mode == "stream";
    TokenDecoder decoder(*tokenizer, /*keepSpecial=*/false, eager);
    std::string text, part;
    auto take = [&] {
      if (eager && !isWellFormed(part))
        std::fprintf(stderr, "error: a part is not well-formed\n");
      text += part;
      part.clear();
    };
    for (int64_t id : ids) {
      decoder.push(id, part);
      take();
    }
    decoder.finish(part);
    take();
    std::printf("%s\n", toHex(text).c_str());
  }
  return 0;
}
