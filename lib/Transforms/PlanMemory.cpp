//===- PlanMemory.cpp - A fixed place for every buffer --------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Buffers.h"
#include "elutq/Transforms/Passes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/MathExtras.h"

namespace elutq {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

namespace {

/// A copy of a constant or a cache from this size on is an error: bufferization had to resolve a conflict.
constexpr int64_t kLargeBytes = 1 << 16;

/// An allocation and the range of ops of its function in which it is used.
struct Lifetime {
  memref::AllocOp alloc;
  int64_t bytes, first, last, offset = 0;
};

struct PlanMemory : elutq::impl::PlanMemoryPassBase<PlanMemory> {
  using PlanMemoryPassBase::PlanMemoryPassBase;

  int64_t arenaBytes = kHeaderBytes, weightBytes = 0, cacheBytes = 0;
  /// Offsets of the constants by `constantKey`, and the constants in the order of these.
  DenseMap<Attribute, int64_t> weightOffsets;
  SmallVector<Attribute> weights;
  /// The caches of the first entry; those of the others have to be the same.
  SmallVector<MemRefType> caches;
  SmallVector<int64_t> cacheOffsets;

  void runOnOperation() override;
  LogicalResult placeCaches(func::FuncOp entry);
  LogicalResult checkCopies(func::FuncOp entry);
  LogicalResult planAllocations(func::FuncOp entry, memref::AllocOp skip);
  LogicalResult placeConstants(func::FuncOp entry);
  LogicalResult rewriteEntry(func::FuncOp entry);
};

/// Constants have equal bytes where these are equal; a splat is written out, so that the section is a run of raw bytes. A bit is a byte
/// in memory.
Attribute rawConstant(Attribute value) {
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (dense && dense.getElementType().isInteger(1)) {
    SmallVector<int8_t> bytes(dense.getValues<bool>());
    return DenseElementsAttr::get(dense.getType().clone(IntegerType::get(value.getContext(), 8)), ArrayRef<int8_t>(bytes));
  }
  if (!dense || !dense.isSplat() || dense.getNumElements() == 1)
    return value;
  ArrayRef<char> element = dense.getRawData();
  SmallVector<char> bytes;
  for (int64_t i = 0; i < dense.getNumElements(); ++i)
    bytes.append(element.begin(), element.end());
  return DenseElementsAttr::getFromRawBuffer(dense.getType(), bytes);
}

/// What identifies the bytes of a constant: the name of its resource, whatever the shape.
Attribute constantKey(Attribute value) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    return StringAttr::get(value.getContext(), resource.getRawHandle().getKey());
  return value;
}

/// A view of `base` at a constant offset.
Value createView(OpBuilder &b, Location loc, Value base, int64_t offset, MemRefType type) {
  Value shift = arith::ConstantIndexOp::create(b, loc, offset);
  return memref::ViewOp::create(b, loc, type, base, shift, ValueRange());
}

} // namespace

LogicalResult PlanMemory::placeCaches(func::FuncOp entry) {
  ArrayRef<Type> inputs = entry.getArgumentTypes();
  auto tokens = inputs.size() < 3 ? MemRefType() : dyn_cast<MemRefType>(inputs[Tokens]);
  if (!tokens || tokens.getRank() != 1 || !tokens.getElementType().isInteger(64) || !inputs[Count].isIndex() ||
      !inputs[Position].isIndex())
    return entry.emitOpError("expected the arguments tokens, count, position and caches");
  SmallVector<MemRefType> types;
  for (Type type : inputs.drop_front(Position + 1)) {
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref || !memref.hasStaticShape() || !memref.getLayout().isIdentity())
      return entry.emitOpError("expected caches of static shape, but got ") << type;
    types.push_back(memref);
  }
  bool isGraph = entry->hasAttr("elutq.graph");
  if (!isGraph && !caches.empty() && types != caches)
    return entry.emitOpError("expected the same caches as the other entries");
  if (!isGraph && !caches.empty())
    return success();
  // The entries of a graph are the same function for different shapes: each has a layout of its own, from the start on.
  caches = types;
  cacheOffsets.clear();
  int64_t end = 0;
  for (MemRefType type : types) {
    cacheOffsets.push_back(end);
    end += llvm::alignTo(std::max<int64_t>(bufferBytes(type), 1), kAlignment);
  }
  cacheBytes = std::max(cacheBytes, end);
  if (isGraph)
    entry->setAttr("elutq.places", Builder(&getContext()).getDenseI64ArrayAttr(cacheOffsets));
  return success();
}

