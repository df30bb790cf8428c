//===- PlanMemory.cpp - Place buffers in arena, weights and cache ---------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Transforms/Passes.h"
#include "elutq/Transforms/TaskABI.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

namespace elutq {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "elutq/Transforms/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;

namespace {

/// Larger allocations inside a parallel loop are refused: they would not fit on a worker's stack.
constexpr int64_t kMaxStackBytes = 64 * 1024;

/// An allocation, the span of top-level operations that use it, and its place.
struct Buffer {
  memref::AllocOp alloc;
  int64_t bytes;
  int64_t first;
  int64_t last;
  int64_t offset = 0;
};

struct PlanMemory : elutq::impl::PlanMemoryPassBase<PlanMemory> {
  using PlanMemoryPassBase::PlanMemoryPassBase;
  void runOnOperation() override;

private:
  LogicalResult checkEntry(func::FuncOp entry);
  LogicalResult planAllocations(func::FuncOp entry, SmallVectorImpl<Buffer> &buffers);
  void routeThroughArena(func::FuncOp entry);
  void planConstants(func::FuncOp entry);
  void rewrite(func::FuncOp entry, ArrayRef<Buffer> buffers);

  int64_t arenaSize = 0, weightsSize = 0, cacheSize = 0;
  SmallVector<int64_t> cacheOffsets;
  SmallVector<Type> cacheTypes;
  /// Offset of each constant; the key is the resource's name where there is one, so that equal bytes of other shapes share a place.
  llvm::MapVector<Attribute, int64_t> constants;
};

} // namespace

static int64_t bytesOf(MemRefType type) {
  int64_t bits = type.getElementType().isIndex() ? 64 : type.getElementTypeBitWidth();
  return type.getNumElements() * llvm::divideCeil(bits, 8);
}

static int64_t alignUp(int64_t bytes) { return llvm::alignTo(bytes, kTaskAlignment); }

/// The attribute that identifies a constant's bytes.
static Attribute constantKey(Attribute value) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    return StringAttr::get(value.getContext(), resource.getRawHandle().getKey());
  return value;
}

LogicalResult PlanMemory::checkEntry(func::FuncOp entry) {
  FunctionType type = entry.getFunctionType();
  if (type.getNumInputs() < 4 || type.getNumResults() != 0 || !type.getInput(1).isIndex() || !type.getInput(2).isIndex())
    return entry.emitOpError("expected the signature (tokens, count, position, caches..., logits) -> (), but got ") << type;
  for (auto [index, input] : llvm::enumerate(type.getInputs())) {
    auto memref = dyn_cast<MemRefType>(input);
    if (index == 1 || index == 2)
      continue;
    if (!memref || !memref.hasStaticShape() || !memref.getLayout().isIdentity())
      return entry.emitOpError("expected argument ") << index << " to be a contiguous memref of static shape, but got " << input;
  }
  ArrayRef<Type> caches = type.getInputs().slice(3, type.getNumInputs() - 4);
  if (cacheTypes.empty()) {
    for (Type cache : caches) {
      cacheTypes.push_back(cache);
      cacheOffsets.push_back(cacheSize);
      cacheSize += alignUp(bytesOf(cast<MemRefType>(cache)));
    }
  } else if (ArrayRef<Type>(cacheTypes) != caches) {
    return entry.emitOpError("expected the same caches as the module's other entry");
  }
  return success();
}

/// Tasks reach the three base buffers only: copy the tokens in and the logits out.
void PlanMemory::routeThroughArena(func::FuncOp entry) {
  Block &body = entry.front();
  Location loc = entry.getLoc();
  OpBuilder builder = OpBuilder::atBlockBegin(&body);
  Value tokens = body.getArgument(0), logits = body.getArguments().back();
  auto ownTokens = memref::AllocOp::create(builder, loc, cast<MemRefType>(tokens.getType()));
  auto ownLogits = memref::AllocOp::create(builder, loc, cast<MemRefType>(logits.getType()));
  tokens.replaceAllUsesWith(ownTokens);
  logits.replaceAllUsesWith(ownLogits);
  memref::CopyOp::create(builder, loc, tokens, ownTokens);
  builder.setInsertionPoint(body.getTerminator());
  memref::CopyOp::create(builder, loc, ownLogits, logits);
}

