//===- ONNXToHLQ.cpp - convert-onnx-to-hlq --------------------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Planes.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Conversion/QuantizedConstant.h"
#include "elutq/Dialect/HLQ/IR/HLQ.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "elutq/Support/ConstantData.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

namespace elutq {
#define GEN_PASS_DEF_CONVERTONNXTOHLQPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

namespace {

LogicalResult refuse(Operation *op, const Twine &reason) {
  InFlightDiagnostic diagnostic = emitError(op->getLoc()) << "'" << op->getName() << "'";
  if (StringRef name = getNodeName(op->getLoc()); !name.empty())
    diagnostic << " (node \"" << name << "\")";
  return diagnostic << ": " << reason;
}

/// The product with planes, and the bias after it.
LogicalResult rewriteLinear(IRRewriter &rewriter, Operation *op, Value input, Value bias, const PlaneOperands &weights, int64_t k, int64_t n) {
  Location loc = op->getLoc();
  auto inputType = getStaticType(input), type = getStaticType(op->getResult(0));
  if (!inputType || !type || !inputType.getElementType().isF32())
    return refuse(op, "expected f32 activations of static shape");
  if (inputType.getRank() < 1 || inputType.getShape().back() != k || type.getShape().back() != n)
    return refuse(op, "expected activations of K (" + Twine(k) + ") columns and a result of N (" + Twine(n) + ")");
  int64_t rows = inputType.getNumElements() / k;
  Value x = reshape(rewriter, loc, input, {rows, k});
  Value init = tensor::EmptyOp::create(rewriter, loc, ArrayRef<int64_t>{rows, n}, rewriter.getF32Type());
  Value result = hlq::LinearOp::create(rewriter, loc, TypeRange{init.getType()}, x, weights.planes, weights.scales, weights.zeros, init,
                                       weights.groupSize, weights.zeroPoint)
                     ->getResult(0);
  if (!isAbsent(bias))
    result = elementwise(rewriter, loc, {result, bias}, cast<RankedTensorType>(result.getType()),
                         [](OpBuilder &b, Location l, ValueRange args) -> Value { return arith::AddFOp::create(b, l, args[0], args[1]); });
  rewriter.replaceOp(op, reshape(rewriter, loc, result, type.getShape()));
  return success();
}

/// Replaces `op`: the gather, or what cuts its result.
LogicalResult rewriteGather(IRRewriter &rewriter, Location loc, Operation *op, Value indices, const PlaneOperands &weights, int64_t k) {
  auto indexType = getStaticType(indices), type = getStaticType(op->getResult(0));
  if (!indexType || !type || !type.getElementType().isF32() || type.getNumElements() != indexType.getNumElements() * k)
    return refuse(op, "expected static shapes and an f32 result of K (" + Twine(k) + ") columns");
  int64_t rows = indexType.getNumElements();
  Value flat = reshape(rewriter, loc, indices, {rows});
  Type i64 = rewriter.getI64Type();
  if (indexType.getElementType() != i64)
    flat = elementwise(rewriter, loc, flat, RankedTensorType::get({rows}, i64), [&](OpBuilder &b, Location l, ValueRange args) -> Value {
      return arith::ExtSIOp::create(b, l, i64, args[0]);
    });
  Value init = tensor::EmptyOp::create(rewriter, loc, ArrayRef<int64_t>{rows, k}, rewriter.getF32Type());
  Value result = hlq::GatherOp::create(rewriter, loc, TypeRange{init.getType()}, flat, weights.planes, weights.scales, weights.zeros, init,
                                       weights.groupSize, weights.zeroPoint)
                     ->getResult(0);
  rewriter.replaceOp(op, reshape(rewriter, loc, result, type.getShape()));
  return success();
}

/// Whether g_idx says nothing: column k belongs to group k / block_size.
bool isTrivialGroupIndex(Value index, int64_t blockSize) {
  std::optional<SmallVector<int64_t>> groups = getConstantInts(index, /*limit=*/int64_t(1) << 24);
  if (!groups)
    return false;
  for (auto [column, group] : llvm::enumerate(*groups))
    if (group != static_cast<int64_t>(column) / blockSize)
      return false;
  return true;
}

LogicalResult convert(IRRewriter &rewriter, onnx::ContribMatMulNBitsOp op) {
  auto reason = [&](const Twine &text) { return refuse(op, text); };
  int64_t k = op.getK(), n = op.getN(), bits = op.getBits(), block = op.getBlockSize();
  if (k < 1 || n < 1 || block < 1)
    return reason("expected K, N and block_size to be positive");
  if (!isAbsent(op.getGIdx()) && !isTrivialGroupIndex(op.getGIdx(), block))
    return reason("columns in another order (g_idx) are not supported");
  UniformMatrix matrix{n, k, bits, block, (k + block - 1) / block * (block * bits / 8), op.getB(), op.getScales(), op.getZeroPoints()};
  FailureOr<PlaneOperands> weights = buildPlanes(rewriter, op.getLoc(), matrix, reason);
  if (failed(weights))
    return failure();
  return rewriteLinear(rewriter, op, op.getA(), op.getBias(), *weights, k, n);
}

/// What a chain of Reshapes reads: they change no byte of a constant.
Value lookThroughReshapes(Value value) {
  while (auto reshapeOp = value.getDefiningOp<onnx::ReshapeOp>())
    value = reshapeOp.getData();
  return value;
}

/// The Slice that is the only reader of an embedding and keeps its first columns, if there is one. The model builder's embeddings are
/// as wide as whole blocks.
onnx::SliceOp getColumnSlice(onnx::ContribGatherBlockQuantizedOp op) {
  if (!op->hasOneUse())
    return nullptr;
  auto slice = dyn_cast<onnx::SliceOp>(*op->user_begin());
  auto from = getStaticType(op.getOutput());
  auto to = slice ? getStaticType(slice.getOutput()) : RankedTensorType();
  if (!to || !from || slice.getData() != op.getOutput() || from.getShape().drop_back() != to.getShape().drop_back())
    return nullptr;
  auto isOne = [](Value value, int64_t number) { return getConstantInts(value) == SmallVector<int64_t>{number}; };
  bool isLast = !isAbsent(slice.getAxes()) && (isOne(slice.getAxes(), -1) || isOne(slice.getAxes(), from.getRank() - 1));
  bool isDense = isAbsent(slice.getSteps()) || isOne(slice.getSteps(), 1);
  return isLast && isDense && isOne(slice.getStarts(), 0) ? slice : nullptr;
}

LogicalResult convert(IRRewriter &rewriter, onnx::ContribGatherBlockQuantizedOp op) {
  auto reason = [&](const Twine &text) { return refuse(op, text); };
  auto data = getStaticType(op.getData()), scales = getStaticType(op.getScales());
  if (!data || data.getRank() != 2 || !data.getElementType().isUnsignedInteger(8) || !scales)
    return reason("expected uint8 data of rank 2");
  if (op.getGatherAxis() != 0 || normalizeAxis(static_cast<int64_t>(op.getQuantizeAxis()), 2) != 1)
    return reason("only gather_axis = 0 and quantize_axis = 1 are supported");
  int64_t bits = op.getBits(), block = op.getBlockSize();
  if (bits < 1 || bits > 8 || block < 1)
    return reason("expected bits of 1 to 8 and a positive block_size");
  int64_t columns = data.getDimSize(1) * 8 / bits;
  Operation *replaced = op;
  onnx::SliceOp columnSlice = getColumnSlice(op);
  if (int64_t kept = columnSlice ? getStaticType(columnSlice.getOutput()).getShape().back() : 0; kept > (columns - 1) / block * block) {
    columns = kept;
    replaced = columnSlice;
  }
  UniformMatrix matrix{data.getDimSize(0), columns, bits, block, data.getDimSize(1), lookThroughReshapes(op.getData()),
                       lookThroughReshapes(op.getScales()),
                       isAbsent(op.getZeroPoints()) ? op.getZeroPoints() : lookThroughReshapes(op.getZeroPoints())};
  FailureOr<PlaneOperands> weights = buildPlanes(rewriter, op.getLoc(), matrix, reason);
  if (failed(weights) || failed(rewriteGather(rewriter, op.getLoc(), replaced, op.getIndices(), *weights, columns)))
    return failure();
  if (replaced != op)
    rewriter.eraseOp(op);
  return success();
}

/// A constant of ONNX's unsigned bytes as one of i8, of `shape`.
Value retypeBytes(IRRewriter &rewriter, Location loc, ElementsAttr bytes, ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, rewriter.getI8Type());
  TypedAttr retyped;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(bytes))
    retyped = DenseResourceElementsAttr::get(type, resource.getRawHandle());
  else
    retyped = cast<DenseElementsAttr>(bytes).bitcast(rewriter.getI8Type()).reshape(type);
  return arith::ConstantOp::create(rewriter, loc, type, retyped);
}

