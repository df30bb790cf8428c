//===- ChatTest.cpp - The command line of compiled models -----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/wait.h>

using namespace elutq::test;

namespace {
struct Result {
  int status;
  std::string output; // standard output, then standard error
};
} // namespace

/// Runs the fake model's program; `arguments` are shell words.
static Result run(const std::string &arguments, const std::string &input = "") {
  static TemporaryFile container(ContainerParts().write());
  std::string command = "printf '" + input + "' | '" ELUTQ_FAKE_CHAT "' --weights '" + container.path + "' " + arguments +
                        " 2>&1";
  std::FILE *pipe = ::popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (size_t bytes = std::fread(buffer, 1, sizeof(buffer), pipe))
    output.append(buffer, bytes);
  int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

static void expectError(const std::string &arguments, const std::string &text) {
  Result result = run(arguments);
  EXPECT_NE(result.status, 0) << arguments;
  EXPECT_NE(result.output.find("error: "), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(text), std::string::npos) << result.output;
}

TEST(Chat, clearErrors) {
  expectError("--promt x", "unknown option '--promt'; --help lists all");
  expectError("--prompt", "--prompt needs a value");
  expectError("--prompt ''", "expected a text that is not empty");
  expectError("--prompt a -n many", "-n is 'many', but expected a number from 0");
  expectError("--prompt a -n -1", "-n is '-1'");
  expectError("--prompt a -n 3x", "-n is '3x'");
  expectError("--prompt a --temp -1", "--temp is '-1', but expected a number >= 0");
  expectError("--prompt a --temp nan", "--temp is 'nan'");
  expectError("--prompt a --tokens 1", "only one of");
  expectError("--tokens 1,x", "'x' is not a token id");
  expectError("--tokens 300", "token 0 is 300, but ids go from 0 to 299");
  expectError("--bench 5", "two numbers of tokens");
  expectError("--bench 30,30", "does not fit into the context of 40");
  expectError("--prompt-file /no/file", "cannot open '/no/file'");
  expectError("--info=3", "--info takes no value");
  expectError("--logits out", "--logits needs --prompt");
  expectError("--weights /no/file --info", "cannot open '/no/file'");
}

TEST(Chat, contextOverflow) {
  expectError("--prompt " + std::string(40, 'x') + " -n 5", "41 tokens, but the context has only 40");
  expectError("--prompt abc -n 60", "a prompt of 3 tokens and -n 60 do not fit into the context of 40; use -n 38 or less");
  EXPECT_EQ(run("--prompt abc -n 38 --ignore-eos").status, 0);
  // In a chat, the second line no longer fits.
  std::string line(30, 'x');
  Result result = run("-n 8 --ignore-eos", line + "\\n" + line + "\\n");
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.output.find("error: the context is full"), std::string::npos) << result.output;
}

TEST(Chat, generatesTheSameHoweverItIsFed) {
  Result prefill = run("--tokens 1,2,3,4,5,6,7,8,9,10,11 -n 20 --print-tokens --ignore-eos --threads 3");
  Result decode = run("--tokens 1,2,3,4,5,6,7,8,9,10,11 -n 20 --print-tokens --ignore-eos --feed decode --threads 1");
  EXPECT_EQ(prefill.status, 0) << prefill.output;
  EXPECT_EQ(prefill.output, decode.output);
  EXPECT_EQ(std::count(prefill.output.begin(), prefill.output.end(), ','), 19);
  Result sampled = run("--tokens 1,2,3 -n 20 --print-tokens --ignore-eos --temp 1 --seed 3 --top-k 50 --top-p 0.9 --min-p 0.01");
  EXPECT_EQ(sampled.output,
            run("--tokens 1,2,3 -n 20 --print-tokens --ignore-eos --temp=1 --seed=3 --top-k=50 --top-p=0.9 --min-p=0.01").output);
  EXPECT_NE(sampled.output, run("--tokens 1,2,3 -n 20 --print-tokens --ignore-eos --temp 1 --seed 4").output);
}

TEST(Chat, nothingToGenerate) {
  Result result = run("--tokens 1,2,3 -n 0");
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_EQ(result.output, "\n");
}

TEST(Chat, outputIsWellFormed) {
  Result result = run("--prompt hello -n 30 --ignore-eos --temp 2 --seed 1");
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_EQ(result.output.back(), '\n');
}

TEST(Chat, logits) {
  TemporaryFile file("");
  ASSERT_EQ(run("--tokens 1,2,3 -n 2 --ignore-eos --logits " + file.path).status, 0);
  auto size = [&] {
    std::ifstream stream(file.path, std::ios::binary | std::ios::ate);
    return static_cast<int64_t>(stream.tellg());
  };
  EXPECT_EQ(size(), 4 * 4 * kVocab); // three of the prompt, one of the first generated token
  ASSERT_EQ(run("--tokens 1,2,3 -n 1 --feed prefill --logits " + file.path).status, 0);
  EXPECT_EQ(size(), 4 * kVocab);
  expectError("--tokens 1,2 --logits /no/folder/file", "cannot create");
}

TEST(Chat, information) {
  Result info = run("--info");
  EXPECT_EQ(info.status, 0);
  EXPECT_NE(info.output.find("vocabulary       300\n"), std::string::npos) << info.output;
  EXPECT_NE(run("--info --json").output.find("\"name\": \"fake\""), std::string::npos);
  Result bench = run("--bench 20,10 --repeat 2 --json");
  EXPECT_EQ(bench.status, 0) << bench.output;
  EXPECT_NE(bench.output.find("\"decode_tok_s\": "), std::string::npos) << bench.output;
  EXPECT_NE(bench.output.find("\"huge_page_bytes\": "), std::string::npos) << bench.output;
  Result perplexity = run("--tokens 1,2,3,4 --perplexity");
  EXPECT_EQ(perplexity.output.rfind("3 tokens predicted", 0), 0u) << perplexity.output;
  EXPECT_NE(run("--help").output.find("--repeat-penalty R"), std::string::npos);
}

TEST(Chat, withoutData) {
  // The program alone, before a model was appended.
  std::FILE *pipe = ::popen("'" ELUTQ_FAKE_CHAT "' --info 2>&1", "r");
  char buffer[512] = {};
  EXPECT_GT(std::fread(buffer, 1, sizeof(buffer) - 1, pipe), 0u);
  EXPECT_NE(::pclose(pipe), 0);
  EXPECT_NE(std::string(buffer).find("does not end with a compiled model"), std::string::npos) << buffer;
}
