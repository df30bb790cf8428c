//===- OutlineTasks.cpp - Outline parallel loops and serial runs ----------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Buffers.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

namespace elutq {
#define GEN_PASS_DEF_OUTLINETASKSPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

namespace {

/// Words of the header at the start of the arena.
enum HeaderWord : unsigned { CountWord, PositionWord, TokensWord, ResultWord, NumWords = kHeaderBytes / 8 };

/// Arguments of a task.
enum TaskArgument : unsigned { Begin, End, TaskArena, TaskWeights, TaskCache, TaskArgs };

/// Memory that an op reads or writes.
struct Access {
  unsigned base;
  int64_t begin, end;
  bool write;
};

/// Neighbouring ops that become one task.
struct Group {
  bool parallel;
  /// Whether this group and those behind it only compute the result.
  bool startsTail;
  SmallVector<Operation *> ops;
  SmallVector<Access> accesses;
  /// The buffers of the group in the order of their first use: its arguments.
  llvm::SetVector<Value> buffers;
};

/// The view that gives `value` its memory, or null for memory of the caller.
memref::ViewOp bufferOf(Value value) {
  while (auto view = value.getDefiningOp<ViewLikeOpInterface>()) {
    if (auto buffer = dyn_cast<memref::ViewOp>(*view);
        buffer && isa<BlockArgument>(buffer.getSource()) && getConstantIntValue(buffer.getByteShift()))
      return buffer;
    value = view.getViewSource();
  }
  return nullptr;
}

/// Calls `visit` with each effect of `op`. Stops at ops of unknown effects, and where `visit` does not want to go on; true if
/// that happened.
bool findEffect(Operation *op, function_ref<WalkResult(MemoryEffects::EffectInstance &)> visit) {
  WalkResult result = op->walk([&](Operation *nested) {
    // Effects of its own come first: a linalg op has them beside those of its region.
    auto interface = dyn_cast<MemoryEffectOpInterface>(nested);
    if (!interface)
      return nested->hasTrait<OpTrait::HasRecursiveMemoryEffects>() ? WalkResult::advance() : WalkResult::interrupt();
    SmallVector<MemoryEffects::EffectInstance> effects;
    interface.getEffects(effects);
    for (MemoryEffects::EffectInstance &effect : effects)
      if (visit(effect).wasInterrupted())
        return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return result.wasInterrupted();
}

/// Collects the memory that `op` accesses. False where that is not known.
bool collectAccesses(Operation *op, SmallVectorImpl<Access> &accesses) {
  return !findEffect(op, [&](MemoryEffects::EffectInstance &effect) {
    if (isa<MemoryEffects::Allocate, MemoryEffects::Free>(effect.getEffect()))
      return WalkResult::advance();
    if (!effect.getValue())
      return WalkResult::interrupt();
    if (rootBuffer(effect.getValue()).getDefiningOp<memref::AllocaOp>())
      return WalkResult::advance();
    memref::ViewOp buffer = bufferOf(effect.getValue());
    if (!buffer)
      return WalkResult::interrupt();
    int64_t begin = *getConstantIntValue(buffer.getByteShift());
    accesses.push_back({cast<BlockArgument>(buffer.getSource()).getArgNumber(), begin,
                        begin + bufferBytes(buffer.getType()), isa<MemoryEffects::Write>(effect.getEffect())});
    return WalkResult::advance();
  });
}

bool conflict(ArrayRef<Access> first, ArrayRef<Access> second) {
  for (const Access &a : first)
    for (const Access &b : second)
      if ((a.write || b.write) && a.base == b.base && a.begin < b.end && b.begin < a.end)
        return true;
  return false;
}

/// Whether `op` computes an address or a number: every task that needs it computes it again.
bool isAddressing(Operation &op) { return op.getNumRegions() == 0 && isMemoryEffectFree(&op); }

/// The same, with the entry's argument whose memory the effect has: null for stack memory and buffers of the arena. Stops at
/// effects on unknown memory, too.
bool findEntryEffect(Operation *op, function_ref<WalkResult(MemoryEffects::EffectInstance &, BlockArgument)> visit) {
  return findEffect(op, [&](MemoryEffects::EffectInstance &effect) {
    if (!effect.getValue())
      return WalkResult::interrupt();
    return visit(effect, dyn_cast<BlockArgument>(rootBuffer(effect.getValue())));
  });
}

bool writesCache(Operation *op) {
  return findEntryEffect(op, [](MemoryEffects::EffectInstance &effect, BlockArgument argument) {
    bool writes = argument && argument.getArgNumber() == Cache && isa<MemoryEffects::Write>(effect.getEffect());
    return writes ? WalkResult::interrupt() : WalkResult::advance();
  });
}

/// The first op of the entry from which on only the result is computed: behind all that write to the cache. What starts the result
/// before that, such as a fill, moves there.
FailureOr<Operation *> findResultTail(func::FuncOp entry) {
  Block &body = entry.getBody().front();
  Operation *tail = &body.front();
  for (Operation &op : body.without_terminator())
    if (!isAddressing(op) && writesCache(&op))
      tail = op.getNextNode();
  SmallVector<Operation *> early;
  for (Operation *op = &body.front(); op != tail; op = op->getNextNode()) {
    bool isResult = false, isOther = false;
    if (isAddressing(*op))
      continue;
    findEntryEffect(op, [&](MemoryEffects::EffectInstance &, BlockArgument argument) {
      bool touches = argument && argument.getArgNumber() == Result;
      isResult |= touches;
      isOther |= !touches;
      return WalkResult::advance();
    });
    if (isResult && isOther)
      return op->emitOpError("computes the result before all caches are updated: not supported");
    if (isResult)
      early.push_back(op);
  }
  for (Operation *op : early)
    op->moveBefore(tail);
  return early.empty() ? tail : early.front();
}

/// Rows and columns of activations in the tiles (AMX) of the products in `op`, or nothing.
std::optional<std::pair<int64_t, int64_t>> getTileShape(Operation *op) {
  std::optional<std::pair<int64_t, int64_t>> shape;
  op->walk([&](hlq::CodeMatmulOp product) {
    if (int64_t columns = product.getTileColumns())
      shape = {product.getKernel().getMTile(), columns};
  });
  return shape;
}

/// Whether `op` may join a group: LLVM gives none of AMX's eight registers two shapes in a function, and products of one shape take up to six.
bool fitsTiles(const Group &group, Operation *op) {
  auto shape = getTileShape(op);
  return !shape || llvm::all_of(group.ops, [&](Operation *other) { return getTileShape(other).value_or(*shape) == *shape; });
}

/// Groups the ops of an entry; none has ops from both sides of `tail`.
SmallVector<Group> formGroups(func::FuncOp entry, Operation *tail) {
  SmallVector<Group> groups;
  bool isCut = false;
  for (Operation &op : entry.getBody().front().without_terminator()) {
    isCut |= &op == tail;
    if (isAddressing(op))
      continue;
    bool startsTail = std::exchange(isCut, false);
    if (startsTail)
      groups.push_back({/*parallel=*/isa<scf::ForallOp>(op), /*startsTail=*/true, {}, {}, {}});
    if (!isa<scf::ForallOp>(op)) {
      if (groups.empty() || groups.back().parallel || !fitsTiles(groups.back(), &op))
        groups.push_back({/*parallel=*/false, /*startsTail=*/false, {}, {}, {}});
      groups.back().ops.push_back(&op);
      continue;
    }
    SmallVector<Access> accesses;
    bool known = collectAccesses(&op, accesses);
    bool joins = known && !groups.empty() && groups.back().parallel && !groups.back().accesses.empty() &&
                 !conflict(groups.back().accesses, accesses) && fitsTiles(groups.back(), &op);
    if (!joins && !startsTail)
      groups.push_back({/*parallel=*/true, /*startsTail=*/false, {}, {}, {}});
    groups.back().ops.push_back(&op);
    // A group without known accesses takes no more loops.
    if (known)
      llvm::append_range(groups.back().accesses, accesses);
  }
  return groups;
}

/// Adds the buffers that `value` is computed from. Fails where it comes from memory.
LogicalResult collectBuffers(Value value, Group &group, llvm::SetVector<Value> &visited) {
  if (!visited.insert(value))
    return success();
  Operation *op = value.getDefiningOp();
  if (!op)
    return success();
  if (bufferOf(value) == op) {
    group.buffers.insert(value);
    return success();
  }
  if (!isAddressing(*op))
    return op->emitOpError("gives a number to a later task: not supported");
  for (Value operand : op->getOperands())
    if (failed(collectBuffers(operand, group, visited)))
      return failure();
  return success();
}

LogicalResult collectBuffers(Group &group) {
  llvm::SmallPtrSet<Operation *, 16> inside(group.ops.begin(), group.ops.end());
  llvm::SetVector<Value> visited;
  for (Operation *op : group.ops) {
    WalkResult result = op->walk<WalkOrder::PreOrder>([&](Operation *nested) {
      for (Value operand : nested->getOperands()) {
        Operation *owner = operand.getDefiningOp();
        if (!owner)
          owner = operand.getParentBlock()->getParentOp();
        bool local = llvm::any_of(group.ops, [&](Operation *o) { return o->isAncestor(owner); });
        if (!local && failed(collectBuffers(operand, group, visited)))
          return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return failure();
  }
  return success();
}

/// How often each loop of `forall` runs; `getBound` gives what stands for an upper bound that is not constant.
SmallVector<Value> countTrips(OpBuilder &b, scf::ForallOp forall, function_ref<Value(Value)> getBound) {
  Location loc = forall.getLoc();
  SmallVector<Value> trips;
  for (auto [lower, upper, step] :
       llvm::zip_equal(forall.getMixedLowerBound(), forall.getMixedUpperBound(), forall.getMixedStep())) {
    int64_t lo = *getConstantIntValue(lower), st = *getConstantIntValue(step);
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
    std::optional<int64_t> up = getConstantIntValue(upper);
    Value rounded = b.createOrFold<arith::AddIOp>(loc, up ? constant(*up) : getBound(cast<Value>(upper)), constant(st - 1 - lo));
    trips.push_back(b.createOrFold<arith::DivUIOp>(loc, rounded, constant(st)));
  }
  return trips;
}

Value multiply(OpBuilder &b, Location loc, ValueRange numbers) {
  Value product = numbers.front();
  for (Value number : numbers.drop_front())
    product = b.createOrFold<arith::MulIOp>(loc, product, number);
  return product;
}

/// Whether all that is not constant are the upper bounds, which come from numbers that the entry has.
bool hasKnownLoops(const Group &group) {
  return llvm::all_of(group.ops, [](Operation *op) {
    auto forall = cast<scf::ForallOp>(op);
    return llvm::all_of(llvm::concat<OpFoldResult>(forall.getMixedLowerBound(), forall.getMixedStep()),
                        [](OpFoldResult number) { return getConstantIntValue(number).has_value(); });
  });
}

/// `value`, computed again before what `b` emits.
Value cloneNumber(OpBuilder &b, Value value, IRMapping &mapping) {
  Operation *op = value.getDefiningOp();
  if (!op || mapping.contains(value))
    return mapping.lookupOrDefault(value);
  for (Value operand : op->getOperands())
    cloneNumber(b, operand, mapping);
  b.clone(*op, mapping);
  return mapping.lookup(value);
}

/// How often all loops of a group run.
Value countIterations(OpBuilder &b, const Group &group) {
  IRMapping mapping;
  Value sum;
  for (Operation *op : group.ops) {
    SmallVector<Value> trips =
        countTrips(b, cast<scf::ForallOp>(op), [&](Value bound) { return cloneNumber(b, bound, mapping); });
    Value total = multiply(b, op->getLoc(), trips);
    sum = sum ? b.createOrFold<arith::AddIOp>(op->getLoc(), sum, total) : total;
  }
  return sum;
}

/// Builds the function of one group.
class TaskBuilder {
public:
  TaskBuilder(func::FuncOp entry, Group &group, func::FuncOp task)
      : entry(entry), group(group), task(task), b(task.getContext()) {}

  void build() {
    Block *body = task.addEntryBlock();
    b.setInsertionPointToStart(body);
    if (group.parallel)
      emitLoops();
    else
      for (Operation *op : group.ops)
        emitClone(op);
    func::ReturnOp::create(b, task.getLoc());
  }

private:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, task.getLoc(), value); }

  /// A word of the header or of the arguments, as an index.
  Value word(Value words, int64_t i) {
    Value value = memref::LoadOp::create(b, task.getLoc(), words, index(i));
    return arith::IndexCastOp::create(b, task.getLoc(), b.getIndexType(), value);
  }
  Value header(unsigned i) {
    auto type = MemRefType::get({NumWords}, b.getI64Type());
    return word(memref::ViewOp::create(b, task.getLoc(), type, task.getArgument(TaskArena), index(0), ValueRange()), i);
  }

  /// The caller's buffer whose address is word `i` of the header. There is no cast from an index to a memref: its descriptor
  /// is built.
  Value callerBuffer(unsigned i, MemRefType type) {
    Location loc = task.getLoc();
    MLIRContext *context = b.getContext();
    Value address = arith::IndexCastOp::create(b, loc, b.getI64Type(), header(i));
    auto pointer = LLVM::LLVMPointerType::get(context);
    Value base = LLVM::IntToPtrOp::create(b, loc, pointer, address);
    auto array = LLVM::LLVMArrayType::get(b.getI64Type(), type.getRank());
    auto structure =
        LLVM::LLVMStructType::getLiteral(context, {pointer, pointer, b.getI64Type(), array, array});
    Value descriptor = LLVM::PoisonOp::create(b, loc, structure);
    auto insert = [&](Value value, ArrayRef<int64_t> place) {
      descriptor = LLVM::InsertValueOp::create(b, loc, descriptor, value, place);
    };
    auto constant = [&](int64_t value) -> Value {
      return LLVM::ConstantOp::create(b, loc, b.getI64Type(), b.getI64IntegerAttr(value));
    };
    insert(base, 0);
    insert(base, 1);
    insert(constant(0), 2);
    int64_t stride = 1;
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      insert(constant(type.getDimSize(dim)), {3, dim});
      insert(constant(stride), {4, dim});
      stride *= type.getDimSize(dim);
    }
    return UnrealizedConversionCastOp::create(b, loc, type, descriptor).getResult(0);
  }

  /// What stands for a value of the entry in the task. Emitted at the start of the task, once.
  Value remap(Value value) {
    if (Value mapped = mapping.lookupOrNull(value))
      return mapped;
    OpBuilder::InsertionGuard guard(b);
    if (preamble)
      b.setInsertionPointAfter(preamble);
    else
      b.setInsertionPointToStart(&task.getBody().front());
    Value result;
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      switch (argument.getArgNumber()) {
      case Count:
        result = header(CountWord);
        break;
      case Position:
        result = header(PositionWord);
        break;
      case Tokens:
        result = callerBuffer(TokensWord, cast<MemRefType>(value.getType()));
        break;
      case Result:
        result = callerBuffer(ResultWord, cast<MemRefType>(value.getType()));
        break;
      default:
        llvm_unreachable("sections are used through views only");
      }
    } else if (group.buffers.contains(value)) {
      auto view = value.getDefiningOp<memref::ViewOp>();
      unsigned base = cast<BlockArgument>(view.getSource()).getArgNumber() - Arena + TaskArena;
      size_t i = std::distance(group.buffers.begin(), llvm::find(group.buffers, value));
      Value shift = word(task.getArgument(TaskArgs), i);
      result = memref::ViewOp::create(b, view.getLoc(), view.getType(), task.getArgument(base), shift, ValueRange());
    } else {
      Operation *op = value.getDefiningOp();
      for (Value operand : op->getOperands())
        remap(operand);
      // The operands moved the end of the preamble.
      if (preamble)
        b.setInsertionPointAfter(preamble);
      result = b.clone(*op, mapping)->getResult(cast<OpResult>(value).getResultNumber());
    }
    preamble = result.getDefiningOp();
    mapping.map(value, result);
    return result;
  }

  void emitClone(Operation *op) {
    op->walk<WalkOrder::PreOrder>([&](Operation *nested) {
      for (Value operand : nested->getOperands())
        if (operand.getParentBlock() == &entry.getBody().front())
          remap(operand);
    });
    b.clone(*op, mapping);
  }

  /// Iterations are numbered through all loops; each loop runs its part of [begin, end).
  void emitLoops() {
    Value first = index(0);
    for (Operation *op : group.ops) {
      auto forall = cast<scf::ForallOp>(op);
      Location loc = op->getLoc();
      SmallVector<Value> trips = countTrips(b, forall, [&](Value bound) { return remap(bound); });
      Value next = b.createOrFold<arith::AddIOp>(loc, first, multiply(b, loc, trips));
      Value begin = arith::MaxSIOp::create(b, loc, task.getArgument(Begin), first);
      Value end = arith::MinSIOp::create(b, loc, task.getArgument(End), next);
      auto loop = scf::ForOp::create(b, loc, begin, end, index(1));
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value rest = arith::SubIOp::create(b, loc, loop.getInductionVar(), first);
      for (int64_t dim = trips.size() - 1; dim >= 0; --dim) {
        Value trip = rest;
        if (dim > 0) {
          trip = arith::RemUIOp::create(b, loc, rest, trips[dim]);
          rest = arith::DivUIOp::create(b, loc, rest, trips[dim]);
        }
        Value step = index(*getConstantIntValue(forall.getMixedStep()[dim]));
        Value lower = index(*getConstantIntValue(forall.getMixedLowerBound()[dim]));
        Value scaled = arith::MulIOp::create(b, loc, trip, step);
        mapping.map(forall.getInductionVars()[dim], arith::AddIOp::create(b, loc, scaled, lower).getResult());
      }
      for (Operation &nested : forall.getBody()->without_terminator())
        emitClone(&nested);
      first = next;
    }
  }

  func::FuncOp entry;
  Group &group;
  func::FuncOp task;
  OpBuilder b;
  IRMapping mapping;
  /// The last op of the run at the start of the task that computes what comes from outside.
  Operation *preamble = nullptr;
};

/// The node that a location names, empty for none.
StringRef nodeName(Location loc) {
  StringRef name;
  loc->walk([&](Location part) {
    if (auto named = dyn_cast<NameLoc>(part)) {
      name = named.getName().getValue();
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return name;
}

/// What a group computes, for people: its ops and the nodes that they come from.
std::string describe(const Group &group) {
  llvm::SmallSetVector<StringRef, 4> ops, nodes;
  for (Operation *root : group.ops)
    root->walk([&](Operation *op) {
      Dialect *dialect = op->getDialect();
      if (!dialect || !llvm::is_contained({"hlq", "lm", "linalg"}, dialect->getNamespace()) ||
          op->getParentOfType<linalg::LinalgOp>())
        return;
      if (dialect->getNamespace() != "linalg")
        ops.insert(op->getName().stripDialect());
      if (StringRef name = nodeName(op->getLoc()); !name.empty())
        nodes.insert(name);
    });
  std::string text = llvm::join(ops, " ");
  if (ops.empty())
    text = "elementwise";
  for (StringRef node : nodes)
    text += (" " + node).str();
  return text;
}

/// Tasks are equal where their bodies are, whatever their names and the nodes that they come from.
struct TaskInfo : llvm::DenseMapInfo<func::FuncOp> {
  static unsigned getHashValue(func::FuncOp task) {
    llvm::hash_code hash = mlir::hash_value(Type(task.getFunctionType()));
    task.getBody().walk([&](Operation *op) {
      auto ignore = OperationEquivalence::ignoreHashValue;
      hash = llvm::hash_combine(
          hash, OperationEquivalence::computeHash(op, ignore, ignore, OperationEquivalence::IgnoreLocations));
    });
    return hash;
  }
  static bool isEqual(func::FuncOp a, func::FuncOp b) {
    if (a == b)
      return true;
    auto isKey = [](func::FuncOp f) { return f == getEmptyKey() || f == getTombstoneKey(); };
    return !isKey(a) && !isKey(b) && a.getFunctionType() == b.getFunctionType() &&
           OperationEquivalence::isRegionEquivalentTo(&a.getBody(), &b.getBody(), OperationEquivalence::IgnoreLocations);
  }
};

struct OutlineTasks : elutq::impl::OutlineTasksPassBase<OutlineTasks> {
  using OutlineTasksPassBase::OutlineTasksPassBase;

  void runOnOperation() override;
  void emitHeader(func::FuncOp entry, OpBuilder &b);
  scf::IfOp emitIfResult(func::FuncOp entry, OpBuilder &b);
  void emitCall(func::FuncOp entry, Group &group, int64_t number, OpBuilder &b);

  MemRefType argsType;
  func::FuncOp parallelFor;
  /// The tasks, each once.
  DenseSet<func::FuncOp, TaskInfo> distinct;
};

} // namespace

void OutlineTasks::emitHeader(func::FuncOp entry, OpBuilder &b) {
  Location loc = entry.getLoc();
  auto type = MemRefType::get({NumWords}, b.getI64Type());
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value header = memref::ViewOp::create(b, loc, type, entry.getArgument(Arena), zero, ValueRange());
  auto store = [&](Value value, unsigned word) {
    Value number = arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
    memref::StoreOp::create(b, loc, number, header, ValueRange{arith::ConstantIndexOp::create(b, loc, word)});
  };
  auto address = [&](unsigned argument) {
    return memref::ExtractAlignedPointerAsIndexOp::create(b, loc, entry.getArgument(argument));
  };
  store(entry.getArgument(Count), CountWord);
  store(entry.getArgument(Position), PositionWord);
  store(address(Tokens), TokensWord);
  store(address(Result), ResultWord);
}

/// An `scf.if` for what is needed where the caller wants the result.
scf::IfOp OutlineTasks::emitIfResult(func::FuncOp entry, OpBuilder &b) {
  Location loc = entry.getLoc();
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, entry.getArgument(Result));
  Value null = arith::ConstantIndexOp::create(b, loc, 0);
  Value isWanted = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, address, null);
  return scf::IfOp::create(b, loc, isWanted, /*withElseRegion=*/false);
}

void OutlineTasks::emitCall(func::FuncOp entry, Group &group, int64_t number, OpBuilder &b) {
  Location loc = group.ops.front()->getLoc();
  OpBuilder module = OpBuilder::atBlockEnd(getOperation().getBody());
  SmallVector<Type> inputs{b.getIndexType(), b.getIndexType()};
  for (unsigned i : {Arena, Weights, Cache})
    inputs.push_back(entry.getArgument(i).getType());
  inputs.push_back(argsType);
  std::string name = (entry.getName() + "_task_" + Twine(number)).str();
  auto task = func::FuncOp::create(module, loc, name, b.getFunctionType(inputs, {}));
  task.setPrivate();
  // Shared by all layers, so never worth a copy in the entry.
  task->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  task->setAttr("llvm.linkage", LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal));
  TaskBuilder(entry, group, task).build();
  if (auto [place, isNew] = distinct.insert(task); isNew) {
    ++numTasks;
  } else {
    task.erase();
    task = *place;
  }

  SmallVector<int64_t> offsets;
  for (Value buffer : group.buffers)
    offsets.push_back(*getConstantIntValue(buffer.getDefiningOp<memref::ViewOp>().getByteShift()));
  offsets.resize(argsType.getDimSize(0));
  std::string argsName = (entry.getName() + "_args_" + Twine(number)).str();
  auto tensorType = RankedTensorType::get(argsType.getShape(), argsType.getElementType());
  OpBuilder globals = OpBuilder::atBlockBegin(getOperation().getBody());
  memref::GlobalOp::create(globals, loc, argsName, b.getStringAttr("private"), argsType,
                           DenseElementsAttr::get(tensorType, ArrayRef<int64_t>(offsets)), /*constant=*/true,
                           /*alignment=*/IntegerAttr());
  Value args = memref::GetGlobalOp::create(b, loc, argsType, argsName);
  Value n = group.parallel ? countIterations(b, group) : arith::ConstantIndexOp::create(b, loc, 1).getResult();
  SmallVector<Value> operands;
  for (unsigned i : {Arena, Weights, Cache})
    operands.push_back(entry.getArgument(i));
  operands.push_back(args);
  SmallVector<Value> call{func::ConstantOp::create(b, loc, task.getFunctionType(), task.getName()), n};
  llvm::append_range(call, operands);
  if (!parallelFor) {
    parallelFor = func::FuncOp::create(globals, loc, "elutq_parallel_for",
                                       b.getFunctionType(ValueRange(call).getTypes(), {}));
    parallelFor.setPrivate();
  }
  func::CallOp::create(b, loc, parallelFor, call);
}

void OutlineTasks::runOnOperation() {
  SmallVector<std::pair<func::FuncOp, SmallVector<Group>>> entries;
  size_t most = 1;
  for (auto entry : getOperation().getOps<func::FuncOp>()) {
    if (entry.isExternal() || entry.isPrivate())
      continue;
    if (entry.getNumArguments() != NumEntryArguments || entry.getBody().getBlocks().size() != 1) {
      entry.emitOpError("expected the arguments that elutq-plan-memory makes");
      return signalPassFailure();
    }
    FailureOr<Operation *> tail = findResultTail(entry);
    if (failed(tail))
      return signalPassFailure();
    entries.emplace_back(entry, formGroups(entry, *tail));
    for (Group &group : entries.back().second) {
      if (failed(collectBuffers(group)))
        return signalPassFailure();
      if (group.parallel && !hasKnownLoops(group)) {
        group.ops.front()->emitOpError("expected constant lower bounds and steps");
        return signalPassFailure();
      }
      most = std::max(most, group.buffers.size());
    }
  }
  OpBuilder b(&getContext());
  argsType = MemRefType::get({static_cast<int64_t>(most)}, b.getI64Type());
  SmallVector<NamedAttribute> tasks;
  for (auto &[entry, groups] : entries) {
    Block &body = entry.getBody().front();
    SmallVector<Operation *> old;
    for (Operation &op : body.without_terminator())
      old.push_back(&op);
    b.setInsertionPoint(body.getTerminator());
    emitHeader(entry, b);
    SmallVector<Attribute> names;
    for (auto [number, group] : llvm::enumerate(groups)) {
      if (group.startsTail)
        b.setInsertionPoint(emitIfResult(entry, b).thenYield());
      names.push_back(b.getStringAttr(describe(group)));
      emitCall(entry, group, number, b);
    }
    tasks.emplace_back(b.getStringAttr(entry.getName()), b.getArrayAttr(names));
    for (Operation *op : llvm::reverse(old))
      op->erase();
  }
  getOperation()->setAttr("elutq.tasks", b.getDictionaryAttr(tasks));
}
