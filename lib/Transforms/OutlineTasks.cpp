//===- OutlineTasks.cpp - Entry points become calls of merged tasks -------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "elutq/Transforms/TaskABI.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"

namespace elutq {
#define GEN_PASS_DEF_OUTLINETASKSPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

namespace {

/// Arguments of an entry, in the order that elutq-plan-memory gives them.
enum EntryArgument { kTokens, kCount, kPosition, kArena, kWeights, kCache, kLogits };
/// Arguments of a task.
enum TaskArgument { kBegin, kEnd, kTaskArena, kTaskWeights, kTaskCache, kTaskArgs };

/// A maximal run of serial operations, or one parallel loop.
struct Segment {
  SmallVector<Operation *> ops;
  scf::ForallOp loop;
};

struct OutlineTasks : elutq::impl::OutlineTasksPassBase<OutlineTasks> {
  using OutlineTasksPassBase::OutlineTasksPassBase;
  void runOnOperation() override;

private:
  LogicalResult outlineEntry(func::FuncOp entry);
  /// Writes count and position to the head of the arena, where tasks read them.
  void storeScalars(func::FuncOp entry);
  FailureOr<func::FuncOp> buildTask(func::FuncOp entry, Segment &segment, SmallVectorImpl<int64_t> &offsets);
  /// The task that `task` equals, or `task` itself.
  func::FuncOp merge(func::FuncOp task);
  void call(OpBuilder &builder, func::FuncOp entry, func::FuncOp task, const Segment &segment, ArrayRef<int64_t> offsets);

