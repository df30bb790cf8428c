//===- Convolutions.cpp - rewrite-onnx-convolutions -----------------------===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "elutq/Conversion/ONNXCommon.h"
#include "elutq/Conversion/Passes.h"
#include "elutq/Dialect/ONNX/IR/ONNX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace elutq {
#define GEN_PASS_DEF_REWRITEONNXCONVOLUTIONSPASS
#include "elutq/Conversion/Passes.h.inc"
} // namespace elutq

using namespace mlir;
using namespace elutq;
using namespace elutq::normalize;

namespace {

/// Windows of more elements than this would be copied too often.
constexpr int64_t kMaxWindow = 16;

/// A convolution of one group, without dilation, whose weights are constant.
struct Convolution {
  onnx::ConvOp op;
  RankedTensorType input, weights, output;
  SmallVector<int64_t> strides, before, after;

  int64_t rank() const { return input.getRank() - 2; }
  ArrayRef<int64_t> sizes() const { return input.getShape().drop_front(2); }
  ArrayRef<int64_t> kernel() const { return weights.getShape().drop_front(2); }
  ArrayRef<int64_t> places() const { return output.getShape().drop_front(2); }
  int64_t window() const { return ShapedType::getNumElements(kernel()); }

  /// Whether each element of the input belongs to one window.
  bool isPatches() const {
    return llvm::equal(strides, kernel()) && llvm::all_of(llvm::concat<const int64_t>(before, after), [](int64_t pad) { return pad == 0; }) &&
           llvm::all_of(llvm::zip_equal(sizes(), kernel(), places()), [](auto numbers) {
             auto [size, extent, count] = numbers;
             return size == extent * count;
           });
  }
};

std::optional<Convolution> match(onnx::ConvOp op) {
  Convolution conv{op, getStaticType(op.getX()), getStaticType(op.getW()), getStaticType(op.getY()), {}, {}, {}};
  if (!conv.input || !conv.weights || !conv.output || conv.input.getRank() < 3 || !getConstant(op.getW()) || op.getGroup() != 1)
    return std::nullopt;
  auto numbers = [](std::optional<ArrayRef<int64_t>> given, int64_t count, int64_t initial) {
    return given && !given->empty() ? SmallVector<int64_t>(*given) : SmallVector<int64_t>(count, initial);
  };
  SmallVector<int64_t> pads = numbers(op.getPads(), 2 * conv.rank(), 0);
  bool isExplicit = op.getAutoPad() == "NOTSET" || op.getAutoPad() == "VALID";
  if (!isExplicit || llvm::any_of(numbers(op.getDilations(), conv.rank(), 1), [](int64_t dilation) { return dilation != 1; }))
    return std::nullopt;
  conv.strides = numbers(op.getStrides(), conv.rank(), 1);
  conv.before.assign(pads.begin(), pads.begin() + conv.rank());
  conv.after.assign(pads.begin() + conv.rank(), pads.end());
  if (op.getAutoPad() == "VALID") {
    conv.before.assign(conv.rank(), 0);
    conv.after.assign(conv.rank(), 0);
  }
  return conv;
}

/// Builds the operators that take the place of a convolution.
struct Rewriter {
  ImplicitLocOpBuilder b;
  Type element;

  explicit Rewriter(Convolution &conv) : b(conv.op.getLoc(), conv.op), element(conv.input.getElementType()) {}

