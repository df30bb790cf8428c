//===- BuildEntry.cpp - lm-build-entry ------------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AttentionSite.h"
#include "OutputRow.h"
#include "Recognize.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Iterators.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Support/MathExtras.h"

namespace elutq {
#define GEN_PASS_DEF_LMBUILDENTRYPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

namespace {

constexpr StringLiteral kNameAttr = "onnx.name";

bool isIntegerTensor(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isa<IntegerType>(type.getElementType()) && !type.getElementType().isInteger(1);
}

/// Whether the rows that `value` names are taken from a matrix.
bool selectsRows(Value value) {
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    if (isa<onnx::CastOp, onnx::ReshapeOp, onnx::IdentityOp>(user) && use.getOperandNumber() == 0 && selectsRows(user->getResult(0)))
      return true;
    if (auto gather = dyn_cast<onnx::GatherOp>(user); gather && use.getOperandNumber() == 1) {
      auto type = dyn_cast<RankedTensorType>(gather.getData().getType());
      if (type && type.getRank() == 2 && isa<FloatType>(type.getElementType()) &&
          (getConstant(gather.getData()) || getTransposedMatrix(gather.getData())))
        return true;
    }
    if (isa<onnx::ContribGatherBlockQuantizedOp>(user) && use.getOperandNumber() == 1)
      return true;
    if (isa<onnx::ElutqHLQGatherOp>(user) && use.getOperandNumber() == 0)
      return true;
  }
  return false;
}

/// Backwards, so that whole unused subgraphs go. No ONNX operator has a side effect.
void eraseUnused(func::FuncOp function) {
  function->walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
    if (isOpTriviallyDead(op))
      op->erase();
  });
}

/// Does the work on one function.
class EntryBuilder {
public:
  EntryBuilder(func::FuncOp function, const LMBuildEntryPassOptions &options) : function(function), options(options) {}

  LogicalResult run();
  int64_t getNumAttention() const { return sites.size(); }

private:
  LogicalResult findTokens();
  LogicalResult findAttention();
  LogicalResult findOtherInputs();
  LogicalResult decideLengths(SymbolicEvaluator &evaluator);
  LogicalResult findPositions(SymbolicEvaluator &evaluator);
  LogicalResult findLogits();
  LogicalResult verifyOptions();
  void addArguments();
  LogicalResult rewriteBody();
  void replacePositions(OpBuilder &builder);
  LogicalResult finish();

  InFlightDiagnostic emitInputError(BlockArgument argument) {
    InFlightDiagnostic diagnostic = emitError(function.getLoc());
    diagnostic << "input \"" << nameOf(argument) << "\" ";
    return diagnostic;
  }
  StringRef nameOf(BlockArgument argument) {
    auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), kNameAttr);
    return name ? name.getValue() : StringRef("?");
  }
  /// Slots of a cache: for every token of the context, or for a window and one step.
  int64_t capacityOf(const AttentionSite &site) const {
    if (site.window == 0)
      return llvm::alignTo(options.maxContext, lm::kKeyBlock);
    return llvm::alignTo(site.window + options.chunk, lm::kKeyBlock);
  }

  func::FuncOp function;
  const LMBuildEntryPassOptions &options;
  BlockArgument tokens;
  InputRoles roles;
  SmallVector<AttentionSite> sites;
  /// An operand that is `offset` plus the position of the row, one per row along `axis`; `tableRows`: of the table that it indexes, or 0.
  struct PositionUse {
    OpOperand *operand;
    int64_t offset, axis, tableRows;
  };
  SmallVector<PositionUse> positions;
  Value logits;
  /// The place of the logits among the results, as the value may be replaced.
  unsigned logitsIndex = 0;
  // The new interface.
  BlockArgument newTokens, count, position;
  SmallVector<SiteCaches> caches;
  SmallVector<Value> updated;
};