/// Widens `buffer`'s lifetime to every operation of `block` that uses `value` or a view of it.
static LogicalResult extendLifetime(Value value, Block *block, const DenseMap<Operation *, int64_t> &order, Buffer &buffer) {
  for (Operation *user : value.getUsers()) {
    Operation *ancestor = block->findAncestorOpInBlock(*user);
    int64_t index = order.lookup(ancestor);
    buffer.first = std::min(buffer.first, index);
    buffer.last = std::max(buffer.last, index);
    if (isa<memref::DeallocOp>(user))
      continue;
    for (Value result : user->getResults()) {
      if (!isa<BaseMemRefType>(result.getType()))
        continue;
      if (!isa<ViewLikeOpInterface>(user))
        return user->emitOpError("passes a buffer on in a way that the memory plan cannot follow");
      if (failed(extendLifetime(result, block, order, buffer)))
        return failure();
    }
  }
  return success();
}

LogicalResult PlanMemory::planAllocations(func::FuncOp entry, SmallVectorImpl<Buffer> &buffers) {
  Block &body = entry.front();
  DenseMap<Operation *, int64_t> order;
  for (auto [index, op] : llvm::enumerate(body))
    order[&op] = index;

  WalkResult walk = entry.walk([&](memref::AllocOp alloc) {
    MemRefType type = alloc.getType();
    if (!type.hasStaticShape()) {
      alloc.emitOpError("expected a static shape");
      return WalkResult::interrupt();
    }
    int64_t bytes = bytesOf(type);
    if (alloc->getBlock() != &body) {
      if (bytes > kMaxStackBytes) {
        alloc.emitOpError("allocates ") << bytes << " bytes inside a loop, at most " << kMaxStackBytes << " fit on a stack";
        return WalkResult::interrupt();
      }
      OpBuilder builder(alloc);
      auto alloca = memref::AllocaOp::create(builder, alloc.getLoc(), type, builder.getI64IntegerAttr(kTaskAlignment));
      for (Operation *user : llvm::make_early_inc_range(alloc->getUsers()))
        if (isa<memref::DeallocOp>(user))
          user->erase();
      alloc.replaceAllUsesWith(alloca.getResult());
      alloc.erase();
      return WalkResult::advance();
    }
    Buffer buffer{alloc, alignUp(bytes), order[alloc], order[alloc]};
    // The allocation itself does not touch memory; the lifetime starts with the first use.
    buffer.first = std::numeric_limits<int64_t>::max();
    if (failed(extendLifetime(alloc.getResult(), &body, order, buffer)))
      return WalkResult::interrupt();
    buffers.push_back(buffer);
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();

  // Largest first, each at the lowest offset where no placed buffer with a common operation is in the way.
  SmallVector<Buffer *> bySize = llvm::map_to_vector(buffers, [](Buffer &buffer) { return &buffer; });
  llvm::sort(bySize, [](const Buffer *a, const Buffer *b) { return std::make_pair(-a->bytes, a) < std::make_pair(-b->bytes, b); });
  SmallVector<Buffer *> placed; // By offset.
  for (Buffer *buffer : bySize) {
    int64_t offset = kTaskHeaderBytes;
    for (const Buffer *other : placed) {
      if (other->last < buffer->first || buffer->last < other->first)
        continue;
      if (offset + buffer->bytes <= other->offset)
        break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    buffer->offset = offset;
    placed.insert(llvm::upper_bound(placed, buffer, [](const Buffer *a, const Buffer *b) { return a->offset < b->offset; }), buffer);
    arenaSize = std::max(arenaSize, offset + buffer->bytes);
    allocatedBytes += buffer->bytes;
  }
  return success();
}

void PlanMemory::planConstants(func::FuncOp entry) {
  entry.walk([&](memref::GetGlobalOp get) {
    auto global = SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(get, get.getNameAttr());
    Attribute key = constantKey(*global.getInitialValue());
    if (!constants.try_emplace(key, weightsSize).second)
      return;
    weightsSize += alignUp(bytesOf(global.getType()));
  });
}

void PlanMemory::rewrite(func::FuncOp entry, ArrayRef<Buffer> buffers) {
  Block &body = entry.front();
  Location loc = entry.getLoc();
  OpBuilder builder = OpBuilder::atBlockBegin(&body);
  auto bytes = [&](int64_t size) { return MemRefType::get({size}, builder.getI8Type()); };
  unsigned firstCache = 3, numCaches = cacheTypes.size();

  Value arena = body.insertArgument(firstCache, bytes(arenaSize), loc);
  Value weights = body.insertArgument(firstCache + 1, bytes(weightsSize), loc);
  Value cache = body.insertArgument(firstCache + 2, bytes(cacheSize), loc);
  auto view = [&](OpBuilder &at, Location viewLoc, Value base, int64_t offset, Type type) -> Value {
    Value shift = arith::ConstantIndexOp::create(at, viewLoc, offset);
    return memref::ViewOp::create(at, viewLoc, cast<MemRefType>(type), base, shift, ValueRange());
  };
  for (auto [index, type, offset] : llvm::enumerate(cacheTypes, cacheOffsets))
    body.getArgument(firstCache + 3 + index).replaceAllUsesWith(view(builder, loc, cache, offset, type));
  body.eraseArguments(firstCache + 3, numCaches);
  entry.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), {}));
  entry.removeArgAttrsAttr();

  for (const Buffer &buffer : buffers) {
    builder.setInsertionPoint(buffer.alloc);
    for (Operation *user : llvm::make_early_inc_range(buffer.alloc->getUsers()))
      if (isa<memref::DeallocOp>(user))
        user->erase();
    memref::AllocOp alloc = buffer.alloc;
    alloc.replaceAllUsesWith(view(builder, alloc.getLoc(), arena, buffer.offset, alloc.getType()));
    alloc.erase();
  }
  entry.walk([&](memref::GetGlobalOp get) {
    auto global = SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(get, get.getNameAttr());
    int64_t offset = constants.lookup(constantKey(*global.getInitialValue()));
    // At the start of the entry: a view inside a loop could not be handed to the loop's task.
    builder.setInsertionPointToStart(&body);
    get.replaceAllUsesWith(view(builder, get.getLoc(), weights, offset, get.getType()));
    get.erase();
  });
}