/// Whether the greatest code of every group, the sum of its ratios and the code without bits, is a byte.
bool haveByteCodes(Value ratios, int64_t perGroup) {
  std::optional<ConstantData> data = getConstantData(ratios);
  if (!data)
    return false;
  SmallVector<char> storage;
  ArrayRef<char> bytes = expandSplat(*data, storage);
  for (size_t first = 0; first < bytes.size(); first += perGroup) {
    int sum = 0;
    for (char byte : bytes.slice(first, perGroup))
      sum += static_cast<uint8_t>(byte);
    if (sum > 255)
      return false;
  }
  releasePages(bytes);
  return true;
}

/// The integer `c >= 0` with `zero = -c * scale` in every group, if there is one: such zeros need no memory.
std::optional<int64_t> findZeroPoint(Value scales, Value zeros) {
  std::optional<ConstantData> scaleData = getConstantData(scales), zeroData = getConstantData(zeros);
  Type element = scaleData ? scaleData->getType().getElementType() : Type();
  if (!zeroData || !isa_and_present<Float32Type, Float16Type, BFloat16Type>(element))
    return std::nullopt;
  int64_t count = zeroData->getType().getNumElements();
  auto read = [&](const ConstantData &data, int64_t i) { return readFloat(data.bytes.data(), element, data.isSplat ? 0 : i); };
  std::optional<double> point;
  for (int64_t i = 0; i < count; ++i) {
    double scale = read(*scaleData, i), zero = read(*zeroData, i);
    if (scale == 0 && zero == 0)
      continue;
    if (!point)
      point = -zero / scale;
    // In doubles the product of a small integer and a float is exact.
    if (!(*point >= 0 && *point <= 255 && *point == std::floor(*point) && zero == -*point * scale))
      return std::nullopt;
  }
  releasePages(scaleData->bytes);
  releasePages(zeroData->bytes);
  return point ? std::optional<int64_t>(static_cast<int64_t>(*point)) : std::nullopt;
}

