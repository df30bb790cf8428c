//===- AttentionMatch.cpp - Reads the attention ops of a model ------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AttentionSite.h"
#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/IR/Diagnostics.h"
#include <cmath>

using namespace mlir;

namespace elutq::normalize {

InFlightDiagnostic emitNodeError(Operation *op) {
  InFlightDiagnostic diagnostic = emitError(op->getLoc()) << "'" << op->getName() << "'";
  if (StringRef name = getNodeName(op->getLoc()); !name.empty())
    diagnostic << " (node \"" << name << "\")";
  diagnostic << ": ";
  return diagnostic;
}

bool isAttention(Operation *op) { return isa<onnx::AttentionOp, onnx::ContribGroupQueryAttentionOp>(op); }

BlockArgument findArgument(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<onnx::CastOp, onnx::IdentityOp>(op))
      return nullptr;
    value = op->getOperand(0);
  }
  return dyn_cast<BlockArgument>(value);
}

/// Finds the past of one operand: given directly, or joined with the new rows by a Concat that is also the present value, or a cache of fixed size
/// that TensorScatter writes them into, from `start` on.
static LogicalResult matchPast(Operation *op, StringRef what, Value past, Value present, Value &newRows, BlockArgument &argument,
                               Value &presentValue, Value *start = nullptr) {
  if (!isAbsent(past)) {
    argument = findArgument(past);
    presentValue = isAbsent(present) ? nullptr : present;
    if (argument)
      return success();
    return emitNodeError(op) << "expected the past " << what << " to be an input of the model";
  }
  if (auto scatter = newRows.getDefiningOp<onnx::TensorScatterOp>(); scatter && start) {
    auto type = dyn_cast<RankedTensorType>(newRows.getType());
    argument = findArgument(scatter.getPastCache());
    if (!argument || !type || isAbsent(scatter.getWriteIndices()) || scatter.getMode() != "linear" ||
        normalizeAxis(static_cast<int64_t>(scatter.getAxis()), type.getRank()) != type.getRank() - 2)
      return emitNodeError(op) << "expected its " << what << " to be an input of the model into which TensorScatter writes along the positions, "
                                  "in the mode \"linear\" and with write_indices";
    presentValue = newRows;
    *start = scatter.getWriteIndices();
    newRows = scatter.getUpdate();
    return success();
  }
  auto concat = newRows.getDefiningOp<onnx::ConcatOp>();
  auto type = dyn_cast<RankedTensorType>(newRows.getType());
  if (concat && type && concat.getInputs().size() == 2 && type.getRank() == 4 &&
      normalizeAxis(static_cast<int64_t>(concat.getAxis()), 4) == 2) {
    argument = findArgument(concat.getInputs()[0]);
    if (argument) {
      presentValue = newRows;
      newRows = concat.getInputs()[1];
      return success();
    }
  }
  return emitNodeError(op) << "expected a past " << what << ", as an operand, joined by Concat or written by TensorScatter: attention without a cache is not supported";
}

/// An error about an attention op whose operands lack static shapes. Where they come from a node that the importer did not understand,
/// there will be an error about that one, which is the cause.
static LogicalResult refuseShapes(Operation *op, const Twine &what) {
  SetVector<Operation *> slice;
  (void)getBackwardSlice(op, &slice);
  if (llvm::any_of(slice, [](Operation *source) { return source->getName().getStringRef().starts_with("unsupported."); }))
    return failure();
  return emitNodeError(op) << what;
}

/// Sizes of query and key, of rank 3 or 4.
static LogicalResult matchSizes(AttentionSite &site, int64_t rows) {
  auto query = getStaticType(site.query), key = getStaticType(site.key), value = getStaticType(site.value);
  if (!query || !key || !value)
    return refuseShapes(site.op, "expected static shapes of the new queries, keys and values");
  if (query.getRank() != key.getRank() || key.getRank() != value.getRank() || (query.getRank() != 3 && query.getRank() != 4))
    return emitNodeError(site.op) << "expected queries, keys and values of rank 3 or 4";
  bool headsFirst = query.getRank() == 4;
  if (query.getDimSize(0) != 1 || query.getDimSize(headsFirst ? 2 : 1) != rows || key.getDimSize(headsFirst ? 2 : 1) != rows)
    return emitNodeError(site.op) << "expected " << rows << " rows of one batch";
  if (headsFirst) {
    site.heads = query.getDimSize(1);
    site.kvHeads = key.getDimSize(1);
    site.headSize = query.getDimSize(3);
  } else if (site.heads <= 0 || site.kvHeads <= 0) {
    return emitNodeError(site.op) << "expected numbers of heads for operands of rank 3";
  } else {
    site.headSize = query.getDimSize(2) / site.heads;
  }
  if (key.getNumElements() != site.kvHeads * rows * site.headSize || value.getNumElements() != key.getNumElements())
    return emitNodeError(site.op) << "expected keys and values of the head size of the queries, " << site.headSize;
  return success();
}

