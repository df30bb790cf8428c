//===- GraphSummary.cpp - What the compiler met in a model ----------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GraphSummary.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <set>

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

std::map<std::string, unsigned> elutq::countOperators(ModuleOp module) {
  std::map<std::string, unsigned> counts;
  module.walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (isa<onnx::NoneOp>(op) || !name.consume_front("onnx."))
      return;
    bool isContrib = name.consume_front("contrib."), isOwn = name.consume_front("elutq.");
    ++counts[(isContrib ? "com.microsoft::" : isOwn ? "ai.elutq::" : "") + name.str()];
  });
  return counts;
}

/// What `value` is computed from, without operators that change no number, or only its type and shape.
static Operation *sourceOf(Value value) {
  Operation *op = value.getDefiningOp();
  while (op && isa<onnx::CastOp, onnx::IdentityOp, onnx::ReshapeOp, onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::ExpandOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return op;
}

/// The users of `value` behind such operators.
static SmallVector<Operation *> usersOf(Value value) {
  SmallVector<Operation *> users;
  for (Operation *user : value.getUsers()) {
    if (isa<onnx::CastOp, onnx::IdentityOp, onnx::ReshapeOp, onnx::UnsqueezeOp, onnx::SqueezeOp, onnx::ExpandOp>(user))
      llvm::append_range(users, usersOf(user->getResult(0)));
    else
      users.push_back(user);
  }
  return users;
}

template <typename... Ops>
static Operation *userOf(Value value) {
  for (Operation *user : usersOf(value))
    if (isa<Ops...>(user))
      return user;
  return nullptr;
}

/// The x of `x * x` or `x ** 2`.
static Value getSquared(Operation *op) {
  if (auto pow = dyn_cast_if_present<onnx::PowOp>(op))
    return getConstantNumber(pow.getY()) == 2.0 ? pow.getX() : Value();
  auto product = dyn_cast_if_present<onnx::MulOp>(op);
  return product && product.getA() == product.getB() ? product.getA() : Value();
}

/// The mean of squares, and a root of it.
static StringRef matchNorm(onnx::ReduceMeanOp mean) {
  Value x = getSquared(sourceOf(mean.getData()));
  Operation *sum = x ? userOf<onnx::AddOp>(mean.getResult()) : nullptr;
  if (!sum || !userOf<onnx::SqrtOp, onnx::PowOp>(sum->getResult(0)))
    return "";
  auto centred = dyn_cast_if_present<onnx::SubOp>(sourceOf(x));
  return centred && isa_and_present<onnx::ReduceMeanOp>(sourceOf(centred.getB())) ? "LayerNorm" : "RMSNorm";
}

/// A half of a vector beside the other one with its sign changed.
static StringRef matchRotary(onnx::ConcatOp concat) {
  if (concat.getInputs().size() != 2)
    return "";
  auto cut = [](Value value) -> Value {
    Operation *op = sourceOf(value);
    return isa_and_present<onnx::SliceOp, onnx::SplitOp, onnx::GatherOp>(op) ? op->getOperand(0) : Value();
  };
  for (int side : {0, 1}) {
    auto negated = dyn_cast_if_present<onnx::NegOp>(sourceOf(concat.getInputs()[side]));
    Value whole = negated ? cut(negated.getX()) : Value();
    if (whole && cut(concat.getInputs()[1 - side]) == whole)
      return "rotary embedding";
  }
  return "";
}

/// Scores that become the weights of a sum.
static StringRef matchAttention(onnx::SoftmaxOp softmax) {
  Operation *op = sourceOf(softmax.getInput());
  for (int depth = 0; op && depth < 8 && !isa<onnx::MatMulOp>(op); ++depth) {
    if (!isa<onnx::AddOp, onnx::MulOp, onnx::DivOp, onnx::WhereOp, onnx::TanhOp>(op))
      return "";
    // Masks are added or chosen; the scores are the operand with the product.
    Operation *next = nullptr;
    for (Value operand : op->getOperands())
      if (Operation *source = sourceOf(operand); source && isa<onnx::AddOp, onnx::MulOp, onnx::DivOp, onnx::MatMulOp, onnx::TanhOp>(source))
        next = next && isa<onnx::MatMulOp>(next) ? next : source;
    op = next;
  }
  Value weights = softmax.getOutput();
  if (Operation *where = userOf<onnx::WhereOp>(weights))
    weights = where->getResult(0);
  return op && userOf<onnx::MatMulOp>(weights) ? "attention" : "";
}

/// The product with a gate, or without.
static StringRef gated(Operation *activation, StringRef alone, StringRef with) {
  return activation && userOf<onnx::MulOp>(activation->getResult(0)) ? with : alone;
}

static StringRef matchSigmoid(onnx::SigmoidOp sigmoid) {
  Operation *product = userOf<onnx::MulOp>(sigmoid.getResult());
  bool isOfItself = product && llvm::any_of(product->getOperands(), [&](Value operand) { return operand == sigmoid.getX(); });
  return isOfItself ? gated(product, "SiLU", "SwiGLU") : "";
}

/// Erf(x / sqrt(2)) + 1, or tanh of a polynomial with a cube.
static StringRef matchGelu(Operation *op) {
  Operation *sum = userOf<onnx::AddOp>(op->getResult(0));
  if (!sum || (getConstantNumber(sum->getOperand(0)) != 1.0 && getConstantNumber(sum->getOperand(1)) != 1.0))
    return "";
  // x / 2 comes before or after the other factor.
  Operation *first = userOf<onnx::MulOp>(sum->getResult(0)), *second = first ? userOf<onnx::MulOp>(first->getResult(0)) : nullptr;
  bool isHalved = first && (getConstantNumber(first->getOperand(0)) == 0.5 || getConstantNumber(first->getOperand(1)) == 0.5);
  bool halvesNext = second && (getConstantNumber(second->getOperand(0)) == 0.5 || getConstantNumber(second->getOperand(1)) == 0.5);
  return gated(isHalved || halvesNext ? second : first, "GELU", "GeGLU");
}

std::vector<WrittenOut> elutq::findWrittenOut(ModuleOp module) {
  std::vector<WrittenOut> found;
  module.walk([&](Operation *op) {
    StringRef pattern;
    if (auto mean = dyn_cast<onnx::ReduceMeanOp>(op))
      pattern = matchNorm(mean);
    else if (auto concat = dyn_cast<onnx::ConcatOp>(op))
      pattern = matchRotary(concat);
    else if (auto softmax = dyn_cast<onnx::SoftmaxOp>(op))
      pattern = matchAttention(softmax);
    else if (auto sigmoid = dyn_cast<onnx::SigmoidOp>(op))
      pattern = matchSigmoid(sigmoid);
    else if (isa<onnx::ErfOp, onnx::TanhOp>(op))
      pattern = matchGelu(op);
    if (!pattern.empty())
      found.push_back({pattern.str(), getNodeName(op->getLoc()).str()});
  });
  return found;
}

void elutq::compare(llvm::ArrayRef<WrittenOut> before, llvm::ArrayRef<WrittenOut> after, GraphSummary &summary) {
  std::set<WrittenOut> left(after.begin(), after.end());
  for (const WrittenOut &pattern : before)
    (left.count(pattern) ? summary.writtenOut : summary.recognized).push_back(pattern);
}

void elutq::printSummary(const GraphSummary &summary, llvm::raw_ostream &os) {
  os << "operators of the model:";
  for (const auto &[name, count] : summary.operators)
    os << (name == summary.operators.begin()->first ? " " : ", ") << name << ' ' << count;
  os << (summary.operators.empty() ? " none\n" : "\n");
  auto print = [&](llvm::ArrayRef<WrittenOut> patterns, StringRef title) {
    os << title << (patterns.empty() ? ": none\n" : ":\n");
    for (const WrittenOut &pattern : patterns)
      os << llvm::formatv("  {0,-18}{1}\n", pattern.pattern, pattern.node);
  };
  print(summary.recognized, "written out and recognized as one operation");
  print(summary.writtenOut, "written out and computed so");
}
