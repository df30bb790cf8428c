//===- HLQFunctions.cpp - HLQ operators in standard ONNX --------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "HLQFunctions.h"

#include "Model.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

#include "onnx/defs/parser.h"

using namespace llvm;

namespace elutq {

Error addHLQFunctions(::onnx::ModelProto &model, int opset) {
  constexpr int oldest = 18;
  if (opset < oldest)
    return createStringError("the model asks for opset " + Twine(opset) + " of ai.onnx, but HLQ operators need " +
                             Twine(oldest) + " or newer");
  auto *functions = model.mutable_functions();
  functions->erase(llvm::remove_if(*functions, [](const auto &function) { return function.domain() == kElutqDomain; }),
                   functions->end());
  SmallVector<StringRef> bodies;
  StringRef(kHLQFunctions).split(bodies, "\n\n", -1, /*KeepEmpty=*/false);
  // What precedes the first one says what they are.
  for (StringRef body : ArrayRef(bodies).drop_front()) {
    std::string text = body.str();
    size_t position = text.find("OPSET");
    text.replace(position, StringRef("OPSET").size(), std::to_string(opset));
    try {
      ::onnx::Common::Status status = ::onnx::OnnxParser::Parse(*model.add_functions(), text);
      if (!status.IsOK())
        return createStringError("a function of ai.elutq does not parse: " + status.ErrorMessage());
    } catch (const std::exception &exception) {
      return createStringError(StringRef("a function of ai.elutq does not parse: ") + exception.what());
    }
  }
  if (none_of(model.opset_import(), [](const auto &import) { return import.domain() == kElutqDomain; })) {
    ::onnx::OperatorSetIdProto &import = *model.add_opset_import();
    import.set_domain(kElutqDomain.str());
    import.set_version(1);
  }
  return Error::success();
}

} // namespace elutq