static FailureOr<AttentionSite> matchStandard(onnx::AttentionOp op, int64_t rows) {
  AttentionSite site;
  site.op = op;
  site.query = op.getQ();
  site.key = op.getK();
  site.value = op.getV();
  if (!isAbsent(op.getQkMatmulOutput()) && !op.getQkMatmulOutput().use_empty())
    return emitNodeError(op) << "the result qk_matmul_output is not supported", failure();
  if (failed(matchPast(op, "key", op.getPastKey(), op.getPresentKey(), site.key, site.pastKey, site.presentKey, &site.keyStart)) ||
      failed(matchPast(op, "value", op.getPastValue(), op.getPresentValue(), site.value, site.pastValue, site.presentValue, &site.valueStart)))
    return failure();
  site.validLength = isAbsent(op.getNonpadKvSeqlen()) ? Value() : op.getNonpadKvSeqlen();
  if (!site.keyStart != !site.valueStart || (site.validLength && !site.keyStart))
    return emitNodeError(op) << "expected keys and values of one kind of cache, and nonpad_kv_seqlen only with those that TensorScatter writes", failure();
  site.heads = op.getQNumHeads().value_or(0);
  site.kvHeads = op.getKvNumHeads().value_or(0);
  if (failed(matchSizes(site, rows)))
    return failure();
  site.scale = op.getScale() ? op.getScale()->convertToFloat() : 1.0f / std::sqrt(static_cast<float>(site.headSize));
  site.softcap = op.getSoftcap().convertToFloat();
  return site;
}

static FailureOr<AttentionSite> matchContrib(onnx::ContribGroupQueryAttentionOp op, int64_t rows) {
  AttentionSite site;
  site.op = op;
  auto refuse = [&](const Twine &what) -> LogicalResult { return emitNodeError(op) << what << " is not supported"; };
  for (auto [operand, name] : {std::pair(op.getAttentionBias(), "attention_bias"), std::pair(op.getHeadSink(), "head_sink"),
                               std::pair(op.getKScale(), "k_scale"), std::pair(op.getVScale(), "v_scale")})
    if (!isAbsent(operand))
      return refuse(Twine("the operand ") + name);
  if (!isAbsent(op.getOutputQk()) && !op.getOutputQk().use_empty())
    return refuse("the result output_qk");
  if (op.getSmoothSoftmax() == 1)
    return refuse("the attribute smooth_softmax = 1");
  if (op.getCausal() != 1)
    return refuse("the attribute causal = 0");
  if (op.getKQuantType() != "NONE" || op.getVQuantType() != "NONE")
    return refuse("a quantized cache");
  site.query = op.getQuery();
  site.heads = op.getNumHeads();
  site.kvHeads = op.getKvNumHeads();
  if (isAbsent(op.getPastKey()) || isAbsent(op.getPastValue()))
    return emitNodeError(op) << "expected a past key and value: attention without a cache is not supported", failure();
  if (failed(matchPast(op, "key", op.getPastKey(), op.getPresentKey(), site.key, site.pastKey, site.presentKey)) ||
      failed(matchPast(op, "value", op.getPastValue(), op.getPresentValue(), site.value, site.pastValue, site.presentValue)))
    return failure();
  if (isAbsent(op.getKey())) {
    auto query = getStaticType(site.query);
    int64_t heads = site.heads + 2 * site.kvHeads;
    if (!query || query.getRank() != 3 || query.getNumElements() % (heads * rows) != 0)
      return refuseShapes(op, "expected packed queries, keys and values of static shape and rank 3");
    site.headSize = query.getDimSize(2) / heads;
  } else {
    site.key = op.getKey();
    site.value = op.getValue();
    if (failed(matchSizes(site, rows)))
      return failure();
  }
  site.scale = op.getScale().convertToFloat();
  if (site.scale == 0)
    site.scale = 1.0f / std::sqrt(static_cast<float>(site.headSize));
  site.softcap = op.getSoftcap().convertToFloat();
  int64_t window = op.getLocalWindowSize();
  site.window = window > 0 ? window : 0;
  for (auto [weight, norm, name] : {std::tuple(op.getQNormWeight(), &site.queryNorm, "q_norm_weight"),
                                    std::tuple(op.getKNormWeight(), &site.keyNorm, "k_norm_weight")}) {
    if (isAbsent(weight))
      continue;
    auto type = getStaticType(weight);
    if (!type || type.getRank() != 1 || type.getDimSize(0) != site.headSize)
      return emitNodeError(op) << "expected the operand " << name << " to have the size of a head, " << site.headSize, failure();
    *norm = weight;
  }
  site.normEpsilon = op.getQkNormEpsilonAttr();
  if (op.getDoRotary()) {
    site.cos = op.getCosCache();
    site.sin = op.getSinCache();
    site.interleaved = op.getRotaryInterleaved() != 0;
    for (Value table : {site.cos, site.sin}) {
      auto type = isAbsent(table) ? nullptr : getStaticType(table);
      if (!type || type.getRank() != 2 || !type.getElementType().isF32() || !getConstantBytes(table) || 2 * type.getDimSize(1) > site.headSize)
        return emitNodeError(op) << "expected rotary tables to be f32 constants of rank 2, at most half as wide as a head", failure();
    }
  }
  return site;
}