LogicalResult PlanMemory::checkCopies(func::FuncOp entry) {
  WalkResult result = entry.walk([&](memref::CopyOp copy) {
    Value source = rootBuffer(copy.getSource()), target = rootBuffer(copy.getTarget());
    auto type = cast<MemRefType>(copy.getSource().getType());
    bool fixed = isa<BlockArgument>(source) || source.getDefiningOp<memref::GetGlobalOp>();
    if (!fixed || !target.getDefiningOp<memref::AllocOp>() || !type.hasStaticShape() || bufferBytes(type) < kLargeBytes)
      return WalkResult::advance();
    copy.emitError("a cache or a constant of ") << bufferBytes(type) << " bytes would be copied: it is used after it is "
                                                << "overwritten";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

LogicalResult PlanMemory::planAllocations(func::FuncOp entry, memref::AllocOp skip) {
  Block &body = entry.getBody().front();
  DenseMap<Operation *, int64_t> position;
  for (auto [i, op] : llvm::enumerate(body))
    position[&op] = i;

  SmallVector<Lifetime> lifetimes;
  SmallVector<memref::AllocOp> nested;
  WalkResult walked = entry.walk([&](memref::AllocOp alloc) {
    if (alloc == skip)
      return WalkResult::advance();
    if (!alloc.getType().hasStaticShape()) {
      alloc.emitOpError("expected a static size");
      return WalkResult::interrupt();
    }
    int64_t bytes = bufferBytes(alloc.getType());
    if (alloc->getBlock() != &body) {
      nested.push_back(alloc);
      if (bytes <= kStackBytes)
        return WalkResult::advance();
      alloc.emitOpError("expected at most ") << kStackBytes << " bytes inside a loop, but got " << bytes;
      return WalkResult::interrupt();
    }
    Lifetime life{alloc, static_cast<int64_t>(llvm::alignTo(std::max<int64_t>(bytes, 1), kAlignment)), position[alloc],
                  position[alloc]};
    bool used = false;
    SmallVector<Value> aliases{alloc};
    for (size_t i = 0; i < aliases.size(); ++i)
      for (Operation *user : aliases[i].getUsers()) {
        Operation *ancestor = body.findAncestorOpInBlock(*user);
        // A view needs no memory before it is used.
        bool isView = isa<ViewLikeOpInterface>(user);
        if (!isView) {
          life.first = used ? std::min(life.first, position[ancestor]) : position[ancestor];
          life.last = std::max(life.last, position[ancestor]);
          used = true;
        }
        for (Value result : user->getResults())
          if (isa<MemRefType>(result.getType()))
            aliases.push_back(result);
      }
    lifetimes.push_back(life);
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();

  for (memref::AllocOp alloc : nested) {
    OpBuilder b(alloc);
    alloc.replaceAllUsesWith(memref::AllocaOp::create(b, alloc.getLoc(), alloc.getType(), alloc.getAlignmentAttr())
                                 .getResult());
    alloc.erase();
  }

  // Largest first, each at the lowest offset that is free throughout its lifetime.
  SmallVector<Lifetime *> order;
  for (Lifetime &life : lifetimes)
    order.push_back(&life);
  // Equal sizes keep their order: all are elements of `lifetimes`.
  llvm::sort(order, [](Lifetime *a, Lifetime *b) { return a->bytes != b->bytes ? a->bytes > b->bytes : a < b; });
  SmallVector<Lifetime *> placed;
  for (Lifetime *life : order) {
    life->offset = kHeaderBytes;
    // `placed` is sorted by offset.
    for (Lifetime *other : placed) {
      if (other->last < life->first || life->last < other->first)
        continue;
      if (life->offset + life->bytes <= other->offset)
        break;
      life->offset = std::max(life->offset, other->offset + other->bytes);
    }
    placed.insert(llvm::upper_bound(placed, life, [](Lifetime *a, Lifetime *b) { return a->offset < b->offset; }), life);
    arenaBytes = std::max(arenaBytes, life->offset + life->bytes);
  }
  for (Lifetime &life : lifetimes) {
    OpBuilder b(life.alloc);
    life.alloc->setAttr("elutq.offset", b.getI64IntegerAttr(life.offset));
  }
  numBuffers += lifetimes.size();
  return success();
}

LogicalResult PlanMemory::placeConstants(func::FuncOp entry) {
  SymbolTable symbols(getOperation());
  WalkResult result = entry.walk([&](memref::GetGlobalOp op) {
    auto global = symbols.lookup<memref::GlobalOp>(op.getName());
    auto value = global ? dyn_cast_or_null<ElementsAttr>(global.getInitialValueAttr()) : ElementsAttr();
    Type element = value ? value.getElementType() : Type();
    bool isBit = element && element.isInteger(1) && isa<DenseElementsAttr>(value);
    if (!value || (!element.isIndex() && !isBit && element.getIntOrFloatBitWidth() % 8 != 0)) {
      op.emitOpError("expected a constant of whole bytes");
      return WalkResult::interrupt();
    }
    Attribute raw = rawConstant(value);
    auto [place, inserted] = weightOffsets.try_emplace(constantKey(raw), weightBytes);
    if (inserted) {
      weights.push_back(raw);
      weightBytes += llvm::alignTo(std::max<int64_t>(bufferBytes(op.getType()), 1), kAlignment);
    }
    OpBuilder b(op);
    op->setAttr("elutq.offset", b.getI64IntegerAttr(place->second));
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// The allocation that is the result as a whole, so that it can be the caller's buffer.
static memref::AllocOp wholeAllocation(Value result) {
  auto alloc = rootBuffer(result).getDefiningOp<memref::AllocOp>();
  if (!alloc)
    return nullptr;
  auto type = cast<MemRefType>(result.getType());
  bool whole = type.hasStaticShape() && type.getLayout().isIdentity() && alloc.getType().hasStaticShape() &&
               type.getNumElements() == alloc.getType().getNumElements();
  return whole ? alloc : nullptr;
}

LogicalResult PlanMemory::rewriteEntry(func::FuncOp entry) {
  Block &body = entry.getBody().front();
  auto ret = cast<func::ReturnOp>(body.getTerminator());
  if (ret.getNumOperands() == 0)
    return entry.emitOpError("expected a result");
  for (Value value : ret.getOperands().drop_front()) {
    auto argument = dyn_cast<BlockArgument>(rootBuffer(value));
    if (!argument || argument.getOwner() != &body)
      return entry.emitOpError("expected every cache to be updated in place");
  }
  Value result = ret.getOperand(0);
  auto resultType = dyn_cast<MemRefType>(result.getType());
  if (!resultType || !resultType.hasStaticShape())
    return entry.emitOpError("expected a result of static shape");
  memref::AllocOp whole = wholeAllocation(result);
  if (failed(planAllocations(entry, whole)) || failed(placeConstants(entry)))
    return failure();

  // The new arguments stand between position and the caches, which go away.
  OpBuilder b(&body, body.begin());
  Location loc = entry.getLoc();
  Type i8 = b.getI8Type();
  // The sizes are those of the whole module; they are filled in by runOnOperation.
  Type section = MemRefType::get({1}, i8);
  MemRefType outType =
      whole ? whole.getType() : MemRefType::get(resultType.getShape(), resultType.getElementType());
  for (unsigned i = Arena; i <= Cache; ++i)
    body.insertArgument(i, section, loc);
  body.insertArgument(Result, outType, loc);
  for (auto [offset, type] : llvm::zip_equal(cacheOffsets, caches)) {
    BlockArgument cache = body.getArgument(NumEntryArguments);
    if (!cache.use_empty())
      cache.replaceAllUsesWith(createView(b, loc, body.getArgument(Cache), offset, type));
    body.eraseArgument(NumEntryArguments);
  }
  if (whole) {
    whole.replaceAllUsesWith(body.getArgument(Result));
    whole.erase();
  } else {
    b.setInsertionPoint(ret);
    memref::CopyOp::create(b, loc, result, body.getArgument(Result));
  }
  entry.walk([&](Operation *op) {
    auto offset = op->getAttrOfType<IntegerAttr>("elutq.offset");
    if (!offset)
      return;
    OpBuilder b(op);
    Value base = body.getArgument(isa<memref::AllocOp>(op) ? Arena : Weights);
    auto type = cast<MemRefType>(op->getResult(0).getType());
    op->getResult(0).replaceAllUsesWith(createView(b, op->getLoc(), base, offset.getInt(), type));
    op->erase();
  });
  ret->setOperands({});
  return success();
}

void PlanMemory::runOnOperation() {
  SmallVector<func::FuncOp> entries;
  for (auto function : getOperation().getOps<func::FuncOp>())
    if (!function.isExternal() && !function.isPrivate())
      entries.push_back(function);
  for (func::FuncOp entry : entries)
    if (failed(placeCaches(entry)) || failed(checkCopies(entry)) || failed(rewriteEntry(entry)))
      return signalPassFailure();

  OpBuilder b(&getContext());
  auto section = [&](int64_t bytes) { return MemRefType::get({std::max<int64_t>(bytes, 1)}, b.getI8Type()); };
  for (func::FuncOp entry : entries) {
    Block &body = entry.getBody().front();
    body.getArgument(Arena).setType(section(arenaBytes));
    body.getArgument(Weights).setType(section(weightBytes));
    body.getArgument(Cache).setType(section(cacheBytes));
    entry.setFunctionType(b.getFunctionType(body.getArgumentTypes(), {}));
    entry.setAllArgAttrs(SmallVector<Attribute>(NumEntryArguments, b.getDictionaryAttr({})));
    entry.setAllResultAttrs(ArrayRef<Attribute>());
    entry.setName(("elutq_entry_" + entry.getName()).str());
  }
  for (auto global : llvm::make_early_inc_range(getOperation().getOps<memref::GlobalOp>()))
    global.erase();

  SmallVector<Attribute> table;
  for (Attribute value : weights)
    table.push_back(b.getDictionaryAttr({b.getNamedAttr("offset", b.getI64IntegerAttr(weightOffsets[constantKey(value)])),
                                         b.getNamedAttr("value", value)}));
  getOperation()->setAttr("elutq.weights", b.getArrayAttr(table));
  getOperation()->setAttr("elutq.plan",
                          b.getDictionaryAttr({b.getNamedAttr("arena_bytes", b.getI64IntegerAttr(arenaBytes)),
                                               b.getNamedAttr("weights_bytes", b.getI64IntegerAttr(weightBytes)),
                                               b.getNamedAttr("cache_bytes", b.getI64IntegerAttr(cacheBytes))}));
}