LogicalResult EntryBuilder::findTokens() {
  for (BlockArgument argument : function.getArguments()) {
    if (!isIntegerTensor(argument) || !selectsRows(argument))
      continue;
    // Learned positions are rows of a table, too.
    if (nameOf(argument).contains("position") && !roles.positionIds) {
      roles.positionIds = argument;
      continue;
    }
    if (tokens)
      return emitInputError(argument) << "selects embeddings, as does \"" << nameOf(tokens) << "\": expected one input of token ids";
    tokens = argument;
  }
  if (!tokens)
    return emitError(function.getLoc()) << "expected an input of token ids that selects rows of a constant embedding";
  auto type = getStaticType(tokens);
  if (!type || type.getRank() != 2 || type.getDimSize(0) != 1)
    return emitInputError(tokens) << "must have the static shape [1, rows], but has type " << tokens.getType();
  roles.rows = type.getDimSize(1);
  return success();
}

LogicalResult EntryBuilder::findAttention() {
  llvm::SmallPtrSet<Value, 16> seen;
  bool failedAny = false;
  function.walk([&](Operation *op) {
    if (!isAttention(op))
      return;
    FailureOr<AttentionSite> site = matchAttention(op, roles.rows);
    if (failed(site)) {
      failedAny = true;
      return;
    }
    for (BlockArgument past : {site->pastKey, site->pastValue}) {
      if (!seen.insert(past).second) {
        emitNodeError(op) << "its past is also that of another attention: shared caches are not supported";
        failedAny = true;
        return;
      }
      auto type = cast<ShapedType>(past.getType());
      if (!site->keyStart)
        roles.pastAxis[past] = type.getRank() - 2;
      else if (int64_t size = type.getDimSize(type.getRank() - 2); !ShapedType::isDynamic(size))
        roles.slots = size;
    }
    for (Value start : {site->keyStart, site->valueStart})
      if (BlockArgument argument = start ? findArgument(start) : nullptr)
        roles.starts.insert(argument);
    if (BlockArgument argument = site->validLength ? findArgument(site->validLength) : nullptr)
      roles.lengths.insert(argument);
    sites.push_back(*site);
  });
  if (failedAny)
    return failure();
  if (sites.empty())
    return emitError(function.getLoc()) << "expected a language model, but found no attention operation";
  return success();
}

LogicalResult EntryBuilder::findOtherInputs() {
  for (BlockArgument argument : function.getArguments()) {
    bool isCache = llvm::any_of(sites, [&](const AttentionSite &site) { return argument == site.pastKey || argument == site.pastValue; });
    if (argument == tokens || argument == roles.positionIds || isCache || roles.starts.contains(argument) || roles.lengths.contains(argument))
      continue;
    if (argument.use_empty())
      continue;
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    // One number per row are positions; one per position, past ones included, is the attention mask.
    if (isIntegerTensor(argument) && type.hasStaticShape() && type.getNumElements() == roles.rows && !roles.positionIds)
      roles.positionIds = argument;
    else if (type && isa<IntegerType>(type.getElementType()) && type.getRank() == 2 && type.isDynamicDim(1) && !roles.attentionMask)
      roles.attentionMask = argument;
    else
      return emitInputError(argument) << "of type " << argument.getType()
                                      << " is not understood; expected token ids, position ids, an attention mask, and the past keys and "
                                         "values of attention";
  }
  SymbolicEvaluator evaluator(roles);
  if (failed(decideLengths(evaluator)) || failed(findPositions(evaluator)))
    return failure();
  bool failedAny = false;
  for (AttentionSite &site : sites) {
    failedAny |= failed(matchVisibility(site, evaluator, roles.rows));
    // A window that no position leaves is none.
    if (site.window >= static_cast<int64_t>(options.maxContext))
      site.window = 0;
  }
  return failure(failedAny);
}