  RankedTensorType typed(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, element); }
  Value constant(ArrayRef<int64_t> numbers) {
    auto type = RankedTensorType::get({static_cast<int64_t>(numbers.size())}, b.getI64Type());
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, numbers));
  }
  Value reshape(Value value, ArrayRef<int64_t> shape) {
    if (getConstant(value))
      return normalize::reshape(b, b.getLoc(), value, shape);
    return onnx::ReshapeOp::create(b, typed(shape), value, constant(shape));
  }
  Value transpose(Value value, ArrayRef<int64_t> order) {
    SmallVector<int64_t> shape;
    for (int64_t dim : order)
      shape.push_back(cast<RankedTensorType>(value.getType()).getDimSize(dim));
    return onnx::TransposeOp::create(b, typed(shape), value, b.getDenseI64ArrayAttr(order));
  }
  Value none() { return onnx::NoneOp::create(b, b.getNoneType()); }

  /// `[batch, places..., channels * window]` of `[batch, channels, places * kernel...]`.
  Value takePatches(Convolution &conv) {
    SmallVector<int64_t> shape(conv.input.getShape().take_front(2)), order{0};
    for (int64_t i = 0; i < conv.rank(); ++i) {
      llvm::append_values(shape, conv.places()[i], conv.kernel()[i]);
      order.push_back(2 + 2 * i);
    }
    order.push_back(1);
    for (int64_t i = 0; i < conv.rank(); ++i)
      order.push_back(3 + 2 * i);
    return transpose(reshape(conv.op.getX(), shape), order);
  }

  /// The same for windows that overlap: for each place in the window the elements that stand there, side by side.
  Value takeWindows(Convolution &conv) {
    SmallVector<int64_t> padded(conv.input.getShape());
    SmallVector<int64_t> pads(2 * padded.size(), 0), axes;
    for (int64_t i = 0; i < conv.rank(); ++i) {
      padded[2 + i] += conv.before[i] + conv.after[i];
      pads[2 + i] = conv.before[i];
      pads[padded.size() + 2 + i] = conv.after[i];
      axes.push_back(2 + i);
    }
    Value input = conv.op.getX();
    if (llvm::any_of(pads, [](int64_t pad) { return pad != 0; }))
      input = onnx::PadOp::create(b, typed(padded), input, constant(pads), none(), none());
    SmallVector<int64_t> shape(conv.output.getShape()), wide;
    shape[1] = conv.input.getDimSize(1);
    wide = shape;
    wide.insert(wide.begin() + 2, 1);
    SmallVector<Value> slices;
    for (int64_t place = 0; place < conv.window(); ++place) {
      SmallVector<int64_t> starts(conv.rank()), ends(conv.rank());
      for (int64_t i = conv.rank() - 1, rest = place; i >= 0; --i) {
        starts[i] = rest % conv.kernel()[i];
        rest /= conv.kernel()[i];
        ends[i] = starts[i] + (conv.places()[i] - 1) * conv.strides[i] + 1;
      }
      Value slice =
          onnx::SliceOp::create(b, typed(shape), input, constant(starts), constant(ends), constant(axes), constant(conv.strides));
      slices.push_back(reshape(slice, wide));
    }
    wide[2] = conv.window();
    Value windows = onnx::ConcatOp::create(b, typed(wide), slices, /*axis=*/2);
    SmallVector<int64_t> order{0};
    for (int64_t i = 0; i < conv.rank(); ++i)
      order.push_back(3 + i);
    llvm::append_values(order, 1, 2);
    return transpose(windows, order);
  }

  void run(Convolution &conv, bool patches) {
    int64_t depth = conv.input.getDimSize(1) * conv.window(), channels = conv.weights.getDimSize(0);
    int64_t rows = conv.output.getNumElements() / channels;
    Value windows = reshape(patches ? takePatches(conv) : takeWindows(conv), {rows, depth});
    Value weights = reshape(conv.op.getW(), {channels, depth});
    Value product = onnx::GemmOp::create(b, typed({rows, channels}), windows, weights, conv.op.getB(), APFloat(1.0f), APFloat(1.0f),
                                         /*transA=*/0, /*transB=*/1);
    SmallVector<int64_t> shape{conv.output.getDimSize(0)}, order{0, 1 + conv.rank()};
    llvm::append_range(shape, conv.places());
    shape.push_back(channels);
    for (int64_t i = 0; i < conv.rank(); ++i)
      order.push_back(1 + i);
    Value result = transpose(reshape(product, shape), order);
    onnx::ConvOp op = conv.op;
    op.getY().replaceAllUsesWith(result);
    op.erase();
  }
};

struct RewriteONNXConvolutionsPass : elutq::impl::RewriteONNXConvolutionsPassBase<RewriteONNXConvolutionsPass> {
  void runOnOperation() override {
    SmallVector<onnx::ConvOp> ops;
    getOperation()->walk([&](onnx::ConvOp op) { ops.push_back(op); });
    for (onnx::ConvOp op : ops) {
      std::optional<Convolution> conv = match(op);
      bool patches = conv && conv->isPatches();
      if (!conv || (!patches && conv->window() > kMaxWindow))
        continue;
      ++(patches ? numPatches : numWindows);
      Rewriter(*conv).run(*conv, patches);
    }
  }
};

} // namespace