/// The operands of an operator of this project's own domain: planes already, unsigned in ONNX. Codes of 8 bits are one plane there.
template <typename OpTy>
FailureOr<PlaneOperands> getPlanes(IRRewriter &rewriter, OpTy op) {
  PlaneOperands result;
  int64_t k = op.getK(), n = op.getN(), bits = op.getBits(), group = op.getGroupSize();
  if ((bits < 1 || bits > 4) && bits != 8)
    return refuse(op, "expected 1 to 4 or 8 bits, but got " + Twine(bits));
  if (k < 1 || n < 1 || group < 1 || !isGroupSize(group, k))
    return refuse(op, "a group size of " + Twine(group) + " is not supported");
  bool hasCodes = bits == 8;
  int64_t groups = (k + group - 1) / group, numPlanes = hasCodes ? 1 : bits;
  SmallVector<int64_t> shape{numPlanes, n, groups * group / (hasCodes ? 1 : 8)};
  ElementsAttr planes = getConstant(op.getPlanes());
  auto scales = getStaticType(op.getScales()), zeros = getStaticType(op.getZeros());
  if (!planes || !getConstant(op.getScales()) || !getConstant(op.getZeros()))
    return refuse(op, "its planes, scales and zeros must be constant");
  // Bytes as zeros stand for compact parameters.
  bool isCompact = zeros && zeros.getElementType().isInteger(8);
  if (isCompact) {
    if (hasCodes || planes.getShapedType().getShape() != ArrayRef(shape) || !scales || scales.getShape() != ArrayRef<int64_t>{n, groups, 1} ||
        zeros.getShape() != ArrayRef<int64_t>{n, groups, bits + 1})
      return refuse(op, "expected planes [bits, N, G * group_size / 8] of 1 to 4 bits, scales [N, G, 1] and uint8 zeros [N, G, bits + 1] with G = " +
                            Twine(groups));
  } else if (planes.getShapedType().getShape() != ArrayRef(shape) || !scales ||
             (scales.getShape() != ArrayRef<int64_t>{n, groups, numPlanes} && scales.getShape() != ArrayRef<int64_t>{n, groups, 1}) || !zeros ||
             zeros.getShape() != ArrayRef<int64_t>{n, groups} || zeros.getElementType() != scales.getElementType())
    return refuse(op, (hasCodes ? "expected codes [1, N, G * group_size], scales [N, G, 1]"
                                : "expected planes [bits, N, G * group_size / 8], scales [N, G, bits] or [N, G, 1]") +
                          Twine(" and zeros [N, G] with G = ") + Twine(groups));
  result.planes = retypeBytes(rewriter, op.getPlanes().getLoc(), planes, ArrayRef(shape).drop_front(hasCodes));
  result.scales = op.getScales();
  result.zeros = op.getZeros();
  if (isCompact) {
    result.zeros = retypeBytes(rewriter, op.getZeros().getLoc(), getConstant(op.getZeros()), zeros.getShape());
    if (!haveByteCodes(result.zeros, bits + 1))
      return refuse(op, "expected the bytes of a group in zeros to sum up to at most 255");
  } else if (scales.getDimSize(2) == 1 && (hasCodes || bits > 1)) {
    if (std::optional<int64_t> zeroPoint = findZeroPoint(result.scales, result.zeros)) {
      result.zeroPoint = rewriter.getI64IntegerAttr(*zeroPoint);
      result.zeros = nullptr;
    }
  }
  result.groupSize = rewriter.getI64IntegerAttr(group);
  return result;
}