  FunctionType taskType;
  DenseMap<llvm::hash_code, SmallVector<func::FuncOp>> tasks;
  int64_t numDistinct = 0;
  int64_t numArgumentBlocks = 0;
};

} // namespace

/// Operations that every task repeats for itself: addresses and scalars computed from the entry's arguments.
static bool isRepeatable(Operation *op) {
  if (op->getNumRegions() != 0 || op->hasTrait<OpTrait::IsTerminator>())
    return false;
  return isMemoryEffectFree(op);
}

/// The offset of a view at a constant offset.
static std::optional<int64_t> constantOffset(Operation *op) {
  auto view = dyn_cast<memref::ViewOp>(op);
  return view ? getConstantIntValue(view.getByteShift()) : std::nullopt;
}

/// Trip counts of a loop with constant bounds.
static FailureOr<SmallVector<int64_t>> tripCounts(scf::ForallOp loop) {
  SmallVector<int64_t> counts;
  for (auto [lower, upper, step] : llvm::zip_equal(loop.getMixedLowerBound(), loop.getMixedUpperBound(), loop.getMixedStep())) {
    std::optional<int64_t> lb = getConstantIntValue(lower), ub = getConstantIntValue(upper), st = getConstantIntValue(step);
    if (!lb || !ub || !st)
      return loop.emitOpError("expected constant bounds in an entry point");
    counts.push_back(llvm::divideCeil(std::max<int64_t>(*ub - *lb, 0), *st));
  }
  return counts;
}

static int64_t product(ArrayRef<int64_t> values) {
  int64_t result = 1;
  for (int64_t value : values)
    result *= value;
  return result;
}

FailureOr<func::FuncOp> OutlineTasks::buildTask(func::FuncOp entry, Segment &segment, SmallVectorImpl<int64_t> &offsets) {
  OpBuilder builder(entry->getContext());
  Location loc = segment.ops.front()->getLoc();
  builder.setInsertionPointToEnd(getOperation().getBody());
  auto task = func::FuncOp::create(builder, loc, "elutq_task", taskType);
  task.setPrivate();
  Block *body = task.addEntryBlock();
  builder.setInsertionPointToStart(body);

  IRMapping mapping;
  mapping.map(entry.getArgument(kArena), body->getArgument(kTaskArena));
  mapping.map(entry.getArgument(kWeights), body->getArgument(kTaskWeights));
  mapping.map(entry.getArgument(kCache), body->getArgument(kTaskCache));

  // What the segment reads from outside, producers before users.
  llvm::SetVector<Operation *> needed;
  bool readsScalars = false;
  LogicalResult status = success();
  std::function<void(Value, Operation *)> require = [&](Value value, Operation *user) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      if (argument.getOwner() != &entry.front())
        return;
      unsigned number = argument.getArgNumber();
      readsScalars |= number == kCount || number == kPosition;
      if (number == kTokens || number == kLogits)
        status = user->emitOpError("uses an entry's argument directly");
      return;
    }
    Operation *producer = value.getDefiningOp();
    if (producer->getBlock() != &entry.front() || llvm::is_contained(segment.ops, producer) || needed.contains(producer))
      return;
    if (!isRepeatable(producer)) {
      status = user->emitOpError("uses a value that another task computes");
      return;
    }
    // The offset of a view comes from the task's arguments, so its constant is not repeated.
    if (constantOffset(producer))
      require(cast<memref::ViewOp>(producer).getSource(), producer);
    else
      for (Value operand : producer->getOperands())
        require(operand, producer);
    needed.insert(producer);
  };
  for (Operation *op : segment.ops)
    op->walk([&](Operation *nested) {
      for (Value operand : nested->getOperands())
        require(operand, nested);
    });
  if (failed(status))
    return failure();

  if (readsScalars) {
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
    Value header = memref::ViewOp::create(builder, loc, MemRefType::get({2}, builder.getIndexType()), body->getArgument(kTaskArena),
                                          zero, ValueRange());
    Value one = arith::ConstantIndexOp::create(builder, loc, 1);
    mapping.map(entry.getArgument(kCount), memref::LoadOp::create(builder, loc, header, zero).getResult());
    mapping.map(entry.getArgument(kPosition), memref::LoadOp::create(builder, loc, header, one).getResult());
  }
  for (Operation *op : needed) {
    std::optional<int64_t> offset = constantOffset(op);
    if (!offset) {
      builder.clone(*op, mapping);
      continue;
    }
    auto view = cast<memref::ViewOp>(op);
    // One slot per view and not per offset: which offsets happen to be equal differs between layers.
    Value slot = arith::ConstantIndexOp::create(builder, loc, offsets.size());
    Value stored = memref::LoadOp::create(builder, loc, body->getArgument(kTaskArgs), slot);
    Value shift = arith::IndexCastOp::create(builder, loc, builder.getIndexType(), stored);
    Value base = mapping.lookup(view.getSource());
    mapping.map(view.getResult(), memref::ViewOp::create(builder, view.getLoc(), view.getType(), base, shift, ValueRange()).getResult());
    offsets.push_back(*offset);
  }
  if (offsets.size() > static_cast<size_t>(kMaxTaskArgs))
    return segment.ops.front()->emitError("task needs ") << offsets.size() << " buffers, at most " << kMaxTaskArgs << " are possible";

  if (!segment.loop) {
    for (Operation *op : segment.ops)
      builder.clone(*op, mapping);
  } else {
    FailureOr<SmallVector<int64_t>> counts = tripCounts(segment.loop);
    if (failed(counts))
      return failure();
    Value one = arith::ConstantIndexOp::create(builder, loc, 1);
    auto loop = scf::ForOp::create(builder, loc, body->getArgument(kBegin), body->getArgument(kEnd), one);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    // The last dimension varies fastest.
    Value rest = loop.getInductionVar();
    SmallVector<Value> indices(counts->size());
    for (int64_t dim = counts->size() - 1; dim >= 0; --dim) {
      Value index = rest;
      if (dim > 0) {
        Value count = arith::ConstantIndexOp::create(builder, loc, (*counts)[dim]);
        index = arith::RemUIOp::create(builder, loc, rest, count);
        rest = arith::DivUIOp::create(builder, loc, rest, count);
      }
      Value step = getValueOrCreateConstantIndexOp(builder, loc, segment.loop.getMixedStep()[dim]);
      Value lower = getValueOrCreateConstantIndexOp(builder, loc, segment.loop.getMixedLowerBound()[dim]);
      indices[dim] = arith::AddIOp::create(builder, loc, lower, arith::MulIOp::create(builder, loc, index, step));
    }
    mapping.map(segment.loop.getInductionVars(), indices);
    for (Operation &op : segment.loop.getBody()->without_terminator())
      builder.clone(op, mapping);
  }
  builder.setInsertionPointToEnd(body);
  func::ReturnOp::create(builder, loc);
  return task;
}

func::FuncOp OutlineTasks::merge(func::FuncOp task) {
  llvm::hash_code hash(0);
  task.getBody().walk([&](Operation *op) {
    hash = llvm::hash_combine(hash, OperationEquivalence::computeHash(op, OperationEquivalence::ignoreHashValue,
                                                                      OperationEquivalence::ignoreHashValue,
                                                                      OperationEquivalence::IgnoreLocations));
  });
  SmallVector<func::FuncOp> &candidates = tasks[hash];
  for (func::FuncOp candidate : candidates) {
    if (!OperationEquivalence::isRegionEquivalentTo(&candidate.getBody(), &task.getBody(), OperationEquivalence::IgnoreLocations))
      continue;
    task.erase();
    return candidate;
  }
  task.setName("elutq_task_" + std::to_string(numDistinct++));
  ++numTasks;
  candidates.push_back(task);
  return task;
}

