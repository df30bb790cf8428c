//===- Quantize.cpp - Quantize constant float weights ---------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "NodeNames.h"
#include "elutq/Dialect/HLQ/Transforms/Passes.h"
#include "elutq/Dialect/LM/IR/LM.h"
#include "elutq/Quantize/Solver.h"
#include "elutq/Support/ConstantData.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

namespace elutq::hlq {
#define GEN_PASS_DEF_QUANTIZEPASS
#include "elutq/Dialect/HLQ/Transforms/Passes.h.inc"
} // namespace elutq::hlq

using namespace mlir;
using namespace elutq;
using namespace elutq::hlq;

//===----------------------------------------------------------------------===//
// What can be quantized
//===----------------------------------------------------------------------===//

namespace {

/// A constant matrix as its readers see it: `[N, K]`, or `[K, N]` if `transposed`.
struct Matrix {
  ConstantData data;
  bool transposed;

  int64_t getRows() const { return data.getType().getDimSize(transposed ? 1 : 0); }
  int64_t getColumns() const { return data.getType().getDimSize(transposed ? 0 : 1); }
  std::pair<Attribute, unsigned> getKey() const { return {data.attribute, transposed}; }
};

/// A matrix and the ops that read it.
struct Site {
  Matrix matrix;
  SmallVector<linalg::LinalgOp> products;
  SmallVector<lm::GatherOp> gathers;
};

} // namespace

/// What `op` converts to a wider float type, element by element; null if it does anything else.
static Value getWidened(Operation *op) {
  if (auto extend = dyn_cast<arith::ExtFOp>(op))
    return extend.getIn();
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!generic || generic.getNumDpsInputs() != 1 || generic.getNumResults() != 1 ||
      generic.getNumParallelLoops() != generic.getNumLoops() ||
      !llvm::all_of(generic.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); }))
    return {};
  Block *body = generic.getBody();
  auto extend = dyn_cast<arith::ExtFOp>(body->front());
  if (!extend || extend.getIn() != body->getArgument(0) || body->getTerminator()->getOperand(0) != extend.getOut())
    return {};
  return generic.getDpsInputs()[0];
}

/// The constant matrix behind `value`, through widening and transposition.
static std::optional<Matrix> matchMatrix(Value value, bool transposed) {
  while (Operation *op = value.getDefiningOp()) {
    if (Value narrow = getWidened(op)) {
      value = narrow;
    } else if (auto transpose = dyn_cast<linalg::TransposeOp>(op); transpose && transpose.getPermutation().size() == 2) {
      transposed ^= transpose.getPermutation()[0] == 1;
      value = transpose.getInput();
    } else {
      break;
    }
  }
  std::optional<ConstantData> data = getConstantData(value);
  if (!data || data->getType().getRank() != 2)
    return std::nullopt;
  Type type = data->getType().getElementType();
  if (!type.isF32() && !type.isF16() && !type.isBF16())
    return std::nullopt;
  return Matrix{*data, transposed};
}

/// The right-hand side of `op` if it is a product of f32 activations and a constant matrix.
static std::optional<Matrix> matchProduct(linalg::LinalgOp op) {
  if (!isa<linalg::MatmulOp>(op) || !op.hasPureTensorSemantics())
    return std::nullopt;
  auto isF32 = [](Value value) { return cast<ShapedType>(value.getType()).getElementType().isF32(); };
  if (!isF32(op.getDpsInputs()[0]) || !isF32(op.getDpsInits()[0]))
    return std::nullopt;

  MLIRContext *context = op.getContext();
  AffineExpr m, n, k;
  bindDims(context, m, n, k);
  auto map = [&](AffineExpr first, AffineExpr second) { return AffineMap::get(3, 0, {first, second}, context); };
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  if (maps[0] != map(m, k) || maps[2] != map(m, n) || (maps[1] != map(k, n) && maps[1] != map(n, k)))
    return std::nullopt;
  return matchMatrix(op.getDpsInputs()[1], /*transposed=*/maps[1] == map(k, n));
}

static std::optional<Matrix> matchGather(lm::GatherOp op) {
  if (op.getNumResults() == 0)
    return std::nullopt;
  return matchMatrix(op.getTable(), /*transposed=*/false);
}