LogicalResult convert(IRRewriter &rewriter, onnx::ElutqHLQMatMulOp op) {
  FailureOr<PlaneOperands> weights = getPlanes(rewriter, op);
  return failed(weights) ? failure() : rewriteLinear(rewriter, op, op.getA(), op.getBias(), *weights, op.getK(), op.getN());
}

LogicalResult convert(IRRewriter &rewriter, onnx::ElutqHLQGatherOp op) {
  FailureOr<PlaneOperands> weights = getPlanes(rewriter, op);
  return failed(weights) ? failure() : rewriteGather(rewriter, op.getLoc(), op, op.getIndices(), *weights, op.getK());
}

struct ConvertONNXToHLQPass : elutq::impl::ConvertONNXToHLQPassBase<ConvertONNXToHLQPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<onnx::ContribMatMulNBitsOp, onnx::ContribGatherBlockQuantizedOp, onnx::ElutqHLQMatMulOp, onnx::ElutqHLQGatherOp>(op))
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    bool failedAny = false;
    for (Operation *op : ops) {
      rewriter.setInsertionPoint(op);
      bool isGather = isa<onnx::ContribGatherBlockQuantizedOp, onnx::ElutqHLQGatherOp>(op);
      LogicalResult result = llvm::TypeSwitch<Operation *, LogicalResult>(op)
                                 .Case<onnx::ContribMatMulNBitsOp, onnx::ContribGatherBlockQuantizedOp, onnx::ElutqHLQMatMulOp,
                                       onnx::ElutqHLQGatherOp>([&](auto typed) { return convert(rewriter, typed); })
                                 .Default([](Operation *) { return success(); });
      failedAny |= failed(result);
      if (succeeded(result))
        ++(isGather ? numGathers : numLinear);
    }
    if (failedAny)
      signalPassFailure();
  }
};

} // namespace