void OutlineTasks::call(OpBuilder &builder, func::FuncOp entry, func::FuncOp task, const Segment &segment, ArrayRef<int64_t> offsets) {
  Location loc = segment.ops.front()->getLoc();
  int64_t iterations = 1;
  if (scf::ForallOp loop = segment.loop)
    iterations = product(*tripCounts(loop));
  if (iterations == 0)
    return;

  // The arguments are constant data; a task without views still gets a valid pointer.
  SmallVector<int64_t> values(offsets);
  if (values.empty())
    values.push_back(0);
  auto tensorType = RankedTensorType::get({static_cast<int64_t>(values.size())}, builder.getI64Type());
  auto argsType = MemRefType::get(tensorType.getShape(), builder.getI64Type());
  std::string name = "elutq_args_" + std::to_string(numArgumentBlocks++);
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(getOperation().getBody());
    memref::GlobalOp::create(builder, loc, name, builder.getStringAttr("private"), argsType,
                             DenseElementsAttr::get(tensorType, ArrayRef<int64_t>(values)), /*constant=*/true, /*alignment=*/IntegerAttr());
  }
  Value args = memref::GetGlobalOp::create(builder, loc, argsType, name);
  auto boundType = cast<MemRefType>(taskType.getInput(kTaskArgs));
  args = memref::ReinterpretCastOp::create(builder, loc, boundType, args, /*offset=*/0, boundType.getShape(), ArrayRef<int64_t>{1});
  Value first = arith::ConstantIndexOp::create(builder, loc, 0);
  Value count = arith::ConstantIndexOp::create(builder, loc, iterations);
  Value arena = entry.getArgument(kArena), weights = entry.getArgument(kWeights), cache = entry.getArgument(kCache);
  if (iterations == 1)
    func::CallOp::create(builder, loc, task, ValueRange{first, count, arena, weights, cache, args});
  else
    func::CallOp::create(builder, loc, kParallelForSymbol, TypeRange(),
                         ValueRange{func::ConstantOp::create(builder, loc, taskType, task.getName()), count, arena, weights, cache, args});
  ++numCalls;
}

void OutlineTasks::storeScalars(func::FuncOp entry) {
  OpBuilder builder = OpBuilder::atBlockBegin(&entry.front());
  Location loc = entry.getLoc();
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value header = memref::ViewOp::create(builder, loc, MemRefType::get({2}, builder.getIndexType()), entry.getArgument(kArena), zero,
                                        ValueRange());
  memref::StoreOp::create(builder, loc, entry.getArgument(kCount), header, zero);
  memref::StoreOp::create(builder, loc, entry.getArgument(kPosition), header, one);
}

/// Whether `op` copies between the arena and the caller's tokens or logits, which tasks can't reach.
static bool isBoundaryCopy(Operation *op, func::FuncOp entry) {
  auto copy = dyn_cast<memref::CopyOp>(op);
  return copy && (copy.getSource() == entry.getArgument(kTokens) || copy.getTarget() == entry.getArgument(kLogits));
}

LogicalResult OutlineTasks::outlineEntry(func::FuncOp entry) {
  Block &body = entry.front();
  SmallVector<Segment> segments;
  bool open = false;
  for (Operation &op : body.without_terminator()) {
    if (isRepeatable(&op))
      continue;
    if (isBoundaryCopy(&op, entry)) {
      open = false;
      continue;
    }
    auto loop = dyn_cast<scf::ForallOp>(op);
    if (loop || !open)
      segments.emplace_back();
    segments.back().ops.push_back(&op);
    segments.back().loop = loop;
    open = !loop;
  }

  OpBuilder builder(entry->getContext());
  for (Segment &segment : segments) {
    SmallVector<int64_t> offsets;
    FailureOr<func::FuncOp> task = buildTask(entry, segment, offsets);
    if (failed(task))
      return failure();
    builder.setInsertionPoint(segment.ops.front());
    call(builder, entry, merge(*task), segment, offsets);
  }
  for (Segment &segment : llvm::reverse(segments))
    for (Operation *op : llvm::reverse(segment.ops))
      op->erase();
  storeScalars(entry);
  return success();
}

void OutlineTasks::runOnOperation() {
  ModuleOp module = getOperation();
  SmallVector<func::FuncOp> entries;
  for (auto entry : module.getOps<func::FuncOp>())
    if (entry.isPublic() && !entry.isDeclaration())
      entries.push_back(entry);
  if (entries.empty())
    return;
  for (func::FuncOp entry : entries)
    if (entry.getNumArguments() != kLogits + 1 || entry.getArgumentTypes().slice(kArena, 3) != entries[0].getArgumentTypes().slice(kArena, 3)) {
      entry.emitOpError("expected the signature that elutq-plan-memory gives");
      return signalPassFailure();
    }

  tasks.clear();
  numDistinct = numArgumentBlocks = 0;
  Builder types(&getContext());
  ArrayRef<Type> bases = entries[0].getArgumentTypes().slice(kArena, 3);
  taskType = types.getFunctionType({types.getIndexType(), types.getIndexType(), bases[0], bases[1], bases[2],
                                    MemRefType::get({kMaxTaskArgs}, types.getI64Type())}, {});
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto parallelFor = func::FuncOp::create(
      builder, module.getLoc(), kParallelForSymbol,
      builder.getFunctionType({taskType, builder.getIndexType(), bases[0], bases[1], bases[2], taskType.getInput(kTaskArgs)}, {}));
  parallelFor.setPrivate();

  for (func::FuncOp entry : entries)
    if (failed(outlineEntry(entry)))
      return signalPassFailure();
}