static bool isZero(Value value) {
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    return matchPattern(fill.getInputs()[0], m_AnyZeroFloat());
  return matchPattern(value, m_AnyZeroFloat());
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {

/// A quantized matrix.
struct Planes {
  TypedAttr planes, scales, zeros;
  int64_t groupSize;
};

struct Quantize : elutq::hlq::impl::QuantizePassBase<Quantize> {
  using QuantizePassBase::QuantizePassBase;
  /// A copy runs on its own: it takes the options, not the state of a run.
  Quantize(const Quantize &other) : QuantizePassBase(other) {}

  void runOnOperation() override {
    if (failed(checkOptions()))
      return signalPassFailure();

    collectSites();
    speeds.clear();
    size_t done = 0;
    for (auto &[key, site] : sites) {
      ++done;
      int64_t siteBits = getBits(site);
      if (siteBits == 0) {
        numExcluded += site.products.size() + site.gathers.size();
        continue;
      }
      FailureOr<Planes> planes = quantize(site, siteBits, done);
      if (failed(planes))
        return signalPassFailure();
      rewrite(site, *planes);
    }
    if (progress)
      reportSpeed();
  }

private:
  LogicalResult checkOptions() {
    if (failed(checkBits("bits", bits, 1)) || failed(checkBits("embedding-bits", embeddingBits, 0)) ||
        failed(checkBits("head-bits", headBits, 0)))
      return failure();
    int64_t group = groupSize;
    if (!llvm::is_contained({0, 16, 32, 64, 128, 256}, group))
      return emitError(getOperation().getLoc())
             << "expected group-size to be 16, 32, 64, 128, 256, or 0 for one group per row, but got " << group;
    if (params != "hlq" && params != "compact")
      return emitError(getOperation().getLoc()) << "expected params to be hlq or compact, but got '" << StringRef(params) << "'";
    excluded = llvm::Regex(exclude);
    std::string reason;
    if (!exclude.empty() && !excluded.isValid(reason))
      return emitError(getOperation().getLoc()) << "expected exclude to be a regular expression, but got '"
                                                << StringRef(exclude) << "': " << reason;
    return success();
  }

  LogicalResult checkBits(StringRef name, int64_t value, int64_t least) {
    if (quantize::isBits(value) || value == least)
      return success();
    return emitError(getOperation().getLoc())
           << "expected " << name << " to be " << least << " to 4 or 8, but got " << value;
  }

  /// Groups what can be quantized by the constant that it reads, in the order of the program.
  void collectSites() {
    sites.clear();
    isTied.clear();
    getOperation().walk([&](Operation *op) {
      auto product = dyn_cast<linalg::LinalgOp>(op);
      auto gather = dyn_cast<lm::GatherOp>(op);
      std::optional<Matrix> matrix;
      if (product)
        matrix = matchProduct(product);
      else if (gather)
        matrix = matchGather(gather);
      if (!matrix)
        return;
      if (isExcluded(op, *matrix)) {
        ++numExcluded;
        return;
      }
      Site &site = sites.try_emplace(matrix->getKey(), Site{*matrix, {}, {}}).first->second;
      if (product)
        site.products.push_back(product);
      else
        site.gathers.push_back(gather);
    });
    // With bits of 0 for one use of a table, the other use stands alone.
    for (auto &[key, site] : sites) {
      if (embeddingBits == 0 && !site.products.empty()) {
        numExcluded += site.gathers.size();
        isTied[key.first] |= !site.gathers.empty();
        site.gathers.clear();
      }
      if (headBits == 0 && !site.gathers.empty()) {
        numExcluded += site.products.size();
        site.products.clear();
      }
    }
  }

  bool isExcluded(Operation *op, const Matrix &matrix) {
    if (exclude.empty())
      return false;
    bool found = excluded.match(matrix.data.getKey());
    forEachName(op->getLoc(), [&](StringRef name) { found |= excluded.match(name); });
    return found;
  }

  bool isHead(const Site &site) {
    if (site.products.empty())
      return false;
    bool found = !site.gathers.empty() || isTied.lookup(site.matrix.data.attribute) ||
                 site.matrix.data.getKey().contains("lm_head");
    for (Operation *op : site.products)
      forEachName(op->getLoc(), [&](StringRef name) { found |= name.contains("lm_head"); });
    return found;
  }

  /// Bits for the matrix of `site`; 0 leaves it in float.
  int64_t getBits(const Site &site) {
    int64_t head = isHead(site) ? static_cast<int64_t>(headBits) : site.products.empty() ? 0 : bits;
    return site.gathers.empty() ? head : std::max<int64_t>(head, embeddingBits);
  }

  FailureOr<Planes> quantize(Site &site, int64_t siteBits, size_t done) {
    const Matrix &matrix = site.matrix;
    Location loc = site.products.empty() ? site.gathers.front().getLoc() : site.products.front()->getLoc();
    int64_t n = matrix.getRows(), k = matrix.getColumns();
    int64_t group = groupSize == 0 ? llvm::alignTo(k, 32) : static_cast<int64_t>(groupSize);
    int64_t groups = quantize::numGroups(k, group);

    MLIRContext *context = &getContext();
    Type i8 = IntegerType::get(context, 8), f16 = Float16Type::get(context);
    auto planesType = siteBits == 8 ? RankedTensorType::get({n, groups * group}, i8)
                                    : RankedTensorType::get({siteBits, n, groups * group / 8}, i8);
    quantize::FitOptions options = getFitOptions(siteBits, group);
    auto scalesType = RankedTensorType::get({n, groups, quantize::numScales(siteBits, options.kind)}, f16);
    auto zerosType = RankedTensorType::get({n, groups}, f16);
    if (siteBits != 8 && options.kind == quantize::ParameterKind::Compact)
      zerosType = RankedTensorType::get({n, groups, siteBits + 1}, i8);
    llvm::Expected<SpillBuffer> planes = SpillBuffer::create(planesType.getNumElements());
    llvm::Expected<SpillBuffer> scales = SpillBuffer::create(scalesType.getNumElements() * 2);
    llvm::Expected<SpillBuffer> zeros = SpillBuffer::create(n * groups * quantize::numZeroBytes(siteBits, options.kind));
    llvm::Error error = llvm::joinErrors(planes.takeError(), llvm::joinErrors(scales.takeError(), zeros.takeError()));
    if (error)
      return emitError(loc) << llvm::toString(std::move(error));

    quantize::FitReport report = quantize::fitHLQ(
        getView(matrix), options, planes->getDataAs<uint8_t>(), scales->getDataAs<uint16_t>(), zeros->getData().data());
    std::string key = getName(matrix, loc);
    if (!report.error.empty())
      return emitError(loc) << "cannot quantize weight '" << key << "': " << report.error;
    releasePages(matrix.data.bytes);
    for (SpillBuffer *buffer : {&*planes, &*scales, &*zeros})
      releasePages(buffer->getData());
    ++numMatrices;
    Speed &speed = speeds[siteBits];
    ++speed.matrices;
    speed.weights += n * k;
    speed.seconds += report.cpuSeconds;
    if (progress)
      remark() << llvm::format("[%zu/%zu] ", done, sites.size()) << key << ": " << n << " x " << k << ", " << siteBits
               << " bits, relative squared error "
               << llvm::format("%.2e", report.squaredNorm ? report.squaredError / report.squaredNorm : 0.0);

    return Planes{createResourceAttr(planesType, key + ".planes", std::move(*planes)),
                  createResourceAttr(scalesType, key + ".scales", std::move(*scales)),
                  createResourceAttr(zerosType, key + ".zeros", std::move(*zeros)), group};
  }

  /// A line of progress, for whoever handles the context's diagnostics; takes all that a stream does.
  class Remark {
  public:
    explicit Remark(Location loc) : loc(loc) {}
    ~Remark() { emitRemark(loc) << text; }
    template <typename T>
    Remark &operator<<(const T &part) {
      os << part;
      return *this;
    }

  private:
    Location loc;
    std::string text;
    llvm::raw_string_ostream os{text};
  };
  Remark remark() { return Remark(getOperation()->getLoc()); }

  void reportSpeed() {
    for (const auto &[width, speed] : speeds)
      remark() << width << " bits: " << speed.weights << " weights of " << speed.matrices << " matrices, "
               << llvm::format("%.1f million weights/s per core",
                               static_cast<double>(speed.weights) / std::max(speed.seconds, 1e-9) * 1e-6);
  }

  quantize::FitOptions getFitOptions(int64_t siteBits, int64_t group) {
    quantize::FitOptions options;
    options.bits = siteBits;
    options.groupSize = group;
    options.threads = threads;
    if (params == "compact")
      options.kind = quantize::ParameterKind::Compact;
    return options;
  }

  static quantize::MatrixView getView(const Matrix &matrix) {
    Type type = matrix.data.getType().getElementType();
    quantize::MatrixView view;
    view.data = matrix.data.bytes.data();
    view.type = type.isF32()   ? quantize::DataType::F32
                : type.isF16() ? quantize::DataType::F16
                               : quantize::DataType::BF16;
    view.rows = matrix.getRows();
    view.cols = matrix.getColumns();
    // A splat is one element that every row and column reads.
    view.rowStride = matrix.data.isSplat ? 0 : matrix.transposed ? 1 : view.cols;
    view.colStride = matrix.data.isSplat ? 0 : matrix.transposed ? view.rows : 1;
    return view;
  }

  /// The name of a weight: its resource, or the node that reads it.
  static std::string getName(const Matrix &matrix, Location loc) {
    std::string name = matrix.data.getKey().str();
    if (name.empty())
      forEachName(loc, [&](StringRef node) { name = name.empty() ? node.str() : name; });
    return name.empty() ? "weight" : name;
  }

  void rewrite(Site &site, const Planes &planes) {
    IRRewriter rewriter(&getContext());
    for (linalg::LinalgOp op : site.products)
      rewriteProduct(rewriter, op, planes);
    for (lm::GatherOp op : site.gathers)
      rewriteGather(rewriter, op, planes);
    numLinears += site.products.size();
    numGathers += site.gathers.size();
  }

  static SmallVector<Value> createConstants(RewriterBase &rewriter, Location loc, const Planes &planes) {
    SmallVector<Value> values;
    for (TypedAttr attr : {planes.planes, planes.scales, planes.zeros})
      values.push_back(arith::ConstantOp::create(rewriter, loc, attr));
    return values;
  }

  static void rewriteProduct(RewriterBase &rewriter, linalg::LinalgOp op, const Planes &planes) {
    rewriter.setInsertionPoint(op);
    Location loc = op->getLoc();
    SmallVector<Value> w = createConstants(rewriter, loc, planes);
    Value weights = op.getDpsInputs()[1], addend = op.getDpsInits()[0];
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    Value empty = tensor::EmptyOp::create(rewriter, loc, tensor::getMixedSizes(rewriter, loc, addend),
                                          type.getElementType());
    Value result = LinearOp::create(rewriter, loc, type, op.getDpsInputs()[0], w[0], w[1], w[2], empty,
                                    planes.groupSize, /*zero_point=*/IntegerAttr())
                       .getResult(0);
    // linalg.matmul adds to its init, hlq.linear overwrites it.
    if (!isZero(addend))
      result = linalg::AddOp::create(rewriter, loc, ValueRange{result, addend}, empty).getResult(0);
    rewriter.replaceOp(op, result);
    eraseUnused(rewriter, weights);
    eraseUnused(rewriter, addend);
  }

  static void rewriteGather(RewriterBase &rewriter, lm::GatherOp op, const Planes &planes) {
    rewriter.setInsertionPoint(op);
    Location loc = op->getLoc();
    SmallVector<Value> w = createConstants(rewriter, loc, planes);
    Value table = op.getTable(), init = op.getInit();
    auto type = cast<RankedTensorType>(op.getResultTypes()[0]);
    RankedTensorType f32Type = type.clone(rewriter.getF32Type());
    if (type != f32Type)
      init = tensor::EmptyOp::create(rewriter, loc, tensor::getMixedSizes(rewriter, loc, init), f32Type.getElementType());
    Value result = hlq::GatherOp::create(rewriter, loc, f32Type, op.getIndices(), w[0], w[1], w[2], init,
                                         planes.groupSize, /*zero_point=*/IntegerAttr())
                       .getResult(0);
    if (type != f32Type) {
      replaceWidened(rewriter, op, result);
      if (!op->use_empty())
        result = narrow(rewriter, op, result);
    }
    if (op->use_empty())
      rewriter.eraseOp(op);
    else
      rewriter.replaceOp(op, result);
    eraseUnused(rewriter, table);
  }

  /// Puts `rows`, which are f32, in place of what widens the rows of `op` to f32: rounding them before is of no use.
  static void replaceWidened(RewriterBase &rewriter, lm::GatherOp op, Value rows) {
    for (Operation *user : llvm::make_early_inc_range(op->getResult(0).getUsers()))
      if (getWidened(user) && user->getResult(0).getType() == rows.getType())
        rewriter.replaceOp(user, rows);
  }

  /// `rows`, which are f32, rounded to the type of the gather `op`.
  static Value narrow(RewriterBase &rewriter, lm::GatherOp op, Value rows) {
    auto type = cast<RankedTensorType>(op.getResultTypes()[0]);
    SmallVector<AffineMap> maps(2, rewriter.getMultiDimIdentityMap(type.getRank()));
    SmallVector<utils::IteratorType> loops(type.getRank(), utils::IteratorType::parallel);
    return linalg::GenericOp::create(rewriter, op.getLoc(), type, rows, op.getInit(), maps, loops,
                                     [](OpBuilder &b, Location loc, ValueRange values) {
                                       Type element = values[1].getType();
                                       Value rounded = arith::TruncFOp::create(b, loc, element, values[0]);
                                       linalg::YieldOp::create(b, loc, rounded);
                                     })
        .getResult(0);
  }

  /// Erases the op behind `value`, and what it alone reads, once nothing reads it.
  static void eraseUnused(RewriterBase &rewriter, Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || !isOpTriviallyDead(op))
      return;
    SmallVector<Value> operands(op->getOperands());
    rewriter.eraseOp(op);
    for (Value operand : operands)
      eraseUnused(rewriter, operand);
  }

  /// What was fitted at one number of bits, and the processor time that it took.
  struct Speed {
    int64_t matrices = 0, weights = 0;
    double seconds = 0;
  };
  std::map<int64_t, Speed> speeds;
  llvm::MapVector<std::pair<Attribute, unsigned>, Site> sites;
  /// Constants that an embedding reads, too, although it is left in float.
  DenseMap<Attribute, bool> isTied;
  llvm::Regex excluded;
};

} // namespace