FailureOr<AttentionSite> matchAttention(Operation *op, int64_t rows) {
  if (auto standard = dyn_cast<onnx::AttentionOp>(op))
    return matchStandard(standard, rows);
  return matchContrib(cast<onnx::ContribGroupQueryAttentionOp>(op), rows);
}

/// Whether a vector holds one number, which is `expected`.
static bool isNumber(SymbolicEvaluator &evaluator, Value value, const Affine &expected) {
  std::optional<Symbolic> number = evaluator.evaluate(value);
  return number && !number->isBool && number->elements.size() == 1 && number->queryAxis < 0 && number->keyAxis < 0 && number->elements.front() == expected;
}

LogicalResult matchVisibility(AttentionSite &site, SymbolicEvaluator &evaluator, int64_t rows) {
  auto op = dyn_cast<onnx::AttentionOp>(site.op);
  if (!op)
    return success();
  for (Value start : {site.keyStart, site.valueStart})
    if (start && !isNumber(evaluator, start, {0, 1}))
      return emitNodeError(op) << "expected TensorScatter to write at the position of the first new row";
  if (site.validLength && !isNumber(evaluator, site.validLength, {rows, 1}))
    return emitNodeError(op) << "expected nonpad_kv_seqlen to be the number of positions, new ones included";
  // Without a length, queries count from the beginning of a cache of fixed size.
  bool isCausal = op.getIsCausal() != 0;
  if (isCausal && site.keyStart && !site.validLength)
    return emitNodeError(op) << "expected nonpad_kv_seqlen beside is_causal, for its cache of fixed size begins at position 0";
  if (!isAbsent(op.getAttnMask())) {
    std::optional<CausalMask> mask = matchMask(evaluator, op.getAttnMask(), rows);
    if (!mask) {
      InFlightDiagnostic diagnostic = emitNodeError(op)
                                      << "its mask is not understood; supported are masks that compare positions: key <= query, and "
                                         "key > query - window";
      if (Operation *culprit = evaluator.getFailure()) {
        Diagnostic &note = diagnostic.attachNote(culprit->getLoc());
        note << "because of '" << culprit->getName() << "'";
        if (StringRef name = getNodeName(culprit->getLoc()); !name.empty())
          note << " (node \"" << name << "\")";
      }
      return diagnostic;
    }
    isCausal |= mask->isCausal;
    site.window = mask->window;
  }
  if (!isCausal)
    return emitNodeError(op) << "expected causal attention, by is_causal or by the mask key <= query";
  // Windows of the operator itself count the keys before the query.
  if (int64_t left = op.getLeftWindowSize(); left >= 0)
    site.window = site.window == 0 ? left + 1 : std::min(site.window, left + 1);
  if (!(site.scale > 0) || site.softcap < 0)
    return emitNodeError(op) << "expected a positive scale and a softcap that is not negative";
  return success();
}

} // namespace elutq::normalize