/// Comparisons of the length of the text with a constant, on which some rotary embeddings depend (LongRoPE has factors for short and
/// for long texts), must have the same outcome for all lengths up to the context: it takes their place.
LogicalResult EntryBuilder::decideLengths(SymbolicEvaluator &evaluator) {
  WalkResult result = function.walk([&](Operation *op) {
    if (!isa<onnx::LessOp, onnx::LessOrEqualOp, onnx::GreaterOp, onnx::GreaterOrEqualOp>(op))
      return WalkResult::advance();
    auto type = getStaticType(op->getResult(0));
    std::optional<Symbolic> symbolic = evaluator.evaluate(op->getResult(0));
    bool selects = llvm::any_of(op->getUsers(), [](Operation *user) {
      auto where = dyn_cast<onnx::WhereOp>(user);
      return where && !getConstantNumber(where.getX()) && isa<FloatType>(cast<ShapedType>(where.getType()).getElementType());
    });
    if (!type || type.getNumElements() != 1 || !selects || !symbolic || !symbolic->isBool || symbolic->conditions.size() != 1)
      return WalkResult::advance();
    const Affine &form = symbolic->conditions.front();
    if (form.query != 0 || form.key != 0)
      return WalkResult::advance();
    // P is at most this: padding rows don't count.
    int64_t most = options.maxContext - roles.rows;
    bool first = form.constant >= 0, last = form.constant + form.past * most >= 0;
    if (first != last && roles.rows <= static_cast<int64_t>(options.maxContext)) {
      // The greatest length of one outcome: form.constant + form.past * P changes its sign there.
      emitNodeError(op) << "its outcome depends on the length of the text; choose a max-context of at most "
                        << (std::abs(form.constant) - (form.past > 0 ? 1 : 0)) / std::abs(form.past) + roles.rows;
      return WalkResult::interrupt();
    }
    OpBuilder builder(op);
    op->getResult(0).replaceAllUsesWith(arith::ConstantOp::create(builder, op->getLoc(), type, DenseElementsAttr::get(type, first)));
    return WalkResult::advance();
  });
  return success(!result.wasInterrupted());
}

/// Integers that are the positions of the rows, and a constant, where floats come from them: as the index of a table, or converted.
LogicalResult EntryBuilder::findPositions(SymbolicEvaluator &evaluator) {
  WalkResult result = function.walk([&](Operation *op) {
    auto gather = dyn_cast<onnx::GatherOp>(op);
    auto table = gather ? getStaticType(gather.getData()) : nullptr;
    bool isLookup = table && gather.getAxis() == 0 && getConstant(gather.getData()) && isa<FloatType>(table.getElementType());
    auto castOp = dyn_cast<onnx::CastOp>(op);
    bool isConversion = castOp && isIntegerTensor(castOp.getInput()) && isa<FloatType>(cast<ShapedType>(castOp.getType()).getElementType());
    if (!isLookup && !isConversion)
      return WalkResult::advance();
    OpOperand &operand = op->getOpOperand(isLookup ? 1 : 0);
    std::optional<Symbolic> symbolic = evaluator.evaluate(operand.get());
    if (!symbolic || symbolic->isBool || symbolic->isVector || symbolic->elements.size() != 1)
      return WalkResult::advance();
    Affine form = symbolic->elements.front();
    // The one row of decode is at position P.
    if (roles.rows == 1 && form.past == 1 && form.query == 0)
      form = Affine{form.constant, 0, 1, 0};
    if (!(form == Affine{form.constant, 0, 1, 0}) || (symbolic->queryAxis < 0 && roles.rows > 1))
      return WalkResult::advance();
    // One per row, not the same ones several times.
    auto type = dyn_cast<RankedTensorType>(operand.get().getType());
    if (!type || llvm::count_if(type.getShape(), [](int64_t size) { return !ShapedType::isDynamic(size) && size != 1; }) > (roles.rows > 1 ? 1 : 0))
      return WalkResult::advance();
    if (isLookup && table.getDimSize(0) < form.constant + static_cast<int64_t>(options.maxContext)) {
      emitNodeError(op) << "its table has " << table.getDimSize(0) - form.constant
                        << " positions, fewer than the context; choose a smaller max-context";
      return WalkResult::interrupt();
    }
    positions.push_back({&operand, form.constant, symbolic->queryAxis, isLookup ? table.getDimSize(0) : 0});
    return WalkResult::advance();
  });
  return success(!result.wasInterrupted());
}

/// The rows' positions in place of what computes them. Padding rows behind the context read a table's last row.
void EntryBuilder::replacePositions(OpBuilder &builder) {
  for (const PositionUse &use : positions) {
    Operation *op = use.operand->getOwner();
    Location loc = op->getLoc();
    auto type = cast<RankedTensorType>(use.operand->get().getType());
    SmallVector<int64_t> shape(type.getRank(), 1);
    if (use.axis >= 0)
      shape[use.axis] = roles.rows;
    builder.setInsertionPoint(op);
    Value numbers = iota(builder, loc, roles.rows, position);
    auto flat = RankedTensorType::get({roles.rows}, type.getElementType());
    numbers = elementwise(builder, loc, numbers, flat, [&](OpBuilder &b, Location l, ValueRange args) -> Value {
      Value number = arith::AddIOp::create(b, l, args[0], scalar(b, l, b.getI64Type(), use.offset));
      if (use.tableRows > 0)
        number = arith::MinSIOp::create(b, l, number, scalar(b, l, b.getI64Type(), use.tableRows - 1));
      return type.getElementType().isInteger(64) ? number : arith::TruncIOp::create(b, l, type.getElementType(), number).getResult();
    });
    use.operand->set(reshape(builder, loc, numbers, shape));
  }
}

