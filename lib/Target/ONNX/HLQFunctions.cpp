//===- HLQFunctions.cpp - HLQ operators in standard ONNX --------*- C++ -*-===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "HLQFunctions.h"

#include "Model.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

#include "onnx/defs/parser.h"

using namespace llvm;

namespace elutq {

// OPSET stands for the version of ai.onnx: runtimes want the same one as in the model. Opset 18 (bitwise operators,
// ReduceSum with an operand) is the oldest.

/// Bit `t` of byte `i` of a plane is column `8*i + t`; a weight is `zero + sum over planes of scale * bit`. With 8 bits there
/// is one plane, of a byte per column, and no bit is taken out of it. Of compact parameters `zeros` are bytes, more than one for a group:
/// what each plane's scale is in units of the only one, and the zero, raised by 128. Other scales are multiplied by one.
static const char kDequantize[] = R"(
<domain: "ai.elutq", opset_import: ["" : OPSET]>
HLQDequantize <K, bits> (planes, scales, zeros) => (weights)
{
  all_shifts = Constant <value: tensor = uint8[8] {0, 1, 2, 3, 4, 5, 6, 7}> ()
  bit_mask = Constant <value: tensor = uint8[1] {1}> ()
  byte_mask = Constant <value: tensor = uint8[1] {255}> ()
  eight = Constant <value_ints: ints = [8]> ()
  one_column = Constant <value_ints: ints = [1]> ()
  width = Constant <value_int: int = @bits> ()
  has_codes = Equal (width, eight)
  columns_per_byte = Where (has_codes, one_column, eight)
  mask = Where (has_codes, byte_mask, bit_mask)
  start = Constant <value_ints: ints = [0]> ()
  axis_1 = Constant <value_ints: ints = [1]> ()
  axis_2 = Constant <value_ints: ints = [2]> ()
  axis_3 = Constant <value_ints: ints = [3]> ()
  rest = Constant <value_ints: ints = [-1]> ()
  rows = Constant <value_ints: ints = [0, -1]> ()
  shifts = Slice (all_shifts, start, columns_per_byte)
  bytes = Unsqueeze (planes, axis_3)
  shifted = BitShift <direction: string = "RIGHT"> (bytes, shifts)
  masked = BitwiseAnd (shifted, mask)
  float_bits = Cast <to: int = 1> (masked)
  float_scales = Cast <to: int = 1> (scales)
  planes_count = Shape <start: int = 0, end: int = 1> (planes)
  rows_and_groups = Shape <start: int = 0, end: int = 2> (scales)
  zeros_shape = Concat <axis: int = 0> (rows_and_groups, rest)
  float_zeros = Cast <to: int = 1> (zeros)
  group_zeros = Reshape (float_zeros, zeros_shape)
  behind = Constant <value_ints: ints = [2147483647]> ()
  stored_zero = Slice (group_zeros, rest, behind, axis_2)
  ratios = Slice (group_zeros, start, rest, axis_2)
  one = Constant <value: tensor = float[1] {1.0}> ()
  none = Constant <value: tensor = float[1] {0.0}> ()
  raise = Constant <value: tensor = float[1] {128.0}> ()
  ones_shape = Concat <axis: int = 0> (rows_and_groups, planes_count)
  ones = Expand (one, ones_shape)
  ratios_and_ones = Concat <axis: int = 2> (ratios, ones)
  factors = Slice (ratios_and_ones, start, planes_count, axis_2)
  scales_of_planes = Mul (float_scales, factors)
  zeros_count = Shape <start: int = 2, end: int = 3> (group_zeros)
  is_compact = Greater (zeros_count, axis_1)
  first_scale = Slice (float_scales, start, axis_1, axis_2)
  unit = Where (is_compact, first_scale, one)
  raised = Where (is_compact, raise, none)
  whole_zero = Sub (stored_zero, raised)
  wide_zeros = Mul (whole_zero, unit)
  plane_scales = Transpose <perm: ints = [2, 0, 1]> (scales_of_planes)
  groups = Shape (plane_scales)
  grouped_shape = Concat <axis: int = 0> (groups, rest)
  grouped_bits = Reshape (float_bits, grouped_shape)
  wide_scales = Unsqueeze (plane_scales, axis_3)
  terms = Mul (grouped_bits, wide_scales)
  sums = ReduceSum <keepdims: int = 0> (terms, start)
  grouped = Add (sums, wide_zeros)
  padded = Reshape (grouped, rows)
  k = Constant <value_int: int = @K> ()
  end = Unsqueeze (k, start)
  weights = Slice (padded, start, end, axis_1)
}
)";

static const char kMatMul[] = R"(
<domain: "ai.elutq", opset_import: ["" : OPSET, "ai.elutq" : 1]>
HLQMatMul <K, N, bits, group_size> (A, planes, scales, zeros) => (Y)
{
  weights = ai.elutq.HLQDequantize <K: int = @K, bits: int = @bits> (planes, scales, zeros)
  transposed = Transpose <perm: ints = [1, 0]> (weights)
  float_a = Cast <to: int = 1> (A)
  float_y = MatMul (float_a, transposed)
  Y = CastLike (float_y, A)
}
)";

static const char kGather[] = R"(
<domain: "ai.elutq", opset_import: ["" : OPSET, "ai.elutq" : 1]>
HLQGather <K, N, bits, group_size> (indices, planes, scales, zeros) => (Y)
{
  start = Constant <value_ints: ints = [0]> ()
  rest = Constant <value_ints: ints = [-1]> ()
  flat = Reshape (indices, rest)
  row_planes = Gather <axis: int = 1> (planes, flat)
  row_scales = Gather <axis: int = 0> (scales, flat)
  row_zeros = Gather <axis: int = 0> (zeros, flat)
  weights = ai.elutq.HLQDequantize <K: int = @K, bits: int = @bits> (row_planes, row_scales, row_zeros)
  index_shape = Shape (indices)
  k = Constant <value_int: int = @K> ()
  columns = Unsqueeze (k, start)
  shape = Concat <axis: int = 0> (index_shape, columns)
  Y = Reshape (weights, shape)
}
)";

Error addHLQFunctions(::onnx::ModelProto &model, int opset) {
  constexpr int oldest = 18;
  if (opset < oldest)
    return createStringError("the model asks for opset " + Twine(opset) + " of ai.onnx, but HLQ operators need " +
                             Twine(oldest) + " or newer");
  auto *functions = model.mutable_functions();
  functions->erase(llvm::remove_if(*functions, [](const auto &function) { return function.domain() == kElutqDomain; }),
                   functions->end());
  for (StringRef body : {StringRef(kDequantize), StringRef(kMatMul), StringRef(kGather)}) {
    std::string text = body.str();
    size_t position = text.find("OPSET");
    text.replace(position, StringRef("OPSET").size(), std::to_string(opset));
    try {
      ::onnx::Common::Status status = ::onnx::OnnxParser::Parse(*model.add_functions(), text);
      if (!status.IsOK())
        return createStringError("a function of ai.elutq does not parse: " + status.ErrorMessage());
    } catch (const std::exception &exception) {
      return createStringError(StringRef("a function of ai.elutq does not parse: ") + exception.what());
    }
  }
  if (none_of(model.opset_import(), [](const auto &import) { return import.domain() == kElutqDomain; })) {
    ::onnx::OperatorSetIdProto &import = *model.add_opset_import();
    import.set_domain(kElutqDomain.str());
    import.set_version(1);
  }
  return Error::success();
}

} // namespace elutq