void PlanMemory::runOnOperation() {
  ModuleOp module = getOperation();
  arenaSize = kTaskHeaderBytes;
  weightsSize = cacheSize = 0;
  cacheOffsets.clear();
  cacheTypes.clear();
  constants.clear();

  SmallVector<std::pair<func::FuncOp, SmallVector<Buffer>>> entries;
  for (auto entry : module.getOps<func::FuncOp>())
    if (entry.isPublic() && !entry.isDeclaration())
      entries.emplace_back(entry, SmallVector<Buffer>());
  for (auto &[entry, buffers] : entries) {
    if (failed(checkEntry(entry)))
      return signalPassFailure();
    routeThroughArena(entry);
    if (failed(planAllocations(entry, buffers)))
      return signalPassFailure();
    planConstants(entry);
  }

  // Sizes are part of the base buffers' types: rewrite only when all are known.
  Builder builder(&getContext());
  SmallVector<Attribute> table;
  llvm::DenseSet<Attribute> listed;
  for (auto global : module.getOps<memref::GlobalOp>()) {
    if (!global.getInitialValue())
      continue;
    Attribute key = constantKey(*global.getInitialValue());
    auto it = constants.find(key);
    if (it == constants.end() || !listed.insert(key).second)
      continue;
    table.push_back(builder.getDictionaryAttr({builder.getNamedAttr("offset", builder.getI64IntegerAttr(it->second)),
                                               builder.getNamedAttr("value", *global.getInitialValue())}));
  }
  llvm::sort(table, [](Attribute a, Attribute b) {
    auto offset = [](Attribute entry) { return cast<DictionaryAttr>(entry).getAs<IntegerAttr>("offset").getInt(); };
    return offset(a) < offset(b);
  });
  for (auto &[entry, buffers] : entries)
    rewrite(entry, buffers);
  for (auto global : llvm::make_early_inc_range(module.getOps<memref::GlobalOp>()))
    if (global.getInitialValue() && constants.contains(constantKey(*global.getInitialValue())))
      global.erase();

  numConstants = constants.size();
  arenaBytes = arenaSize;
  module->setAttr("elutq.weights", builder.getArrayAttr(table));
  module->setAttr("elutq.plan", builder.getDictionaryAttr({
                                    builder.getNamedAttr("arena_bytes", builder.getI64IntegerAttr(arenaSize)),
                                    builder.getNamedAttr("weights_bytes", builder.getI64IntegerAttr(weightsSize)),
                                    builder.getNamedAttr("cache_bytes", builder.getI64IntegerAttr(cacheSize)),
                                }));
}
