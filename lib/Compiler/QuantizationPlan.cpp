//===- QuantizationPlan.cpp - Bits and groups matrix by matrix ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuantizationPlan.h"
#include "elutq/Compiler/Options.h"
#include "elutq/Quantize/Solver.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace llvm;
using namespace elutq;

static Expected<MatrixChoice> parseChoice(const json::Value &value) {
  const json::Object *object = value.getAsObject();
  if (!object || object->size() != 2 || !object->getInteger("bits") || !object->getInteger("group"))
    return createStringError("expected {\"bits\": number, \"group\": number}");
  MatrixChoice choice{*object->getInteger("bits"), *object->getInteger("group")};
  if (choice.bits != 0 && !quantize::isBits(choice.bits))
    return createStringError("expected bits to be 0 to 4 or 8, but got %lld", static_cast<long long>(choice.bits));
  if (!isGroupSize(choice.groupSize))
    return createStringError("expected group to be 16, 32, 64, 128, 256 or 0 (the row), but got %lld",
                             static_cast<long long>(choice.groupSize));
  return choice;
}

Expected<QuantizationPlan> elutq::readQuantizationPlan(StringRef path) {
  auto fail = [&](const Twine &reason) { return createStringError("plan '" + path + "': " + reason); };
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return fail(buffer.getError().message());
  Expected<json::Value> root = json::parse((*buffer)->getBuffer());
  if (!root)
    return fail("no JSON: " + toString(root.takeError()));
  const json::Object *object = root->getAsObject();
  if (!object)
    return fail("expected an object of matrices by name");
  QuantizationPlan plan;
  for (const auto &entry : *object) {
    Expected<MatrixChoice> choice = parseChoice(entry.second);
    if (!choice)
      return fail("'" + StringRef(entry.first) + "': " + toString(choice.takeError()));
    plan[StringRef(entry.first)] = *choice;
  }
  return plan;
}