LogicalResult EntryBuilder::findLogits() {
  llvm::SmallPtrSet<Value, 16> presents;
  for (const AttentionSite &site : sites)
    for (Value present : {site.presentKey, site.presentValue})
      if (present)
        presents.insert(present);
  auto source = [](Value value) {
    while (isa_and_present<onnx::CastOp, onnx::IdentityOp>(value.getDefiningOp()))
      value = value.getDefiningOp()->getOperand(0);
    return value;
  };
  Operation *terminator = function.front().getTerminator();
  for (auto [index, result] : llvm::enumerate(terminator->getOperands())) {
    if (presents.contains(source(result)))
      continue;
    auto type = getStaticType(result);
    bool isLogits = type && type.getElementType().isF32() && type.getRank() >= 2 && type.getDimSize(type.getRank() - 2) == roles.rows &&
                    type.getNumElements() == roles.rows * type.getShape().back();
    if (!isLogits || logits) {
      auto name = function.getResultAttrOfType<StringAttr>(index, kNameAttr);
      return emitError(function.getLoc()) << "output \"" << (name ? name.getValue() : "?") << "\" of type " << result.getType()
                                          << " is not understood; expected f32 logits [1, rows, vocabulary], and the keys and values of attention";
    }
    logits = result;
    logitsIndex = index;
  }
  if (!logits)
    return emitError(function.getLoc()) << "expected an output of logits";
  return success();
}

LogicalResult EntryBuilder::verifyOptions() {
  if (options.maxContext < 1 || options.chunk < 1)
    return emitError(function.getLoc()) << "expected max-context and chunk to be positive";
  if (roles.rows > options.chunk)
    return emitError(function.getLoc()) << "expected at most chunk (" << options.chunk << ") rows, but got " << roles.rows;
  if (options.chunk > options.maxContext)
    return emitError(function.getLoc()) << "expected chunk (" << options.chunk << ") to be at most max-context (" << options.maxContext << ")";
  if (!llvm::is_contained({"f16", "f32", "int8"}, options.kvCache))
    return emitError(function.getLoc()) << "expected kv-cache to be f16, f32 or int8, but got '" << options.kvCache << "'";
  return success();
}

void EntryBuilder::addArguments() {
  Block &body = function.front();
  Builder builder(function.getContext());
  Location loc = function.getLoc();
  newTokens = body.addArgument(RankedTensorType::get({roles.rows}, builder.getI64Type()), loc);
  count = body.addArgument(builder.getIndexType(), loc);
  position = body.addArgument(builder.getIndexType(), loc);
  Type element = options.kvCache == "f16"   ? Type(builder.getF16Type())
                 : options.kvCache == "f32" ? Type(builder.getF32Type())
                                            : Type(builder.getI8Type());
  for (const AttentionSite &site : sites) {
    int64_t capacity = capacityOf(site);
    auto add = [&](ArrayRef<int64_t> shape, Type type) -> Value {
      return body.addArgument(RankedTensorType::get(shape, type), site.op->getLoc());
    };
    // Keys and values, each followed by its scales where it has any.
    SiteCaches &cache = caches.emplace_back();
    for (Cache *each : {&cache.key, &cache.value}) {
      if (each == &cache.key)
        each->push_back(add({site.kvHeads, capacity / lm::kKeyBlock, site.headSize, lm::kKeyBlock}, element));
      else
        each->push_back(add({site.kvHeads, capacity, site.headSize}, element));
      if (element.isInteger(8))
        each->push_back(add({site.kvHeads, capacity}, builder.getF32Type()));
    }
  }
}

LogicalResult EntryBuilder::rewriteBody() {
  OpBuilder builder = OpBuilder::atBlockBegin(&function.front());
  Location loc = function.getLoc();
  auto replaceInput = [&](Value argument, Value numbers) {
    auto type = cast<RankedTensorType>(argument.getType());
    Value value = reshape(builder, loc, numbers, type.getShape());
    if (value.getType() != type)
      value = elementwise(builder, loc, value, type, [&](OpBuilder &b, Location l, ValueRange args) -> Value {
        return arith::TruncIOp::create(b, l, type.getElementType(), args[0]);
      });
    argument.replaceAllUsesWith(value);
  };
  replaceInput(tokens, newTokens);
  replacePositions(builder);
  builder.setInsertionPointToStart(&function.front());
  if (roles.positionIds)
    replaceInput(roles.positionIds, iota(builder, loc, roles.rows, position));
  // Padding rows stand at most rows - 1 positions beyond the context.
  EntryContext entry{position, count, roles.rows, options.maxContext, options.maxContext + options.chunk};
  for (auto [index, site] : llvm::enumerate(sites)) {
    FailureOr<SiteCaches> result = rewriteAttention(builder, site, entry, caches[index]);
    if (failed(result))
      return failure();
    llvm::append_range(updated, result->key);
    llvm::append_range(updated, result->value);
  }
  refineShapes(function);
  Operation *terminator = function.front().getTerminator();
  logits = terminator->getOperand(logitsIndex);
  builder.setInsertionPoint(terminator);
  Value row = position;
  if (roles.rows > 1)
    row = arith::SubIOp::create(builder, logits.getLoc(), count, arith::ConstantIndexOp::create(builder, logits.getLoc(), 1));
  Value last = selectRow(builder, logits, row);
  SmallVector<Value> results{reshape(builder, logits.getLoc(), last, {1, cast<RankedTensorType>(last.getType()).getShape().back()})};
  llvm::append_range(results, updated);
  terminator->setOperands(results);
  return success();
}

LogicalResult EntryBuilder::finish() {
  eraseUnused(function);
  int64_t oldArguments = function.getNumArguments();
  Block &body = function.front();
  for (int64_t i = 0; i < oldArguments; ++i)
    if (!body.getArgument(i).use_empty()) {
      Operation *user = *body.getArgument(i).getUsers().begin();
      emitNodeError(user) << "its use of input \"" << nameOf(body.getArgument(i))
                          << "\" is not understood; supported are the past as an operand of attention, and lengths and masks for attention";
      return failure();
    }
  int64_t vocabulary = cast<RankedTensorType>(body.getTerminator()->getOperand(0).getType()).getDimSize(1);
  body.eraseArguments(0, oldArguments);
  Builder builder(function.getContext());
  function.setArgAttrsAttr(ArrayAttr());
  function.setResAttrsAttr(ArrayAttr());
  function.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), body.getTerminator()->getOperandTypes()));
  function.setName(options.entry);
  auto module = function->getParentOfType<ModuleOp>();
  module->setAttr("elutq.model", builder.getDictionaryAttr({builder.getNamedAttr("chunk", builder.getI64IntegerAttr(options.chunk)),
                                                            builder.getNamedAttr("layers", builder.getI64IntegerAttr(sites.size())),
                                                            builder.getNamedAttr("max_context", builder.getI64IntegerAttr(options.maxContext)),
                                                            builder.getNamedAttr("vocab", builder.getI64IntegerAttr(vocabulary))}));
  return success();
}

LogicalResult EntryBuilder::run() {
  if (failed(findTokens()) || failed(findAttention()) || failed(findOtherInputs()) || failed(findLogits()) || failed(verifyOptions()))
    return failure();
  addArguments();
  if (failed(rewriteBody()))
    return failure();
  return finish();
}

struct LMBuildEntryPass : elutq::impl::LMBuildEntryPassBase<LMBuildEntryPass> {
  using LMBuildEntryPassBase::LMBuildEntryPassBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> functions(getOperation().getOps<func::FuncOp>());
    if (functions.size() != 1 || functions.front().isExternal()) {
      emitError(getOperation().getLoc()) << "expected a module of one function, the graph of the model";
      return signalPassFailure();
    }
    LMBuildEntryPassOptions options{entry, chunk, maxContext, kvCache};
    EntryBuilder builder(functions.front(), options);
    if (failed(builder.run()))
      return signalPassFailure();
    numAttention += builder.getNumAttention();
  }
};

} // namespace
